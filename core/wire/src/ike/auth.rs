//! The Authentication payload (RFC 7296 section 3.8).

use crate::ParseError;
use crate::reader::Reader;

/// Authentication methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// 2
    SharedKey,
    /// 14 (RFC 7427)
    DigitalSignature,
    /// Any other.
    Other(u8),
}

impl AuthMethod {
    /// The method of a number.
    #[must_use]
    pub fn from_number(number: u8) -> AuthMethod {
        match number {
            2 => AuthMethod::SharedKey,
            14 => AuthMethod::DigitalSignature,
            other => AuthMethod::Other(other),
        }
    }

    /// The number of the method.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            AuthMethod::SharedKey => 2,
            AuthMethod::DigitalSignature => 14,
            AuthMethod::Other(number) => number,
        }
    }
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// How.
    pub method: AuthMethod,
    /// The proof.
    pub data: Vec<u8>,
}

impl Auth {
    /// Reads the payload's body, behind the generic header.
    pub(super) fn parse_body(body: &[u8]) -> Result<Auth, ParseError> {
        let mut reader = Reader::new("Authentication payload", body);
        //= RFC 7296 section 3.8 #1: reserved octets are not looked at
        let method = AuthMethod::from_number(reader.u8()?);
        reader.take(3)?;
        Ok(Auth { method, data: reader.rest().to_vec() })
    }

    /// Writes the payload's body.
    pub(super) fn emit_body(&self, out: &mut Vec<u8>) {
        //= RFC 7296 section 3.8 #1: reserved octets are zero
        out.extend_from_slice(&[self.method.number(), 0, 0, 0]);
        out.extend_from_slice(&self.data);
    }
}
