//! What one worker does with one packet, as one pure value.
//!
//! A [`Path`] holds everything that a worker needs between two packets: the SAD and the SPD, the
//! distributor of each VIP, the keys to the other nodes, and the queues of packets that wait. Packets
//! come in by `handle_*`, go out through the [`Sink`] that comes with the call, and what the node must
//! know is fetched with [`Path::poll_report`].
//!
//! ```text
//! loop {
//!     path.handle_udp / handle_esp / handle_inner / handle_fabric / handle_hand_over   per packet
//!     path.handle_command                                                              rarely
//!     path.handle_timeout                     when poll_timeout() has come, or once a batch
//!     while let Some(report) = path.poll_report() { … }
//! }
//! ```
//!
//! What is not here: sockets, system calls, segmentation offload (the data plane), negotiation
//! (`ike`), who owns what (`cluster`), any clock. Randomness comes in at construction.

mod command;
mod commands;
mod config;
mod counters;
mod distribute;
mod ecn;
mod fabric;
mod fragment;
mod frames;
mod freeze;
mod homes;
mod inbound;
mod keepalive;
mod outbound;
mod path;
mod pmtu;
mod report;
mod roles;
mod sad;
mod sink;
mod spd;
mod timers;
mod transport;
mod trap;
mod vip;
mod waiting;

pub use command::{Command, FabricKey, FabricKeys, InstallState, Role, Trap, VipConfig};
pub use config::{Limits, PathConfig};
pub use counters::{DropCounts, DropReason};
pub use path::Path;
pub use report::{Report, SaCounters};
pub use sink::{HandOver, Route, Sink};
pub use vipsec_esp::Replay;
pub use vipsec_wire::handover::Handover;
