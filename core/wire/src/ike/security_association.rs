//! The Security Association payload (RFC 7296 section 3.3): proposals and transforms.

use serde::{Deserialize, Serialize};

/// Protocol IDs (RFC 7296 section 3.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// 1
    Ike,
    /// 2, parsed so that a proposal with it can be passed over
    Ah,
    /// 3
    Esp,
    /// Any other.
    Other(u8),
}

/// Encryption algorithms (transform type 1) with their key length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encryption {
    /// 20 (RFC 4106, RFC 5282), ICV of 16 octets; key length 128, 192 or 256 bits.
    AesGcm16 {
        /// Key length in bits.
        bits: u16,
    },
    /// 12 (RFC 3602); key length 128, 192 or 256 bits.
    AesCbc {
        /// Key length in bits.
        bits: u16,
    },
    /// Any other, with its key length attribute if there is one.
    Other(u16, Option<u16>),
}

/// Pseudo-random functions (transform type 2; RFC 4868).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Prf {
    /// 5
    HmacSha2_256,
    /// 6
    HmacSha2_384,
    /// 7
    HmacSha2_512,
    /// Any other.
    Other(u16),
}

/// Integrity algorithms (transform type 3; RFC 4868).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Integrity {
    /// 0
    None,
    /// 12
    HmacSha2_256_128,
    /// 13
    HmacSha2_384_192,
    /// 14
    HmacSha2_512_256,
    /// Any other.
    Other(u16),
}

/// Extended sequence numbers (transform type 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Esn {
    /// 0
    No,
    /// 1
    Yes,
}

/// One transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transform {
    /// Type 1
    Encryption(Encryption),
    /// Type 2
    Prf(Prf),
    /// Type 3
    Integrity(Integrity),
    /// Type 4
    Group(super::Group),
    /// Type 5
    Esn(Esn),
    /// An unknown type or a transform with attributes that are not understood: a proposal that
    /// needs it cannot be chosen (RFC 7296 section 3.3.6).
    Unknown {
        /// Transform type.
        kind: u8,
        /// Transform ID.
        id: u16,
    },
}

/// One proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Proposal number, from 1.
    pub number: u8,
    /// What the SA is for.
    pub protocol: Protocol,
    /// Empty, or 4 octets (ESP), or 8 (IKE rekey).
    pub spi: Vec<u8>,
    /// The transforms in their order.
    pub transforms: Vec<Transform>,
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityAssociation {
    /// In order of preference.
    pub proposals: Vec<Proposal>,
}
