//! The Ethernet header (IEEE 802.3), without tags.

use crate::ParseError;
use crate::reader::Reader;
use core::fmt;
use core::net::Ipv6Addr;

/// Octets of the header.
pub const HEADER_LENGTH: usize = 14;

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody on the link.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// The group address of an IPv6 multicast address (RFC 2464 section 7).
    #[must_use]
    pub fn of_multicast(address: Ipv6Addr) -> Mac {
        let [.., a, b, c, d] = address.octets();
        Mac([0x33, 0x33, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EtherType(pub u16);

#[allow(missing_docs)]
impl EtherType {
    pub const IPV4: EtherType = EtherType(0x0800);
    pub const ARP: EtherType = EtherType(0x0806);
    pub const IPV6: EtherType = EtherType(0x86dd);
}

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// To.
    pub destination: Mac,
    /// From.
    pub source: Mac,
    /// What follows.
    pub kind: EtherType,
}

impl Header {
    /// Reads a frame's header; also gives its content.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn parse(frame: &[u8]) -> Result<(Header, &[u8]), ParseError> {
        let mut reader = Reader::new("Ethernet header", frame);
        let destination = Mac(reader.array()?);
        let source = Mac(reader.array()?);
        let kind = EtherType(reader.u16()?);
        Ok((Header { destination, source, kind }, reader.rest()))
    }

    /// Writes a whole frame.
    #[must_use]
    pub fn emit(&self, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LENGTH + content.len());
        out.extend_from_slice(&self.destination.0);
        out.extend_from_slice(&self.source.0);
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.extend_from_slice(content);
        out
    }
}
