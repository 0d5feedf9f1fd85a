//! Why a request of an administrator cannot be met.

use crate::event::Refusal;
use vipsec_wire::id::{NodeName, Vip};

/// A request that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not in this node's configuration.
    #[error("{0} is not configured on this node")]
    UnknownVip(Vip),
    /// The node cannot own the VIP.
    #[error("{node} is no candidate of {vip}")]
    NotCandidate {
        /// The VIP.
        vip: Vip,
        /// The node.
        node: NodeName,
    },
    /// It has it already.
    #[error("{node} owns {vip} already")]
    AlreadyOwner {
        /// The VIP.
        vip: Vip,
        /// The node.
        node: NodeName,
    },
    /// One at a time.
    #[error("{0} is being transferred already")]
    TransferRunning(Vip),
    /// There is nobody to ask.
    #[error("{0} has no owner that can be reached")]
    NoOwner(Vip),
    /// The successor is not there.
    #[error("{0} cannot be reached")]
    Unreachable(NodeName),
    /// The successor is there but not hot.
    #[error("{node} is not ready to own {vip}")]
    NotReady {
        /// The VIP.
        vip: Vip,
        /// The node.
        node: NodeName,
    },
    /// A transfer ends with a write to the store.
    #[error("the store does not answer")]
    StoreDown,
    /// There is no refusal to be overridden.
    #[error("the store was not refused for {0}: there is nothing to accept")]
    NothingToAccept(Vip),
    /// The guards of the epoch.
    #[error(transparent)]
    Refused(#[from] Refusal),
}
