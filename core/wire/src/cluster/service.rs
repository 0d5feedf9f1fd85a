//! What nodes tell each other about services: their connections and the health of the targets.

use super::connection::ConnectionUpdate;
use crate::id::{Epoch, NodeName, Vip};
use serde::{Deserialize, Serialize};

/// Most targets that one message names.
pub const TARGETS_MAX: usize = 1024;

/// Connections of one VIP, as the sender knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// The VIP that the services belong to.
    pub vip: Vip,
    /// The epoch of the owner that sends or is told.
    pub epoch: Epoch,
    /// At most [`CONNECTIONS_MAX`](super::CONNECTIONS_MAX); more go in further messages.
    pub updates: Vec<ConnectionUpdate>,
    /// A report is complete with this message: of what the target has not named by now, it holds
    /// nothing.
    pub complete: bool,
}

/// The result of the owner's health checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetHealth {
    /// The VIP that the services belong to.
    pub vip: Vip,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The targets whose state is said here; the others are as they were.
    pub targets: Vec<TargetState>,
}

/// One target of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    /// Name of the configured service.
    pub service: String,
    /// The target.
    pub node: NodeName,
    /// Whether new connections may go there.
    pub healthy: bool,
}
