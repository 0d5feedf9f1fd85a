//! The constant description of a Child SA: what was negotiated, and nothing that changes with use.
//!
//! Not the stored form: that is `wire::record::v1::ChildConstant`, which is versioned.

use core::net::SocketAddr;
use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_crypto::mac::MacAlgorithm;
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId, Vip};
use vipsec_wire::ike::traffic_selector::TrafficSelector;
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// How the packets of an SA are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// Combined mode (RFC 4106).
    Aead(AeadAlgorithm),
    /// AES-CBC, then a truncated HMAC over the packet.
    CbcHmac {
        /// Size of the AES key: 128, 192 or 256.
        bits: u16,
        /// The integrity algorithm.
        mac: MacAlgorithm,
    },
}

impl Cipher {
    /// Bytes of encryption key that one direction needs, the salt included.
    #[must_use]
    pub const fn encryption_key_length(self) -> usize {
        match self {
            Cipher::Aead(algorithm) => algorithm.key_and_salt_length(),
            Cipher::CbcHmac { bits, .. } => bits as usize / 8,
        }
    }

    /// Bytes of integrity key that one direction needs; 0 in combined mode.
    #[must_use]
    pub const fn integrity_key_length(self) -> usize {
        match self {
            Cipher::Aead(_) => 0,
            Cipher::CbcHmac { mac, .. } => mac.key_length(),
        }
    }
}

/// What an SA carries (RFC 4301 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Whole IP packets.
    Tunnel,
    /// What follows the IP header.
    Transport,
}

/// SPI and keys of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HalfKeys {
    /// The SPI in the packets of this direction, chosen by the receiver.
    pub spi: EspSpi,
    /// Encryption key, with the 4 bytes of salt at its end in combined mode.
    pub encryption: SecretBytes,
    /// Integrity key, empty in combined mode.
    pub integrity: SecretBytes,
}

/// How much one direction may be used. `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Bytes of ESP payload, IP headers of tunnel mode included.
    pub bytes: Option<u64>,
    /// Packets.
    pub packets: Option<u64>,
    /// Seconds since the SA was created.
    pub seconds: Option<u64>,
}

/// When an SA is to be replaced and when it must not be used any more. Whoever creates the SA has
/// put the jitter in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lifetime {
    /// A rekey is due.
    pub soft: Limits,
    /// Nothing is sealed or opened any more.
    pub hard: Limits,
    /// A rekey is due as well when room for fewer takeovers than this is left: at least
    /// [`Lifetime::TAKEOVER_RESERVE`], plus jitter.
    pub takeover_reserve: u32,
}

impl Lifetime {
    /// Takeovers for which there must be room left in sequence numbers and terms.
    pub const TAKEOVER_RESERVE: u32 = 32;
}

impl Default for Lifetime {
    fn default() -> Lifetime {
        Lifetime {
            soft: Limits::default(),
            hard: Limits::default(),
            takeover_reserve: Lifetime::TAKEOVER_RESERVE,
        }
    }
}

/// Between which addresses the packets of an SA travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Ours: the VIP.
    pub local: SocketAddr,
    /// The peer's, as NAT shows it.
    pub remote: SocketAddr,
    /// In UDP (RFC 3948) with these ports, or else plain ESP, for which the ports mean nothing.
    pub encapsulated: bool,
    /// We are behind a NAT, whose mapping has to be kept alive (RFC 3948 section 4).
    pub local_nat: bool,
}

/// A Child SA: a pair of ESP SAs that were negotiated together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildSa {
    /// The VIP that it belongs to and moves with.
    pub vip: Vip,
    /// The IKE SA under which it was made or that inherited it.
    pub ike: IkeSaId,
    /// Name of the connection in the configuration.
    pub connection: String,
    /// Name of the child in the configuration.
    pub child: String,
    /// What the peer sends to us.
    pub inbound: HalfKeys,
    /// What we send to the peer.
    pub outbound: HalfKeys,
    /// Protection, the same in both directions.
    pub cipher: Cipher,
    /// Tunnel or transport.
    pub mode: Mode,
    /// 64-bit sequence numbers (RFC 4303 section 2.2.1).
    pub esn: bool,
    /// Size of the replay window in packets; see [`crate::WindowSnapshot`] for its bounds.
    pub replay_window: u32,
    /// Our side of the policy.
    pub local: Vec<TrafficSelector>,
    /// The peer's side of the policy.
    pub remote: Vec<TrafficSelector>,
    /// The epoch in which the keys were made. It never changes.
    pub born: Epoch,
    /// When the SA was made.
    pub created: Timestamp,
    /// Its lifetime, jitter included.
    pub lifetime: Lifetime,
    /// Where its packets go.
    pub endpoints: Endpoints,
}

/// What one live half is built from. For a Child SA see [`ChildSa::inbound_half`] and
/// [`ChildSa::outbound_half`]; the links between nodes make theirs from the TLS exporter.
#[derive(Debug, Clone, Copy)]
pub struct HalfSa<'a> {
    /// SPI and keys.
    pub keys: &'a HalfKeys,
    /// Protection.
    pub cipher: Cipher,
    /// 64-bit sequence numbers.
    pub esn: bool,
    /// Size of the replay window in packets; without meaning for an outbound half.
    pub replay_window: u32,
    /// The epoch in which the keys were made.
    pub born: Epoch,
    /// When.
    pub created: Timestamp,
    /// Lifetime.
    pub lifetime: Lifetime,
}

impl ChildSa {
    /// The receiving half.
    #[must_use]
    pub fn inbound_half(&self) -> HalfSa<'_> {
        self.half(&self.inbound)
    }

    /// The sending half.
    #[must_use]
    pub fn outbound_half(&self) -> HalfSa<'_> {
        self.half(&self.outbound)
    }

    fn half<'a>(&'a self, keys: &'a HalfKeys) -> HalfSa<'a> {
        HalfSa {
            keys,
            cipher: self.cipher,
            esn: self.esn,
            replay_window: self.replay_window,
            born: self.born,
            created: self.created,
            lifetime: self.lifetime,
        }
    }
}
