//! The records of Child SAs, version 1: everything that is written once, and the small part that
//! changes.

use crate::id::{Epoch, EspSpi, IkeSaId, Vip};
use crate::ike::{Encryption, Integrity, TrafficSelector};
use crate::secret::SecretBytes;
use crate::time::Timestamp;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// One direction of a Child SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildKeys {
    /// Its SPI.
    pub spi: EspSpi,
    /// Encryption key, with its salt for an AEAD.
    pub encryption: SecretBytes,
    /// Integrity key, empty with an AEAD.
    pub integrity: SecretBytes,
}

/// When a Child SA is due for a rekey (soft) or must be gone (hard). Soft limits carry their jitter
/// already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildLimit {
    /// Bytes in either direction.
    pub bytes: Option<u64>,
    /// Packets in either direction.
    pub packets: Option<u64>,
    /// Seconds since it was created.
    pub seconds: Option<u64>,
}

/// What is written once for a Child SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildConstant {
    /// Whose it is.
    pub vip: Vip,
    /// The family of its IKE SA: [`super::v1::IkeConstant::family`].
    pub family: IkeSaId,
    /// Name of the configured connection.
    pub connection: String,
    /// Name of the configured child.
    pub child: String,
    /// What we receive with.
    pub inbound: ChildKeys,
    /// What we send with.
    pub outbound: ChildKeys,
    /// The cipher.
    pub encryption: Encryption,
    /// [`Integrity::None`] with an AEAD.
    pub integrity: Integrity,
    /// Transport mode; otherwise tunnel mode.
    pub transport: bool,
    /// Extended sequence numbers.
    pub esn: bool,
    /// Packets of the replay window.
    pub replay_window: u32,
    /// Selectors of our side.
    pub local: Vec<TrafficSelector>,
    /// Selectors of the peer's side.
    pub remote: Vec<TrafficSelector>,
    /// The epoch in which our contribution to the keys was drawn.
    pub born: Epoch,
    /// When it was made.
    pub created: Timestamp,
    /// When a rekey is due.
    pub soft: ChildLimit,
    /// When it must be gone.
    pub hard: ChildLimit,
    /// A rekey is due as well when there is room for fewer takeovers than this, jitter included.
    pub takeover_reserve: u32,
    /// Our address and port at its creation.
    pub local_endpoint: SocketAddr,
    /// The peer's address and port at its creation; the present one is in the record of its IKE SA.
    pub remote_endpoint: SocketAddr,
    /// ESP in UDP (RFC 3948).
    pub encapsulated: bool,
}

/// What changes during the life of a Child SA. It is the data path's concern, so that it is never
/// written together with the IKE SA.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildMutable {
    /// Blocks of sequence numbers granted beyond the term's own.
    pub block: u32,
}
