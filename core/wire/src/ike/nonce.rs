//! The Nonce payload (RFC 7296 section 3.9): 16 to 256 octets.

use crate::ParseError;

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(pub Vec<u8>);

impl Nonce {
    /// Reads the payload's body, behind the generic header.
    pub(super) fn parse_body(body: &[u8]) -> Result<Nonce, ParseError> {
        //= RFC 7296 section 3.9 #1: 16 to 256 octets
        if (16..=256).contains(&body.len()) {
            Ok(Nonce(body.to_vec()))
        } else {
            Err(ParseError::Length("Nonce payload"))
        }
    }
}
