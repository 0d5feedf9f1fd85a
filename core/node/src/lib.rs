//! One node: the IKE engines of its VIPs, the cluster, and the control side of distribution, composed
//! into one value without I/O.
//!
//! [`Node`] is driven like every part of core: `handle_*` puts in what happened, [`Node::poll_output`]
//! is called until it is empty after each of them, [`Node::poll_timeout`] says when
//! [`Node::handle_timeout`] is due. It seals and opens records, holds every effect until the write it
//! rests on is confirmed, follows the store as a backup and writes it as an owner, and tells the
//! workers what to install.
//!
//! Deliberately absent: packets. They cross `vipsec-path` alone; what comes here is IKE messages,
//! counters, edges and connections.

mod admin;
mod algorithms;
mod config;
mod event;
mod exchange;
mod fabric;
mod following;
mod freezing;
mod health;
mod held;
mod io;
mod leases;
mod listing;
mod messages;
mod node;
mod ownership;
mod reload;
mod replica;
mod reports;
mod sas;
mod sealing;
mod sockets;
mod stopping;
mod view;
mod vip;
mod writer;
mod writing;

pub use admin::AdminError;
pub use config::{Config, VipConfig, WhenUnavailable};
pub use event::Event;
pub use fabric::{FabricSecrets, SECRET_LENGTH};
pub use io::{Link, Output, RequestId, StoreReply, StoreRequest};
pub use leases::LeaseView;
pub use listing::ConnectionView;
pub use node::Node;
pub use sas::{ChildView, IkeView};
pub use sealing::RecordError;
pub use sockets::Socket;
pub use view::{BackupView, MemberView, StatusView, StoreView, TargetView, VipView};
