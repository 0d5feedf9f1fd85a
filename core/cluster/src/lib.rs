//! Which node owns a VIP: membership, heartbeats, epochs, takeover and transfer.
//!
//! [`Cluster`] is one value per node and does no I/O: `handle_*` puts in what happened,
//! [`Cluster::poll_output`] takes out what is to be done, [`Cluster::poll_timeout`] says when
//! [`Cluster::handle_timeout`] is due. Security associations are opaque to it: it knows how many
//! records there are and their epochs, never what is in them.
//!
//! Deliberately absent: sockets, clocks, the store itself (its contract is in [`store`]), keys, and
//! connections of services.

mod claim;
mod cluster;
mod config;
mod damping;
mod error;
mod event;
mod floor;
mod guard;
mod input;
mod member;
mod message;
mod output;
mod request;
pub mod store;
mod tell;
#[cfg(test)]
mod tests;
mod transfer;
mod view;
mod vip;

pub use cluster::Cluster;
pub use config::{Candidate, Config, Member, Roles, TakeBack, Timers, VipConfig};
pub use error::Error;
pub use event::{Abort, Event, Refusal};
pub use floor::Floor;
pub use input::{ClaimOutcome, EpochRead, LinkChange, RecordMaxima, StoreHealth, TransferAccepted};
pub use output::{How, Output};
pub use view::{MemberView, Presence, TransferPhase, VipRole, VipView};
pub use vipsec_wire::cluster::ownership::{Heartbeat, Message};

use vipsec_wire::id::{Epoch, NodeName};

/// The content of the one record that says who owns a VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRecord {
    /// The epoch that this owner has taken.
    pub epoch: Epoch,
    /// The owner.
    pub owner: NodeName,
    /// The owner's process.
    pub incarnation: u64,
}
