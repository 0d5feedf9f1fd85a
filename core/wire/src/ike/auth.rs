//! The Authentication payload (RFC 7296 section 3.8).

/// Authentication methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// 2
    SharedKey,
    /// Any other; signatures (1, 9 to 11, 14) come later.
    Other(u8),
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// How.
    pub method: AuthMethod,
    /// The proof.
    pub data: Vec<u8>,
}
