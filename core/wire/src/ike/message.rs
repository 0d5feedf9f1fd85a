//! A whole IKE message: header and chain of payloads (RFC 7296 sections 3.1, 3.2 and 3.14).

use super::{
    Auth, Configuration, Delete, Header, Identification, KeyExchange, Nonce, Notify,
    SecurityAssociation, TrafficSelectors, VendorId,
};

/// Payload type numbers (RFC 7296 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadType(pub u8);

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
}

/// An Encrypted payload (46) as it stands at the end of a message: its body is IV, ciphertext and
/// integrity check value together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// Type of the first payload inside.
    pub first: PayloadType,
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

// Functions to be here:
// impl Message { pub fn parse(bytes: &[u8]) -> Result<Message, ParseError>;  checks length field, version 2, chain
//                pub fn emit(&self) -> Vec<u8>;   for messages in clear (IKE_SA_INIT, unauth. notifies) }
// pub fn parse_chain(first: PayloadType, bytes: &[u8]) -> Result<Vec<Payload>, ParseError>;  inner payloads
// pub fn emit_chain(payloads: &[Payload]) -> (PayloadType, Vec<u8>);
// pub fn emit_encrypted_header(header: &Header, first: PayloadType, body_length: usize) -> Vec<u8>;
//     header + generic header of SK with total lengths set: AAD for AEAD; the caller appends the body.
