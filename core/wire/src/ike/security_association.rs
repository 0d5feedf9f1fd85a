//! The Security Association payload (RFC 7296 section 3.3): proposals and transforms.

use super::{Group, length8, length16};
use crate::ParseError;
use crate::reader::Reader;
use serde::{Deserialize, Serialize};

/// Most proposals that a payload may have.
pub const MAX_PROPOSALS: usize = 64;

/// Most transforms that all proposals of a payload may have together.
pub const MAX_TRANSFORMS: usize = 512;

const WHAT: &str = "Security Association payload";

/// Octets of a transform without attributes, and of a proposal's header.
const SUBSTRUCTURE_LENGTH: usize = 8;

/// The Key Length attribute in its type/value form: the only one that is defined.
const KEY_LENGTH: u16 = 0x8000 | 14;

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

/// Encryption algorithms (transform type 1) with their key length. These and the functions below are
/// stored by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(u16, Option<u16>)", into = "(u16, Option<u16>)")]
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
    /// 28 (RFC 7634), ICV of 16 octets; key of 256 bits, which no attribute says.
    ChaCha20Poly1305,
    /// Any other, with its key length attribute if there is one.
    Other(u16, Option<u16>),
}

/// Pseudo-random functions (transform type 2; RFC 4868).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "u16", into = "u16")]
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
#[serde(from = "u16", into = "u16")]
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
//= RFC 7296 section 3.3.3 #1: every type that IKE and ESP know
pub enum Transform {
    /// Type 1
    Encryption(Encryption),
    /// Type 2
    Prf(Prf),
    /// Type 3
    Integrity(Integrity),
    /// Type 4
    Group(Group),
    /// Type 5
    Esn(Esn),
    /// Types 6 to 12 (RFC 9370)
    AdditionalGroup {
        /// 0 for ADDKE1 to 6 for ADDKE7.
        place: u8,
        /// The method.
        group: Group,
    },
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

impl Protocol {
    /// The protocol of a number.
    #[must_use]
    pub fn from_number(number: u8) -> Protocol {
        match number {
            1 => Protocol::Ike,
            2 => Protocol::Ah,
            3 => Protocol::Esp,
            other => Protocol::Other(other),
        }
    }

    /// The number of the protocol.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Protocol::Ike => 1,
            Protocol::Ah => 2,
            Protocol::Esp => 3,
            Protocol::Other(number) => number,
        }
    }
}

impl Encryption {
    /// The algorithm of a transform ID and its key length in bits, if one was given.
    #[must_use]
    pub fn from_number(number: u16, bits: Option<u16>) -> Encryption {
        match (number, bits) {
            (20, Some(bits @ (128 | 192 | 256))) => Encryption::AesGcm16 { bits },
            (12, Some(bits @ (128 | 192 | 256))) => Encryption::AesCbc { bits },
            (28, None) => Encryption::ChaCha20Poly1305,
            (other, bits) => Encryption::Other(other, bits),
        }
    }

    /// The transform ID, and the key length in bits if the algorithm has one.
    #[must_use]
    //= RFC 7296 section 2.13 #1: AES says its key length
    //= RFC 7296 section 3.3.5 #4: what has one length does not
    pub fn number(self) -> (u16, Option<u16>) {
        match self {
            Encryption::AesGcm16 { bits } => (20, Some(bits)),
            Encryption::AesCbc { bits } => (12, Some(bits)),
            Encryption::ChaCha20Poly1305 => (28, None),
            Encryption::Other(number, bits) => (number, bits),
        }
    }

    /// Whether the algorithm authenticates too, so that no integrity algorithm goes with it.
    #[must_use]
    pub fn is_aead(self) -> bool {
        match self {
            Encryption::AesGcm16 { .. } | Encryption::ChaCha20Poly1305 => true,
            Encryption::AesCbc { .. } => false,
            Encryption::Other(number, _) => matches!(number, 14..=16 | 18..=20 | 28..=31),
        }
    }
}

impl Prf {
    /// The function of a number.
    #[must_use]
    pub fn from_number(number: u16) -> Prf {
        match number {
            5 => Prf::HmacSha2_256,
            6 => Prf::HmacSha2_384,
            7 => Prf::HmacSha2_512,
            other => Prf::Other(other),
        }
    }

    /// The number of the function.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Prf::HmacSha2_256 => 5,
            Prf::HmacSha2_384 => 6,
            Prf::HmacSha2_512 => 7,
            Prf::Other(number) => number,
        }
    }
}

