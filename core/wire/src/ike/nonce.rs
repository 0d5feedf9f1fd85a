//! The Nonce payload (RFC 7296 section 3.9): 16 to 256 octets.

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(pub Vec<u8>);
