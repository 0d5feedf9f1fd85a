//! A whole IKE message: header and chain of payloads (RFC 7296 sections 3.1, 3.2 and 3.14); or one
//! of the fragments that it may travel in (RFC 7383 section 2.5).

use super::header::HEADER_LENGTH;
use super::{
    Auth, Configuration, Delete, Header, Identification, KeyExchange, Nonce, Notify,
    PuzzleSolution, SecurityAssociation, Side, TrafficSelectors, VendorId, length16, length32,
};
use crate::ParseError;
use crate::reader::Reader;
use core::fmt;

/// Most payloads that a message, or the inside of an Encrypted payload, may have.
pub const MAX_PAYLOADS: usize = 96;

/// Octets of a generic payload header (RFC 7296 section 3.2).
const GENERIC_LENGTH: usize = 4;

/// Payload type numbers (RFC 7296 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadType(pub u8);

#[allow(missing_docs)]
impl PayloadType {
    pub const NONE: PayloadType = PayloadType(0);
    pub const SECURITY_ASSOCIATION: PayloadType = PayloadType(33);
    pub const KEY_EXCHANGE: PayloadType = PayloadType(34);
    pub const IDENTIFICATION_INITIATOR: PayloadType = PayloadType(35);
    pub const IDENTIFICATION_RESPONDER: PayloadType = PayloadType(36);
    pub const CERTIFICATE: PayloadType = PayloadType(37);
    pub const CERTIFICATE_REQUEST: PayloadType = PayloadType(38);
    pub const AUTH: PayloadType = PayloadType(39);
    pub const NONCE: PayloadType = PayloadType(40);
    pub const NOTIFY: PayloadType = PayloadType(41);
    pub const DELETE: PayloadType = PayloadType(42);
    pub const VENDOR: PayloadType = PayloadType(43);
    pub const TRAFFIC_SELECTORS_INITIATOR: PayloadType = PayloadType(44);
    pub const TRAFFIC_SELECTORS_RESPONDER: PayloadType = PayloadType(45);
    pub const ENCRYPTED: PayloadType = PayloadType(46);
    pub const CONFIGURATION: PayloadType = PayloadType(47);
    pub const EAP: PayloadType = PayloadType(48);
    pub const ENCRYPTED_FRAGMENT: PayloadType = PayloadType(53);
    pub const PUZZLE_SOLUTION: PayloadType = PayloadType(54);
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One payload, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// SA, 33
    SecurityAssociation(SecurityAssociation),
    /// KE, 34
    KeyExchange(KeyExchange),
    /// IDi 35, IDr 36
    Identification(Identification),
    /// CERT 37: carried, not yet understood (certificates come later).
    Certificate(Vec<u8>),
    /// CERTREQ 38: carried, not yet understood.
    CertificateRequest(Vec<u8>),
    /// AUTH, 39
    Auth(Auth),
    /// Ni, Nr, 40
    Nonce(Nonce),
    /// N, 41
    Notify(Notify),
    /// D, 42
    Delete(Delete),
    /// V, 43
    Vendor(VendorId),
    /// TSi 44, TSr 45
    TrafficSelectors(TrafficSelectors),
    /// CP, 47
    Configuration(Configuration),
    /// EAP, 48: carried, not yet understood.
    Eap(Vec<u8>),
    /// PS, 54
    PuzzleSolution(PuzzleSolution),
}

/// Which fragment of a message an Encrypted Fragment payload holds (RFC 7383 section 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// From 1 to `total`.
    pub number: u16,
    /// Fragments of the message.
    pub total: u16,
}

/// Octets of number and total behind the generic header.
const FRAGMENT_LENGTH: usize = 4;

/// An Encrypted payload (46), or an Encrypted Fragment payload (53), as it stands at the end of a
/// message: its body is IV, ciphertext and integrity check value together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// Type of the first payload inside; of fragments, only the first says it.
    pub first: PayloadType,
    /// Set for an Encrypted Fragment payload.
    pub fragment: Option<Fragment>,
    /// Offset of the body (the IV) from the start of the IKE header: what lies before it is the
    /// associated data of an AEAD.
    pub body_at: usize,
}

