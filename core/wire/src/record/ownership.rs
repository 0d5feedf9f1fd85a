//! The records of a VIP as a whole, version 1: its owner, the edges of its replay windows, and the
//! floors below which no epoch may ever fall again.

use crate::id::{Epoch, EspSpi, NodeName, Vip};
use serde::{Deserialize, Serialize};

/// Who owns a VIP. Becoming owner is one compare-and-swap of this record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, from 1.
    pub epoch: Epoch,
    /// The owner in this epoch.
    pub owner: NodeName,
    /// The process of the owner: each process of a node has a greater one.
    pub incarnation: u64,
}

/// The right edges of the replay windows of a VIP's inbound SAs, as they stood at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edges {
    /// The owner's epoch.
    pub epoch: Epoch,
    /// Inbound SPI and the highest sequence number (all 64 bits) that was accepted, by ascending
    /// SPI.
    pub edges: Vec<(EspSpi, u64)>,
}

/// A node's own memory, outside the store, of the highest epochs that it has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floors {
    /// VIP and the highest epoch seen, by ascending VIP.
    pub floors: Vec<(Vip, Epoch)>,
}
