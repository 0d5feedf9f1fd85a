//! The Key Exchange payload (RFC 7296 section 3.4) and the group numbers.

use crate::ParseError;
use crate::reader::Reader;
use serde::{Deserialize, Serialize};

/// Additional key exchanges that a proposal may have (RFC 9370 section 2.2.2).
pub const ADDITIONAL_MAX: usize = 7;

/// The methods of additional key exchanges 1 to 7; [`Group::None`] where there is none.
pub type AdditionalGroups = [Group; ADDITIONAL_MAX];

/// Key exchange methods (transform types 4 and 6 to 12), stored by their numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "u16", into = "u16")]
pub enum Group {
    /// 0, in ESP proposals and for additional key exchanges: none.
    #[default]
    None,
    /// 14 (RFC 3526)
    Modp2048,
    /// 15 (RFC 3526)
    Modp3072,
    /// 16 (RFC 3526)
    Modp4096,
    /// 17 (RFC 3526)
    Modp6144,
    /// 18 (RFC 3526)
    Modp8192,
    /// 19 (RFC 5903)
    EcpP256,
    /// 20 (RFC 5903)
    EcpP384,
    /// 21 (RFC 5903)
    EcpP521,
    /// 31 (RFC 8031)
    X25519,
    /// 35 (draft-ietf-ipsecme-ikev2-mlkem)
    MlKem512,
    /// 36 (draft-ietf-ipsecme-ikev2-mlkem)
    MlKem768,
    /// 37 (draft-ietf-ipsecme-ikev2-mlkem)
    MlKem1024,
    /// Any other.
    Other(u16),
}

impl Group {
    /// The group of a number.
    #[must_use]
    pub fn from_number(number: u16) -> Group {
        match number {
            0 => Group::None,
            14 => Group::Modp2048,
            15 => Group::Modp3072,
            16 => Group::Modp4096,
            17 => Group::Modp6144,
            18 => Group::Modp8192,
            19 => Group::EcpP256,
            20 => Group::EcpP384,
            21 => Group::EcpP521,
            31 => Group::X25519,
            35 => Group::MlKem512,
            36 => Group::MlKem768,
            37 => Group::MlKem1024,
            other => Group::Other(other),
        }
    }

    /// The number of the group.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Group::None => 0,
            Group::Modp2048 => 14,
            Group::Modp3072 => 15,
            Group::Modp4096 => 16,
            Group::Modp6144 => 17,
            Group::Modp8192 => 18,
            Group::EcpP256 => 19,
            Group::EcpP384 => 20,
            Group::EcpP521 => 21,
            Group::X25519 => 31,
            Group::MlKem512 => 35,
            Group::MlKem768 => 36,
            Group::MlKem1024 => 37,
            Group::Other(number) => number,
        }
    }
}

impl From<u16> for Group {
    fn from(number: u16) -> Group {
        Group::from_number(number)
    }
}

impl From<Group> for u16 {
    fn from(group: Group) -> u16 {
        group.number()
    }
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyExchange {
    /// The group the public value belongs to.
    pub group: Group,
    /// The public value.
    pub public: Vec<u8>,
}

impl KeyExchange {
    /// Reads the payload's body, behind the generic header.
    pub(super) fn parse_body(body: &[u8]) -> Result<KeyExchange, ParseError> {
        let mut reader = Reader::new("Key Exchange payload", body);
        let group = Group::from_number(reader.u16()?);
        reader.take(2)?;
        Ok(KeyExchange { group, public: reader.rest().to_vec() })
    }

    /// Writes the payload's body.
    pub(super) fn emit_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group.number().to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.public);
    }
}
