//! The IKE header (RFC 7296 section 3.1).

use super::PayloadType;
use crate::ParseError;
use crate::reader::Reader;
use core::fmt;

/// Octets of the header.
pub const HEADER_LENGTH: usize = 28;

/// Both SPIs of an IKE SA; the responder's is 0 in the first message of an IKE_SA_INIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct IkeSpis {
    /// Chosen by the original initiator, never 0.
    pub initiator: u64,
    /// Chosen by the original responder.
    pub responder: u64,
}

impl fmt::Display for IkeSpis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}_i {:016x}_r", self.initiator, self.responder)
    }
}

/// Exchange types (RFC 7296 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ExchangeType {
    /// 34
    IkeSaInit,
    /// 35
    IkeAuth,
    /// 36
    CreateChildSa,
    /// 37
    Informational,
    /// 43 (RFC 9242)
    IkeIntermediate,
    /// 44 (RFC 9370)
    IkeFollowupKe,
    /// Any other number, kept as it is.
    Other(u8),
}

impl ExchangeType {
    /// The exchange of a number.
    #[must_use]
    pub fn from_number(number: u8) -> ExchangeType {
        match number {
            34 => ExchangeType::IkeSaInit,
            35 => ExchangeType::IkeAuth,
            36 => ExchangeType::CreateChildSa,
            37 => ExchangeType::Informational,
            43 => ExchangeType::IkeIntermediate,
            44 => ExchangeType::IkeFollowupKe,
            other => ExchangeType::Other(other),
        }
    }

    /// The number of the exchange.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            ExchangeType::IkeSaInit => 34,
            ExchangeType::IkeAuth => 35,
            ExchangeType::CreateChildSa => 36,
            ExchangeType::Informational => 37,
            ExchangeType::IkeIntermediate => 43,
            ExchangeType::IkeFollowupKe => 44,
            ExchangeType::Other(number) => number,
        }
    }
}

/// The fixed header of every IKE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The SPIs of the IKE SA.
    pub spis: IkeSpis,
    /// What exchange the message belongs to.
    pub exchange: ExchangeType,
    /// The I flag: the sender is the original initiator of this IKE SA.
    pub from_initiator: bool,
    /// The R flag: the message answers a request.
    pub response: bool,
    /// The V flag: the sender speaks a higher major version.
    pub higher_version: bool,
    /// Message ID (RFC 7296 section 2.2).
    pub message_id: u32,
}

/// The header's three defined flags.
const FROM_INITIATOR: u8 = 0x08;
const HIGHER_VERSION: u8 = 0x10;
const RESPONSE: u8 = 0x20;

/// A header as it came, with the fields that only the parser needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawHeader {
    /// The header. Its meaning is certain only for major version 2.
    pub header: Header,
    /// Type of the first payload; 0 for none.
    pub first: PayloadType,
    /// Major version, 2 for IKEv2.
    pub major_version: u8,
    /// Length of the whole message in octets, as the sender claims.
    pub length: u32,
}

impl RawHeader {
    /// Reads the header alone and checks nothing but that it is all there, so that a message of
    /// another version, or one that does not parse, can still be answered (RFC 7296 sections 2.5
    /// and 2.21).
    ///
    /// # Errors
    /// `Truncated` when there are fewer than 28 octets.
    pub fn parse(bytes: &[u8]) -> Result<RawHeader, ParseError> {
        let mut reader = Reader::new("IKE header", bytes);
        let spis = IkeSpis { initiator: reader.u64()?, responder: reader.u64()? };
        let first = PayloadType(reader.u8()?);
        //= RFC 7296 section 2.5 #1: the minor version is not looked at
        //= RFC 7296 section 3.1 #9: likewise
        let major_version = reader.u8()? >> 4;
        let exchange = ExchangeType::from_number(reader.u8()?);
        //= RFC 7296 section 3.1 #10: other flags are not looked at
        let flags = reader.u8()?;
        let message_id = reader.u32()?;
        let length = reader.u32()?;
        let header = Header {
            spis,
            exchange,
            from_initiator: flags & FROM_INITIATOR != 0,
            response: flags & RESPONSE != 0,
            higher_version: flags & HIGHER_VERSION != 0,
            message_id,
        };
        Ok(RawHeader { header, first, major_version, length })
    }
}

impl Header {
    /// Reads and checks the header of a whole message: major version 2, an initiator's SPI, a
    /// length that is the message's own.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn parse(message: &[u8]) -> Result<(Header, PayloadType), ParseError> {
        let raw = RawHeader::parse(message)?;
        if raw.major_version != 2 {
            let version = u16::from(raw.major_version);
            return Err(ParseError::Version { what: "IKE", version });
        }
        if usize::try_from(raw.length) != Ok(message.len()) {
            return Err(ParseError::Length("IKE header"));
        }
        //= RFC 7296 section 3.1 #3: never zero
        if raw.header.spis.initiator == 0 {
            return Err(ParseError::Value("IKE initiator SPI"));
        }
        Ok((raw.header, raw.first))
    }

    /// Writes the header of a message of `length` octets in all.
    pub(super) fn emit(&self, first: PayloadType, length: u32, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        //= RFC 7296 section 3.1 #10: no other flag is set
        let flags = flag(self.from_initiator, FROM_INITIATOR)
            | flag(self.response, RESPONSE)
            | flag(self.higher_version, HIGHER_VERSION);
        out.extend_from_slice(&self.spis.initiator.to_be_bytes());
        out.extend_from_slice(&self.spis.responder.to_be_bytes());
        //= RFC 7296 section 2.5 #4: version 2 and no other
        //= RFC 7296 section 3.1 #5: the major version is 2
        //= RFC 7296 section 3.1 #8: the minor version is 0
        out.extend_from_slice(&[first.0, 0x20, self.exchange.number(), flags]);
        out.extend_from_slice(&self.message_id.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
    }
}
