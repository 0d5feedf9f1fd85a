//! One IP packet of either family, read once: the fields that everybody needs, and the addresses,
//! protocol and ports by which policy and connections are found.

use super::{checksum, ipv4, ipv6, protocol};
use crate::ParseError;
use core::net::IpAddr;

/// What part of a larger packet a fragment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Names the whole, together with addresses and protocol.
    pub identification: u32,
    /// Where its content belongs in the whole, in octets.
    pub offset: u16,
    /// Another fragment follows.
    pub more: bool,
}

/// Addresses, protocol and ports of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// From.
    pub source: IpAddr,
    /// To.
    pub destination: IpAddr,
    /// The protocol above IP, behind IPv6 extension headers.
    pub protocol: u8,
    /// Source and destination port; for ICMP, type and code as one number, twice (RFC 4301 section
    /// 4.4.1.1). `None` when the protocol has none, or the packet is a fragment but not the first.
    pub ports: Option<(u16, u16)>,
}

impl Tuple {
    /// The tuple of the opposite direction. ICMP messages have none that is meaningful: theirs
    /// keeps type and code.
    #[must_use]
    pub fn reversed(&self) -> Tuple {
        Tuple {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            ports: self.ports.map(|(source, destination)| (destination, source)),
        }
    }
}

/// A packet whose IP headers were read and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    /// Addresses, protocol, ports.
    pub tuple: Tuple,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// It must not be fragmented on its way: always so for IPv6.
    pub dont_fragment: bool,
    /// What part of a larger packet it is, if it is one.
    pub fragment: Option<Fragment>,
    /// Where the header of the transport begins, from the start of the packet; in a fragment that
    /// is not the first, its content.
    pub transport_at: usize,
}

impl<'a> Packet<'a> {
    /// Reads the packet at the start of `bytes`; what lies behind its own length is no part of it.
    ///
    /// # Errors
    /// Names what is wrong: also when the packet is not all there, or when it should have ports but
    /// ends before them.
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, ParseError> {
        Packet::read(bytes, true)
    }