/// A parsed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The header.
    pub header: Header,
    /// The payloads in clear, in their order. Unknown non-critical ones are left out.
    pub payloads: Vec<Payload>,
    /// The Encrypted payload, if the message ends with one.
    pub encrypted: Option<Encrypted>,
}

impl Payload {
    /// The payload's type number.
    #[must_use]
    pub fn kind(&self) -> PayloadType {
        match self {
            Payload::SecurityAssociation(_) => PayloadType::SECURITY_ASSOCIATION,
            Payload::KeyExchange(_) => PayloadType::KEY_EXCHANGE,
            Payload::Identification(id) => match id.side {
                Side::Initiator => PayloadType::IDENTIFICATION_INITIATOR,
                Side::Responder => PayloadType::IDENTIFICATION_RESPONDER,
            },
            Payload::Certificate(_) => PayloadType::CERTIFICATE,
            Payload::CertificateRequest(_) => PayloadType::CERTIFICATE_REQUEST,
            Payload::Auth(_) => PayloadType::AUTH,
            Payload::Nonce(_) => PayloadType::NONCE,
            Payload::Notify(_) => PayloadType::NOTIFY,
            Payload::Delete(_) => PayloadType::DELETE,
            Payload::Vendor(_) => PayloadType::VENDOR,
            Payload::TrafficSelectors(ts) => match ts.side {
                Side::Initiator => PayloadType::TRAFFIC_SELECTORS_INITIATOR,
                Side::Responder => PayloadType::TRAFFIC_SELECTORS_RESPONDER,
            },
            Payload::Configuration(_) => PayloadType::CONFIGURATION,
            Payload::Eap(_) => PayloadType::EAP,
            Payload::PuzzleSolution(_) => PayloadType::PUZZLE_SOLUTION,
        }
    }

    /// Reads one payload's body; `None` for a type that is not known.
    //= RFC 7296 section 4 #1: every type is parsed
    fn parse_body(kind: PayloadType, body: &[u8]) -> Result<Option<Payload>, ParseError> {
        Ok(Some(match kind {
            PayloadType::SECURITY_ASSOCIATION => {
                Payload::SecurityAssociation(SecurityAssociation::parse_body(body)?)
            }
            PayloadType::KEY_EXCHANGE => Payload::KeyExchange(KeyExchange::parse_body(body)?),
            PayloadType::IDENTIFICATION_INITIATOR => {
                Payload::Identification(Identification::parse_body(Side::Initiator, body)?)
            }
            PayloadType::IDENTIFICATION_RESPONDER => {
                Payload::Identification(Identification::parse_body(Side::Responder, body)?)
            }
            PayloadType::CERTIFICATE => Payload::Certificate(body.to_vec()),
            PayloadType::CERTIFICATE_REQUEST => Payload::CertificateRequest(body.to_vec()),
            PayloadType::AUTH => Payload::Auth(Auth::parse_body(body)?),
            PayloadType::NONCE => Payload::Nonce(Nonce::parse_body(body)?),
            PayloadType::NOTIFY => Payload::Notify(Notify::parse_body(body)?),
            PayloadType::DELETE => Payload::Delete(Delete::parse_body(body)?),
            PayloadType::VENDOR => Payload::Vendor(VendorId(body.to_vec())),
            PayloadType::TRAFFIC_SELECTORS_INITIATOR => {
                Payload::TrafficSelectors(TrafficSelectors::parse_body(Side::Initiator, body)?)
            }
            PayloadType::TRAFFIC_SELECTORS_RESPONDER => {
                Payload::TrafficSelectors(TrafficSelectors::parse_body(Side::Responder, body)?)
            }
            PayloadType::CONFIGURATION => Payload::Configuration(Configuration::parse_body(body)?),
            PayloadType::EAP => Payload::Eap(body.to_vec()),
            PayloadType::PUZZLE_SOLUTION => {
                Payload::PuzzleSolution(PuzzleSolution::parse_body(body)?)
            }
            _ => return Ok(None),
        }))
    }

