//! The Key Exchange payload (RFC 7296 section 3.4) and the group numbers.

use serde::{Deserialize, Serialize};

/// Key exchange methods (transform type 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Group {
    /// 0, in ESP proposals: no key exchange.
    None,
    /// 14 (RFC 3526)
    Modp2048,
    /// 19 (RFC 5903)
    EcpP256,
    /// 31 (RFC 8031)
    X25519,
    /// Any other.
    Other(u16),
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyExchange {
    /// The group the public value belongs to.
    pub group: Group,
    /// The public value.
    pub public: Vec<u8>,
}
