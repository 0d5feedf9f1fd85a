//! The TCP header (RFC 9293 section 3.1), as far as a gateway reads it: ports, numbers, flags and
//! the maximum segment size.

use super::checksum;
use crate::ParseError;
use crate::reader::Reader;
use core::ops::Range;

/// Octets of a header without options.
pub const HEADER_LENGTH: usize = 20;

const WHAT: &str = "TCP header";

/// The control bits of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

#[allow(missing_docs)]
impl Flags {
    pub const FIN: Flags = Flags(0x01);
    pub const SYN: Flags = Flags(0x02);
    pub const RST: Flags = Flags(0x04);
    pub const PSH: Flags = Flags(0x08);
    pub const ACK: Flags = Flags(0x10);
    pub const URG: Flags = Flags(0x20);
}

impl Flags {
    /// Whether all bits of `bits` are set.
    #[must_use]
    pub fn has(self, bits: Flags) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// Whether the segment opens a connection: SYN, and neither ACK nor RST.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.0 & (Flags::SYN.0 | Flags::ACK.0 | Flags::RST.0) == Flags::SYN.0
    }
}

/// The fields of the header that are read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// From.
    pub source_port: u16,
    /// To.
    pub destination_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Octets of the header with its options.
    pub header_length: usize,
    /// Control bits.
    pub flags: Flags,
    /// Receive window, unscaled.
    pub window: u16,
}

impl Header {
    /// Reads a segment's header. The checksum is not verified.
    ///
    /// # Errors
    /// `Truncated`, or `Length` when the data offset is shorter than a header.
    pub fn parse(segment: &[u8]) -> Result<Header, ParseError> {
        let mut reader = Reader::new(WHAT, segment);
        let (source_port, destination_port) = (reader.u16()?, reader.u16()?);
        let (sequence, acknowledgement) = (reader.u32()?, reader.u32()?);
        let header_length = usize::from(reader.u8()? >> 4) * 4;
        let flags = Flags(reader.u8()?);
        let window = reader.u16()?;
        reader.take(4)?;
        if header_length < HEADER_LENGTH {
            return Err(ParseError::Length(WHAT));
        }
        if segment.len() < header_length {
            return Err(ParseError::Truncated(WHAT));
        }
        Ok(Header {
            source_port,
            destination_port,
            sequence,
            acknowledgement,
            header_length,
            flags,
            window,
        })
    }
}

/// Where the value of the maximum segment size option stands in a segment; `None` when the segment
/// has none or cannot be read.
#[must_use]
pub fn mss_at(segment: &[u8]) -> Option<Range<usize>> {
    let header_length = Header::parse(segment).ok()?.header_length;
    let mut at = HEADER_LENGTH;
    while at < header_length {
        let length = match (segment[at], segment.get(at + 1)) {
            (0, _) => return None,
            (1, _) => 1,
            (_, Some(length)) if *length >= 2 => usize::from(*length),
            _ => return None,
        };
        if at + length > header_length {
            return None;
        }
        if segment[at] == 2 && length == 4 {
            return Some(at + 2..at + 4);
        }
        at += length;
    }
    None
}

/// The maximum segment size that a segment announces.
#[must_use]
pub fn mss(segment: &[u8]) -> Option<u16> {
    let value = segment.get(mss_at(segment)?)?;
    value.try_into().ok().map(u16::from_be_bytes)
}

/// Lowers the maximum segment size that a SYN announces to `limit`, and corrects the checksum,
/// which must be a whole one (not left to offload). Tells whether there was anything to do.
pub fn clamp_mss(segment: &mut [u8], limit: u16) -> bool {
    let Some(at) = mss_at(segment) else { return false };
    let (Some(announced), Ok(header)) = (mss(segment), Header::parse(segment)) else {
        return false;
    };
    if announced <= limit || !header.flags.has(Flags::SYN) {
        return false;
    }
    let sum = u16::from_be_bytes([segment[16], segment[17]]);
    let aligned = at.start % 2 == 0;
    segment[at].copy_from_slice(&limit.to_be_bytes());
    // Behind an odd number of octets the value's halves lie in two words: the sum then sees it
    // with its octets swapped.
    let swap = |value: u16| if aligned { value } else { value.swap_bytes() };
    let sum = checksum::update(sum, swap(announced), swap(limit));
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    true
}
