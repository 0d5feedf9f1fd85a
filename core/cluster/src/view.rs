//! What `status` shows of the cluster.

use crate::config::Roles;
use crate::event::Refusal;
use crate::store::Revision;
use vipsec_wire::id::{Epoch, NodeName, Vip};

/// One member as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its name.
    pub name: NodeName,
    /// What it may be.
    pub roles: Roles,
    /// Whether it is there.
    pub presence: Presence,
    /// Whether the control connection stands.
    pub linked: bool,
}

/// Whether a member is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// This node itself.
    Own,
    /// Not heard yet since the start.
    Unknown,
    /// Heard lately.
    Alive,
    /// Its control connection was closed; it may prove that it lives.
    Suspected,
    /// Silent or dead.
    Lost,
}

/// One VIP as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipView {
    /// The VIP.
    pub vip: Vip,
    /// What this node is to it.
    pub role: VipRole,
    /// The highest epoch known.
    pub epoch: Epoch,
    /// Its owner, where known.
    pub owner: Option<NodeName>,
    /// The other candidates by rank, and whether they say that they are ready.
    pub backups: Vec<(NodeName, u8, bool)>,
    /// Why this node must not claim, if so.
    pub refusal: Option<Refusal>,
}

/// What this node is to a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VipRole {
    /// It owns it.
    Owner {
        /// Revision of the epoch record, on which every write is conditional.
        revision: Revision,
        /// A transfer that is under way.
        transfer: Option<TransferPhase>,
    },
    /// Its claim is on the way to the store.
    Claiming,
    /// It could claim now.
    Ready,
    /// A candidate that could not claim now.
    NotReady,
    /// No candidate.
    Target,
}

/// How far an owner's transfer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferPhase {
    /// Waiting for the successor.
    Offered,
    /// Stopped, collecting what is handed over.
    Freezing,
    /// Handed over, waiting for the successor's claim.
    HandedOver,
    /// Making sure that the successor cannot claim any more.
    Reclaiming,
}