    /// The packet that an ICMP error speaks of, as far as it is quoted; `None` when this packet is
    /// no ICMP error or the quotation cannot be read.
    #[must_use]
    pub fn quoted(&self) -> Option<Packet<'a>> {
        if !self.is_icmp_error() {
            return None;
        }
        Packet::read(self.transport().get(8..)?, false).ok()
    }

    /// Whether it is an ICMP message that reports an error (RFC 1122 section 3.2.2, RFC 4443
    /// section 2.1).
    #[must_use]
    pub fn is_icmp_error(&self) -> bool {
        let kind = self.tuple.ports.map(|(kind_and_code, _)| kind_and_code >> 8);
        match (self.tuple.protocol, kind) {
            (protocol::ICMP, Some(kind)) => matches!(kind, 3 | 4 | 5 | 11 | 12),
            (protocol::ICMPV6, Some(kind)) => kind < 128,
            _ => false,
        }
    }

    /// The packet's own octets.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The transport's header and content; in a fragment that is not the first, its content.
    #[must_use]
    pub fn transport(&self) -> &'a [u8] {
        self.bytes.get(self.transport_at..).unwrap_or_default()
    }

    /// Whether the packet is a part of another, but not the first.
    #[must_use]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }

    /// Reads a packet that is all there, or (quoted) whose end may be missing.
    fn read(bytes: &'a [u8], whole: bool) -> Result<Packet<'a>, ParseError> {
        match bytes.first().map(|octet| octet >> 4) {
            Some(4) => Packet::read_ipv4(bytes, whole),
            Some(6) => Packet::read_ipv6(bytes, whole),
            Some(_) => Err(ParseError::Value("IP version")),
            None => Err(ParseError::Truncated("IP packet")),
        }
    }

    fn read_ipv4(bytes: &'a [u8], whole: bool) -> Result<Packet<'a>, ParseError> {
        let header = ipv4::Header::parse(bytes)?;
        let bytes = cut(bytes, usize::from(header.total_length), whole)?;
        let fragment = header.is_fragment().then_some(Fragment {
            identification: u32::from(header.identification),
            offset: header.fragment_offset,
            more: header.more_fragments,
        });
        let packet = Packet {
            bytes,
            tuple: Tuple {
                source: header.source.into(),
                destination: header.destination.into(),
                protocol: header.protocol,
                ports: None,
            },
            traffic_class: header.traffic_class,
            hop_limit: header.ttl,
            dont_fragment: header.dont_fragment,
            fragment,
            transport_at: header.header_length,
        };
        packet.with_ports()
    }

    fn read_ipv6(bytes: &'a [u8], whole: bool) -> Result<Packet<'a>, ParseError> {
        let header = ipv6::Header::parse(bytes)?;
        let length = ipv6::HEADER_LENGTH + usize::from(header.payload_length);
        let bytes = cut(bytes, length, whole)?;
        let upper = ipv6::walk(&header, bytes)?;
        let fragment = upper.fragment.map(|(fragment, _)| Fragment {
            identification: fragment.identification,
            offset: fragment.offset,
            more: fragment.more,
        });
        let packet = Packet {
            bytes,
            tuple: Tuple {
                source: header.source.into(),
                destination: header.destination.into(),
                protocol: upper.protocol,
                ports: None,
            },
            traffic_class: header.traffic_class,
            hop_limit: header.hop_limit,
            dont_fragment: true,
            fragment,
            transport_at: upper.at,
        };
        packet.with_ports()
    }

    /// Checks the fragment's bounds and fills in the ports.
    fn with_ports(mut self) -> Result<Packet<'a>, ParseError> {
        if let Some(fragment) = self.fragment {
            let end = usize::from(fragment.offset) + self.transport().len();
            if end > usize::from(u16::MAX) {
                return Err(ParseError::Length("IP fragment"));
            }
        }
        if !self.is_later_fragment() {
            self.tuple.ports = ports(self.tuple.protocol, self.transport())?;
        }
        Ok(self)
    }
}

/// The packet without what lies behind it; an error when it must be all there and is not.
fn cut(bytes: &[u8], length: usize, whole: bool) -> Result<&[u8], ParseError> {
    match bytes.get(..length) {
        Some(packet) => Ok(packet),
        None if whole => Err(ParseError::Truncated("IP packet")),
        None => Ok(bytes),
    }
}

fn ports(protocol: u8, transport: &[u8]) -> Result<Option<(u16, u16)>, ParseError> {
    let pair = |what: &'static str| {
        let [a, b, c, d] = *transport.first_chunk::<4>().ok_or(ParseError::Truncated(what))?;
        Ok((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    };
    match protocol {
        protocol::TCP | protocol::UDP | protocol::DCCP | protocol::SCTP | protocol::UDP_LITE => {
            pair("ports").map(Some)
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let (kind_and_code, _) = pair("ICMP header")?;
            Ok(Some((kind_and_code, kind_and_code)))
        }
        _ => Ok(None),
    }
}

/// Puts another traffic class (DSCP and ECN) into the header at the start of a packet, and corrects
/// the IPv4 checksum. Does nothing to bytes that are no IP packet.
pub fn set_traffic_class(packet: &mut [u8], class: u8) {
    match packet.first().map(|octet| octet >> 4) {
        Some(4) if packet.len() >= ipv4::HEADER_LENGTH => {
            let old = u16::from_be_bytes([packet[0], packet[1]]);
            packet[1] = class;
            let new = u16::from_be_bytes([packet[0], packet[1]]);
            let sum = u16::from_be_bytes([packet[10], packet[11]]);
            let sum = checksum::update(sum, old, new);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Some(6) if packet.len() >= ipv6::HEADER_LENGTH => {
            packet[0] = 0x60 | class >> 4;
            packet[1] = class << 4 | packet[1] & 0x0f;
        }
        _ => {}
    }
}