    /// Writes the payload's body.
    fn emit_body(&self, out: &mut Vec<u8>) {
        match self {
            Payload::SecurityAssociation(sa) => sa.emit_body(out),
            Payload::KeyExchange(ke) => ke.emit_body(out),
            Payload::Identification(id) => out.extend_from_slice(&id.identity.emit_body()),
            Payload::Auth(auth) => auth.emit_body(out),
            Payload::Notify(notify) => notify.emit_body(out),
            Payload::Delete(delete) => delete.emit_body(out),
            Payload::TrafficSelectors(ts) => ts.emit_body(out),
            Payload::Configuration(configuration) => configuration.emit_body(out),
            Payload::Certificate(body)
            | Payload::CertificateRequest(body)
            | Payload::Nonce(Nonce(body))
            | Payload::Vendor(VendorId(body))
            | Payload::PuzzleSolution(PuzzleSolution(body))
            | Payload::Eap(body) => out.extend_from_slice(body),
        }
    }
}

/// One link of a chain: what the generic header says, and the body.
struct Link<'a> {
    next: PayloadType,
    critical: bool,
    body: &'a [u8],
}

//= RFC 7296 section 2.5 #7: reserved bits are not looked at
//= RFC 7296 section 3.2 #5: likewise
fn parse_link<'a>(reader: &mut Reader<'a>) -> Result<Link<'a>, ParseError> {
    let next = PayloadType(reader.u8()?);
    let critical = reader.u8()? & 0x80 != 0;
    let length = usize::from(reader.u16()?);
    let body_length =
        length.checked_sub(GENERIC_LENGTH).ok_or(ParseError::Length("generic payload header"))?;
    Ok(Link { next, critical, body: reader.take(body_length)? })
}

/// A chain as it was read.
struct Chain {
    payloads: Vec<Payload>,
    /// Of an Encrypted payload at the end: the type of the first payload inside, which fragment it
    /// is, and the length of its body.
    encrypted: Option<(PayloadType, Option<Fragment>, usize)>,
}

fn parse_fragment(body: &[u8]) -> Result<Fragment, ParseError> {
    let mut reader = Reader::new("Encrypted Fragment payload", body);
    let (number, total) = (reader.u16()?, reader.u16()?);
    match number >= 1 && number <= total {
        true => Ok(Fragment { number, total }),
        false => Err(ParseError::Value("number of a fragment")),
    }
}

/// Reads a chain of payloads until its end or until an Encrypted payload, which must be the last.
fn parse_links(first: PayloadType, bytes: &[u8]) -> Result<Chain, ParseError> {
    let mut reader = Reader::new("payload chain", bytes);
    let mut payloads = Vec::new();
    let mut kind = first;
    for _ in 0..=MAX_PAYLOADS {
        if kind == PayloadType::NONE {
            reader.finish()?;
            return Ok(Chain { payloads, encrypted: None });
        }
        let link = parse_link(&mut reader)?;
        if kind == PayloadType::ENCRYPTED {
            reader.finish()?;
            //= RFC 7296 section 3.1 #1: nothing follows an Encrypted payload
            //= RFC 7296 section 3.14 #1: likewise
            return Ok(Chain { payloads, encrypted: Some((link.next, None, link.body.len())) });
        }
        if kind == PayloadType::ENCRYPTED_FRAGMENT {
            reader.finish()?;
            let fragment = parse_fragment(link.body)?;
            let length = link.body.len() - FRAGMENT_LENGTH;
            return Ok(Chain { payloads, encrypted: Some((link.next, Some(fragment), length)) });
        }
        match Payload::parse_body(kind, link.body)? {
            //= RFC 7296 section 3.2 #3: the critical bit of a known payload says nothing
            Some(payload) => payloads.push(payload),
            //= RFC 7296 section 2.5 #9: an unknown one that is critical spoils the message
            None if link.critical => return Err(ParseError::Critical(kind.0)),
            //= RFC 7296 section 2.5 #8: other unknown ones are skipped
            //= RFC 7296 section 2.5 #11: likewise
            None => {}
        }
        kind = link.next;
    }
    Err(ParseError::Value("number of payloads"))
}

