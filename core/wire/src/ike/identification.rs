//! The Identification payloads (RFC 7296 section 3.5).

use core::net::{Ipv4Addr, Ipv6Addr};
use serde::{Deserialize, Serialize};

/// Which side a payload speaks of: IDi or IDr, TSi or TSr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Side {
    /// The initiator of the exchange.
    Initiator,
    /// The responder of the exchange.
    Responder,
}

/// An identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Identity {
    /// ID_IPV4_ADDR, 1
    Ipv4(Ipv4Addr),
    /// ID_FQDN, 2
    Fqdn(String),
    /// ID_RFC822_ADDR, 3
    Email(String),
    /// ID_IPV6_ADDR, 5
    Ipv6(Ipv6Addr),
    /// ID_KEY_ID, 11
    KeyId(Vec<u8>),
    /// Any other type, as it is (ID_DER_ASN1_DN is 9).
    Other(u8, Vec<u8>),
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// IDi or IDr.
    pub side: Side,
    /// Who.
    pub identity: Identity,
}

// To be here: Identity::{parse_body, emit_body (the RFC's ID payload body without generic header, for AUTH), Display, FromStr as in swanctl}