impl Integrity {
    /// The algorithm of a number.
    #[must_use]
    pub fn from_number(number: u16) -> Integrity {
        match number {
            0 => Integrity::None,
            12 => Integrity::HmacSha2_256_128,
            13 => Integrity::HmacSha2_384_192,
            14 => Integrity::HmacSha2_512_256,
            other => Integrity::Other(other),
        }
    }

    /// The number of the algorithm.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Integrity::None => 0,
            Integrity::HmacSha2_256_128 => 12,
            Integrity::HmacSha2_384_192 => 13,
            Integrity::HmacSha2_512_256 => 14,
            Integrity::Other(number) => number,
        }
    }
}

impl From<(u16, Option<u16>)> for Encryption {
    fn from((number, bits): (u16, Option<u16>)) -> Encryption {
        Encryption::from_number(number, bits)
    }
}

impl From<Encryption> for (u16, Option<u16>) {
    fn from(algorithm: Encryption) -> (u16, Option<u16>) {
        algorithm.number()
    }
}

impl From<u16> for Prf {
    fn from(number: u16) -> Prf {
        Prf::from_number(number)
    }
}

impl From<Prf> for u16 {
    fn from(function: Prf) -> u16 {
        function.number()
    }
}

impl From<u16> for Integrity {
    fn from(number: u16) -> Integrity {
        Integrity::from_number(number)
    }
}

impl From<Integrity> for u16 {
    fn from(algorithm: Integrity) -> u16 {
        algorithm.number()
    }
}

impl Esn {
    /// The number: 1 for extended sequence numbers.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Esn::No => 0,
            Esn::Yes => 1,
        }
    }
}

impl Transform {
    /// The transform of a type, an ID and a key length in bits, if one was given.
    #[must_use]
    pub fn from_number(kind: u8, id: u16, bits: Option<u16>) -> Transform {
        match (kind, id, bits) {
            (1, _, bits) => Transform::Encryption(Encryption::from_number(id, bits)),
            (2, _, None) => Transform::Prf(Prf::from_number(id)),
            (3, _, None) => Transform::Integrity(Integrity::from_number(id)),
            (4, _, None) => Transform::Group(Group::from_number(id)),
            (5, 0, None) => Transform::Esn(Esn::No),
            (5, 1, None) => Transform::Esn(Esn::Yes),
            (6..=12, _, None) => {
                Transform::AdditionalGroup { place: kind - 6, group: Group::from_number(id) }
            }
            _ => Transform::Unknown { kind, id },
        }
    }

    /// Transform type, transform ID and key length in bits.
    #[must_use]
    pub fn number(self) -> (u8, u16, Option<u16>) {
        match self {
            Transform::Encryption(algorithm) => {
                let (id, bits) = algorithm.number();
                (1, id, bits)
            }
            Transform::Prf(function) => (2, function.number(), None),
            Transform::Integrity(algorithm) => (3, algorithm.number(), None),
            Transform::Group(group) => (4, group.number(), None),
            Transform::Esn(esn) => (5, esn.number(), None),
            Transform::AdditionalGroup { place, group } => (6 + place, group.number(), None),
            Transform::Unknown { kind, id } => (kind, id, None),
        }
    }

    /// Reads one transform and whether another follows.
    fn parse(reader: &mut Reader<'_>) -> Result<(Transform, bool), ParseError> {
        let more = parse_more(reader, 3)?;
        let length = usize::from(reader.u16()?);
        let body_length = length.checked_sub(4).ok_or(ParseError::Length(WHAT))?;
        let mut body = Reader::new(WHAT, reader.take(body_length)?);
        let kind = body.u8()?;
        //= RFC 7296 section 3.3.2 #1: a reserved octet is not looked at
        body.u8()?;
        let id = body.u16()?;
        //= RFC 7296 section 3.3 #7: an attribute stands once
        //= RFC 7296 section 3.3.5 #1: the key length has its short form alone
        let mut bits = None;
        let mut strange = false;
        while !body.is_empty() {
            let attribute = body.u16()?;
            let value = body.u16()?;
            match (attribute & 0x8000 != 0, attribute) {
                (_, KEY_LENGTH) if bits.is_none() => bits = Some(value),
                (true, _) => strange = true,
                (false, _) => {
                    body.take(usize::from(value))?;
                    strange = true;
                }
            }
        }
        let transform = if strange {
            Transform::Unknown { kind, id }
        } else {
            Transform::from_number(kind, id, bits)
        };
        Ok((transform, more))
    }