/// Reads the payloads inside an Encrypted payload, `bytes` being its plaintext without padding.
/// Unknown payloads are left out.
///
/// # Errors
/// `Critical` for an unknown payload with the critical bit; otherwise names the field that is
/// wrong. An Encrypted payload inside another is refused.
pub fn parse_chain(first: PayloadType, bytes: &[u8]) -> Result<Vec<Payload>, ParseError> {
    let chain = parse_links(first, bytes)?;
    match chain.encrypted {
        None => Ok(chain.payloads),
        //= RFC 7296 section 3.1 #2: none within another
        Some(_) => Err(ParseError::Value("Encrypted payload inside another")),
    }
}

/// Writes payloads one behind the other; also gives the type of the first, 0 when there is none.
/// No critical bit is set, for RFC 7296 defines all of them. A payload has at most 65,535 octets.
#[must_use]
//= RFC 7296 section 2.5 #6: reserved bits are zero
//= RFC 7296 section 2.5 #12: and so is the critical bit, in responses and elsewhere
//= RFC 7296 section 3.2 #1: for RFC 7296 defines all that is sent
pub fn emit_chain(payloads: &[Payload]) -> (PayloadType, Vec<u8>) {
    let mut out = Vec::new();
    let kind_at = |index: usize| payloads.get(index).map_or(PayloadType::NONE, Payload::kind);
    for (index, payload) in payloads.iter().enumerate() {
        let start = out.len();
        out.extend_from_slice(&[kind_at(index + 1).0, 0, 0, 0]);
        payload.emit_body(&mut out);
        let length = length16(out.len() - start).to_be_bytes();
        out[start + 2..start + 4].copy_from_slice(&length);
    }
    (kind_at(0), out)
}

/// Octets in front of the body of an Encrypted payload, or of one that holds a fragment.
#[must_use]
pub fn encrypted_header_length(fragment: bool) -> usize {
    HEADER_LENGTH + GENERIC_LENGTH + if fragment { FRAGMENT_LENGTH } else { 0 }
}

/// Writes the IKE header and the payload header of an Encrypted payload, or of an Encrypted Fragment
/// payload, whose body (IV, ciphertext and integrity check value) has `body_length` octets: the
/// associated data of an AEAD. The caller appends the body.
#[must_use]
pub fn emit_encrypted_header(
    header: &Header,
    first: PayloadType,
    fragment: Option<Fragment>,
    body_length: usize,
) -> Vec<u8> {
    let length = encrypted_header_length(fragment.is_some()) + body_length;
    let mut out = Vec::with_capacity(length);
    let kind = match fragment {
        Some(_) => PayloadType::ENCRYPTED_FRAGMENT,
        None => PayloadType::ENCRYPTED,
    };
    header.emit(kind, length32(length), &mut out);
    out.extend_from_slice(&[first.0, 0]);
    out.extend_from_slice(&length16(length - HEADER_LENGTH).to_be_bytes());
    if let Some(Fragment { number, total }) = fragment {
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&total.to_be_bytes());
    }
    out
}

impl Message {
    /// A message in clear.
    #[must_use]
    pub fn new(header: Header, payloads: Vec<Payload>) -> Message {
        Message { header, payloads, encrypted: None }
    }

    /// Reads a message, without a non-ESP marker in front.
    ///
    /// # Errors
    /// `Version` for another major version than 2, `Critical` for an unknown payload with the
    /// critical bit; otherwise names the field that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Message, ParseError> {
        let (header, first) = Header::parse(bytes)?;
        let chain = parse_links(first, &bytes[HEADER_LENGTH..])?;
        let encrypted = chain.encrypted.map(|(first, fragment, length)| {
            let body_at = bytes.len().saturating_sub(length);
            Encrypted { first, fragment, body_at }
        });
        Ok(Message { header, payloads: chain.payloads, encrypted })
    }

    /// Writes a message in clear; [`emit_encrypted_header`] is for the others.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let (first, chain) = emit_chain(&self.payloads);
        let length = HEADER_LENGTH + chain.len();
        let mut out = Vec::with_capacity(length);
        self.header.emit(first, length32(length), &mut out);
        out.extend_from_slice(&chain);
        out
    }
}
