//! The IPv4 header (RFC 791).

use super::checksum::{Sum, checksum};
use crate::ParseError;
use core::net::Ipv4Addr;

/// Octets of a header without options: the only kind that is written here.
pub const HEADER_LENGTH: usize = 20;

const WHAT: &str = "IPv4 header";

/// The fields of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Octets of the header with its options; [`Header::emit`] always writes 20.
    pub header_length: usize,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Octets of header and content.
    pub total_length: u16,
    /// Names the packet that fragments belong to.
    pub identification: u16,
    /// The DF bit.
    pub dont_fragment: bool,
    /// The MF bit.
    pub more_fragments: bool,
    /// Where the content belongs in the whole, in octets; a multiple of 8.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// What the content is.
    pub protocol: u8,
    /// From.
    pub source: Ipv4Addr,
    /// To.
    pub destination: Ipv4Addr,
}

impl Header {
    /// A header for `content_length` octets: not a fragment, DF clear, TTL 64. A content longer
    /// than 65,515 octets does not fit in a packet; its length is cut there.
    #[must_use]
    pub fn new(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: u8,
        content_length: usize,
    ) -> Header {
        Header {
            header_length: HEADER_LENGTH,
            traffic_class: 0,
            total_length: u16::try_from(HEADER_LENGTH + content_length).unwrap_or(u16::MAX),
            identification: 0,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol,
            source,
            destination,
        }
    }

    /// Reads a header and checks its lengths against each other, but not the checksum, and not
    /// whether all of the content is there.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn parse(packet: &[u8]) -> Result<Header, ParseError> {
        let fixed = packet.first_chunk::<HEADER_LENGTH>().ok_or(ParseError::Truncated(WHAT))?;
        if fixed[0] >> 4 != 4 {
            return Err(ParseError::Value("IP version"));
        }
        let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let address =
            |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
        let header_length = usize::from(fixed[0] & 0x0f) * 4;
        let total_length = word(2);
        if header_length < HEADER_LENGTH || usize::from(total_length) < header_length {
            return Err(ParseError::Length(WHAT));
        }
        if packet.len() < header_length {
            return Err(ParseError::Truncated(WHAT));
        }
        let fragment = word(6);
        Ok(Header {
            header_length,
            traffic_class: fixed[1],
            total_length,
            identification: word(4),
            dont_fragment: fragment & 0x4000 != 0,
            more_fragments: fragment & 0x2000 != 0,
            fragment_offset: (fragment & 0x1fff) << 3,
            ttl: fixed[8],
            protocol: fixed[9],
            source: address(12),
            destination: address(16),
        })
    }

    /// Whether the packet is a part of another.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// The header's octets, without options, with its checksum.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER_LENGTH] {
        let mut out = [0; HEADER_LENGTH];
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        let fragment = flag(self.dont_fragment, 0x4000)
            | flag(self.more_fragments, 0x2000)
            | self.fragment_offset >> 3;
        out[0] = 0x45;
        out[1] = self.traffic_class;
        out[2..4].copy_from_slice(&self.total_length.to_be_bytes());
        out[4..6].copy_from_slice(&self.identification.to_be_bytes());
        out[6..8].copy_from_slice(&fragment.to_be_bytes());
        out[8] = self.ttl;
        out[9] = self.protocol;
        out[12..16].copy_from_slice(&self.source.octets());
        out[16..20].copy_from_slice(&self.destination.octets());
        let sum = checksum(&out);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out
    }
}

/// Whether the checksum of the header at the start of a packet is right. False when the header is
/// not all there.
#[must_use]
pub fn is_checksum_valid(packet: &[u8]) -> bool {
    let header_length = packet.first().map_or(0, |octet| usize::from(octet & 0x0f) * 4);
    let Some(header) = packet.get(..header_length) else { return false };
    let mut sum = Sum::new();
    sum.add(header);
    header_length >= HEADER_LENGTH && sum.is_valid()
}
