//! What the owner streams to the backups about SAs, and what is not in the store or not there yet.

use crate::id::{Epoch, EspSpi, IkeSaId, Vip};
use crate::secret::SecretBytes;
use serde::{Deserialize, Serialize};

/// Most SAs that one message names; a longer list is sent in parts.
pub const EDGES_MAX: usize = 16_384;

/// Right edges of replay windows that have moved since the last such message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edges {
    /// The VIP of the SAs.
    pub vip: Vip,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// Inbound SPI and highest accepted sequence number, all 64 bits of it.
    pub edges: Vec<(EspSpi, u64)>,
}

/// What the owner's store does not say, or not yet, of an IKE SA: mostly a half-open one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfOpenMirror {
    /// The VIP of the SA.
    pub vip: Vip,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The SA.
    pub id: IkeSaId,
    /// The encoded record (`record::v1::Mirrored`); `None` when it is half-open no more.
    pub state: Option<SecretBytes>,
}
