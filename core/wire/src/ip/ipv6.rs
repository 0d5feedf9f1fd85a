//! The IPv6 header and its extension headers (RFC 8200).

use super::protocol;
use crate::ParseError;
use crate::reader::Reader;
use core::net::Ipv6Addr;

/// Octets of the fixed header.
pub const HEADER_LENGTH: usize = 40;

/// Octets of the fragment header.
pub const FRAGMENT_HEADER_LENGTH: usize = 8;

/// Most extension headers that are walked over.
pub const MAX_EXTENSIONS: usize = 8;

const WHAT: &str = "IPv6 header";
const EXTENSION: &str = "IPv6 extension header";

/// The fields of the fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// 20 bits.
    pub flow_label: u32,
    /// Octets behind the fixed header.
    pub payload_length: u16,
    /// What comes next.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// From.
    pub source: Ipv6Addr,
    /// To.
    pub destination: Ipv6Addr,
}

impl Header {
    /// A header for `content_length` octets, hop limit 64. A content longer than 65,535 octets does
    /// not fit in a packet; its length is cut there.
    #[must_use]
    pub fn new(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: u8,
        content_length: usize,
    ) -> Header {
        let payload_length = u16::try_from(content_length).unwrap_or(u16::MAX);
        Header {
            traffic_class: 0,
            flow_label: 0,
            payload_length,
            next_header,
            hop_limit: 64,
            source,
            destination,
        }
    }

    /// Reads the fixed header. Does not check whether all of the content is there.
    ///
    /// # Errors
    /// `Truncated`, or `Value` for another IP version.
    pub fn parse(packet: &[u8]) -> Result<Header, ParseError> {
        let mut reader = Reader::new(WHAT, packet);
        let first = reader.u32()?;
        if first >> 28 != 6 {
            return Err(ParseError::Value("IP version"));
        }
        let [_, class, ..] = (first << 4 >> 8).to_be_bytes();
        Ok(Header {
            traffic_class: class,
            flow_label: first & 0x000f_ffff,
            payload_length: reader.u16()?,
            next_header: reader.u8()?,
            hop_limit: reader.u8()?,
            source: reader.array::<16>()?.into(),
            destination: reader.array::<16>()?.into(),
        })
    }

    /// The header's octets.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER_LENGTH] {
        let mut out = [0; HEADER_LENGTH];
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | (self.flow_label & 0x000f_ffff);
        out[..4].copy_from_slice(&first.to_be_bytes());
        out[4..6].copy_from_slice(&self.payload_length.to_be_bytes());
        out[6] = self.next_header;
        out[7] = self.hop_limit;
        out[8..24].copy_from_slice(&self.source.octets());
        out[24..].copy_from_slice(&self.destination.octets());
        out
    }
}

/// The fragment header (RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentHeader {
    /// What the first fragment begins with.
    pub next_header: u8,
    /// Where the content belongs in the whole, in octets; a multiple of 8.
    pub offset: u16,
    /// Another fragment follows.
    pub more: bool,
    /// Names the packet that fragments belong to.
    pub identification: u32,
}

impl FragmentHeader {
    /// Reads the header.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn parse(bytes: &[u8]) -> Result<FragmentHeader, ParseError> {
        let mut reader = Reader::new("IPv6 fragment header", bytes);
        let next_header = reader.u8()?;
        reader.u8()?;
        let offset = reader.u16()?;
        let identification = reader.u32()?;
        let more = offset & 1 != 0;
        Ok(FragmentHeader { next_header, offset: offset & !7, more, identification })
    }

    /// The header's octets.
    #[must_use]
    pub fn emit(&self) -> [u8; FRAGMENT_HEADER_LENGTH] {
        let offset = (self.offset & !7) | u16::from(self.more);
        let mut out = [self.next_header, 0, 0, 0, 0, 0, 0, 0];
        out[2..4].copy_from_slice(&offset.to_be_bytes());
        out[4..].copy_from_slice(&self.identification.to_be_bytes());
        out
    }
}

/// What lies behind the extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upper {
    /// The protocol there; in a fragment that is not the first, the one that the whole begins with.
    pub protocol: u8,
    /// Where it begins, from the start of the packet.
    pub at: usize,
    /// The fragment header, if there is one, and where it begins.
    pub fragment: Option<(FragmentHeader, usize)>,
    /// Where a fragment header would have to be put: behind hop-by-hop and routing headers (RFC
    /// 8200 section 4.5), from the start of the packet.
    pub fragmentable_at: usize,
    /// Where the octet stands that names the header at `fragmentable_at`.
    pub next_header_at: usize,
}

/// Walks over the extension headers of a packet whose fixed header was read as `header`. The walk
/// ends at the upper layer, to which AH, ESP and the mobility header count here (RFC 4301 section
/// 4.4.1.1), and in a fragment that is not the first.
///
/// # Errors
/// `Truncated` when the packet ends within an extension header, `Value` when there are more than
/// [`MAX_EXTENSIONS`] of them or hop-by-hop options are not the first.
pub fn walk(header: &Header, packet: &[u8]) -> Result<Upper, ParseError> {
    let mut at = HEADER_LENGTH;
    let mut upper = Upper {
        protocol: header.next_header,
        at,
        fragment: None,
        fragmentable_at: at,
        next_header_at: 6,
    };
    for _ in 0..=MAX_EXTENSIONS {
        let kind = upper.protocol;
        let length = match kind {
            protocol::FRAGMENT if upper.fragment.is_some() => {
                return Err(ParseError::Value(EXTENSION));
            }
            protocol::FRAGMENT => FRAGMENT_HEADER_LENGTH,
            protocol::HOP_BY_HOP if at != HEADER_LENGTH => {
                return Err(ParseError::Value(EXTENSION));
            }
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                extension_length(packet, at)?
            }
            _ => return Ok(upper),
        };
        let bytes = packet.get(at..at + length).ok_or(ParseError::Truncated(EXTENSION))?;
        upper.protocol = bytes[0];
        upper.at = at + length;
        if kind == protocol::FRAGMENT {
            let fragment = FragmentHeader::parse(bytes)?;
            upper.fragment = Some((fragment, at));
            if fragment.offset != 0 {
                return Ok(upper);
            }
        }
        if matches!(kind, protocol::HOP_BY_HOP | protocol::ROUTING) && upper.fragment.is_none() {
            upper.fragmentable_at = upper.at;
            upper.next_header_at = at;
        }
        at = upper.at;
    }
    Err(ParseError::Value(EXTENSION))
}

/// The octets of the extension header at an offset.
fn extension_length(packet: &[u8], at: usize) -> Result<usize, ParseError> {
    let octet = packet.get(at + 1).ok_or(ParseError::Truncated(EXTENSION))?;
    Ok((usize::from(*octet) + 1) * 8)
}
