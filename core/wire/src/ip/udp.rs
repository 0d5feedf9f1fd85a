//! The UDP header (RFC 768).

use super::checksum::Sum;
use super::protocol;
use crate::ParseError;
use crate::reader::Reader;
use core::net::IpAddr;

/// Octets of the header.
pub const HEADER_LENGTH: usize = 8;

const WHAT: &str = "UDP header";

/// The fields of the header, without the checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// From.
    pub source_port: u16,
    /// To.
    pub destination_port: u16,
    /// Octets of header and content.
    pub length: u16,
}

impl Header {
    /// Reads a datagram's header; also gives its content.
    ///
    /// # Errors
    /// `Truncated`, or `Length` when the length field is shorter than the header or longer than
    /// the datagram.
    pub fn parse(datagram: &[u8]) -> Result<(Header, &[u8]), ParseError> {
        let mut reader = Reader::new(WHAT, datagram);
        let (source_port, destination_port) = (reader.u16()?, reader.u16()?);
        let length = reader.u16()?;
        reader.u16()?;
        let content =
            datagram.get(HEADER_LENGTH..usize::from(length)).ok_or(ParseError::Length(WHAT))?;
        Ok((Header { source_port, destination_port, length }, content))
    }
}

/// Writes a whole datagram with its checksum. A content longer than 65,527 octets does not fit; its
/// length is cut there.
#[must_use]
pub fn emit(source: (IpAddr, u16), destination: (IpAddr, u16), content: &[u8]) -> Vec<u8> {
    let length = HEADER_LENGTH + content.len();
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&source.1.to_be_bytes());
    out.extend_from_slice(&destination.1.to_be_bytes());
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(content);
    let mut sum = Sum::pseudo_header(source.0, destination.0, protocol::UDP, length);
    sum.add(&out);
    // Zero would mean that there is no checksum.
    let checksum = match sum.finish() {
        0 => u16::MAX,
        other => other,
    };
    out[6..8].copy_from_slice(&checksum.to_be_bytes());
    out
}

/// Whether the checksum of a whole datagram is right. Over IPv4 there may be none.
#[must_use]
pub fn is_checksum_valid(source: IpAddr, destination: IpAddr, datagram: &[u8]) -> bool {
    if datagram.get(6..8) == Some(&[0, 0]) {
        return source.is_ipv4();
    }
    let mut sum = Sum::pseudo_header(source, destination, protocol::UDP, datagram.len());
    sum.add(datagram);
    sum.is_valid()
}