    //= RFC 7296 section 3.3 #7: one attribute at most
    //= RFC 7296 section 3.3.5 #1: in its short form
    //= RFC 7296 section 3.3.5 #3: in network byte order
    //= RFC 7296 section 3.3.2 #1: reserved octets are zero
    fn emit(self, more: bool, out: &mut Vec<u8>) {
        let (kind, id, bits) = self.number();
        let length = SUBSTRUCTURE_LENGTH + if bits.is_some() { 4 } else { 0 };
        out.extend_from_slice(&[if more { 3 } else { 0 }, 0]);
        out.extend_from_slice(&length16(length).to_be_bytes());
        out.extend_from_slice(&[kind, 0]);
        out.extend_from_slice(&id.to_be_bytes());
        if let Some(bits) = bits {
            out.extend_from_slice(&KEY_LENGTH.to_be_bytes());
            out.extend_from_slice(&bits.to_be_bytes());
        }
    }
}

/// Reads "last substructure" and the reserved octet behind it: `mark` means that another follows.
fn parse_more(reader: &mut Reader<'_>, mark: u8) -> Result<bool, ParseError> {
    let last = reader.u8()?;
    reader.u8()?;
    match last {
        0 => Ok(false),
        more if more == mark => Ok(true),
        _ => Err(ParseError::Value(WHAT)),
    }
}

impl Proposal {
    /// Reads one proposal and whether another follows.
    fn parse(reader: &mut Reader<'_>) -> Result<(Proposal, bool), ParseError> {
        //= RFC 7296 section 3.3.1 #1: the reserved octet is not looked at
        let more = parse_more(reader, 2)?;
        let length = usize::from(reader.u16()?);
        let body_length = length.checked_sub(4).ok_or(ParseError::Length(WHAT))?;
        let mut body = Reader::new(WHAT, reader.take(body_length)?);
        let number = body.u8()?;
        let protocol = Protocol::from_number(body.u8()?);
        let spi_size = body.u8()?;
        let count = usize::from(body.u8()?);
        let spi_fits = match protocol {
            Protocol::Ike => matches!(spi_size, 0 | 8),
            Protocol::Ah | Protocol::Esp => spi_size == 4,
            Protocol::Other(_) => true,
        };
        if !spi_fits {
            return Err(ParseError::Length(WHAT));
        }
        let spi = body.take(usize::from(spi_size))?.to_vec();
        let mut transforms = Vec::with_capacity(count.min(16));
        for index in 0..count {
            let (transform, another) = Transform::parse(&mut body)?;
            //= RFC 7296 section 3.3 #2: lengths and counts agree
            if another != (index + 1 < count) {
                return Err(ParseError::Value(WHAT));
            }
            transforms.push(transform);
        }
        body.finish()?;
        Ok((Proposal { number, protocol, spi, transforms }, more))
    }

    fn emit(&self, more: bool, out: &mut Vec<u8>) {
        let start = out.len();
        //= RFC 7296 section 3.3.1 #1: the reserved octet is zero
        out.extend_from_slice(&[if more { 2 } else { 0 }, 0, 0, 0]);
        out.extend_from_slice(&[self.number, self.protocol.number()]);
        out.extend_from_slice(&[length8(self.spi.len()), length8(self.transforms.len())]);
        out.extend_from_slice(&self.spi);
        for (index, transform) in self.transforms.iter().enumerate() {
            transform.emit(index + 1 < self.transforms.len(), out);
        }
        let length = length16(out.len() - start).to_be_bytes();
        out[start + 2..start + 4].copy_from_slice(&length);
    }
}

impl SecurityAssociation {
    /// Reads the payload's body, behind the generic header. Proposal numbers must grow, so that
    /// each names one proposal.
    pub(super) fn parse_body(body: &[u8]) -> Result<SecurityAssociation, ParseError> {
        let mut reader = Reader::new(WHAT, body);
        let mut proposals: Vec<Proposal> = Vec::new();
        let mut transforms = 0;
        let mut more = true;
        while more {
            let (proposal, another) = Proposal::parse(&mut reader)?;
            more = another;
            transforms += proposal.transforms.len();
            let previous = proposals.last().map_or(0, |last| last.number);
            let bounded = proposals.len() < MAX_PROPOSALS && transforms <= MAX_TRANSFORMS;
            if proposal.number <= previous || !bounded {
                return Err(ParseError::Value(WHAT));
            }
            proposals.push(proposal);
        }
        reader.finish()?;
        Ok(SecurityAssociation { proposals })
    }

    /// Writes the payload's body.
    pub(super) fn emit_body(&self, out: &mut Vec<u8>) {
        for (index, proposal) in self.proposals.iter().enumerate() {
            proposal.emit(index + 1 < self.proposals.len(), out);
        }
    }
}
