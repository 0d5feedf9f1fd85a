//! The Traffic Selector payloads (RFC 7296 section 3.13).

use super::{Side, length8};
use crate::ParseError;
use crate::reader::Reader;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use serde::{Deserialize, Serialize};

/// One selector: a range of addresses, a protocol, a range of ports. Both addresses are of one
/// family and `first_address <= last_address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrafficSelector {
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// First port (for ICMP: type and code); 0 with 65535 as the last means any, 65535 with 0 means
    /// OPAQUE.
    pub first_port: u16,
    /// Last port.
    pub last_port: u16,
    /// First address.
    pub first_address: IpAddr,
    /// Last address.
    pub last_address: IpAddr,
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficSelectors {
    /// TSi or TSr.
    pub side: Side,
    /// At most 255. Those of an unknown type are left out when read, so that there may be none.
    pub selectors: Vec<TrafficSelector>,
}

const WHAT: &str = "Traffic Selector payload";

/// TS_IPV4_ADDR_RANGE with the octets of such a selector.
const IPV4_RANGE: (u8, u16) = (7, 16);
/// TS_IPV6_ADDR_RANGE with the octets of such a selector.
const IPV6_RANGE: (u8, u16) = (8, 40);

/// An address as a number, so that both families share the arithmetic on ranges.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Number of bits of an address of this family.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address of a number, in the family of `like`; of an IPv4 address only 32 bits count.
fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

/// The lowest `bits` bits set.
fn low_mask(bits: u8) -> u128 {
    1u128.checked_shl(u32::from(bits)).map_or(u128::MAX, |power| power - 1)
}

impl TrafficSelector {
    /// All IPv4 traffic.
    #[must_use]
    pub fn any_v4() -> TrafficSelector {
        TrafficSelector::from_range(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into())
    }

    /// All IPv6 traffic.
    #[must_use]
    pub fn any_v6() -> TrafficSelector {
        let last = Ipv6Addr::from_bits(u128::MAX);
        TrafficSelector::from_range(Ipv6Addr::UNSPECIFIED.into(), last.into())
    }

    /// All traffic of one address.
    #[must_use]
    pub fn host(address: IpAddr) -> TrafficSelector {
        TrafficSelector::from_range(address, address)
    }

    /// All traffic of a prefix; host bits of `network` are ignored. `None` when the length is more
    /// than the family has.
    #[must_use]
    pub fn from_prefix(network: IpAddr, length: u8) -> Option<TrafficSelector> {
        let host = low_mask(width(network).checked_sub(length)?);
        let first = number(network) & !host;
        Some(TrafficSelector::from_range(address(first, network), address(first | host, network)))
    }

    /// All traffic of a range. The caller has seen to it that both are of one family and in order.
    //= RFC 7296 section 3.13.1 #1: any port begins at 0
    //= RFC 7296 section 3.13.1 #2: and ends at 65535
    fn from_range(first: IpAddr, last: IpAddr) -> TrafficSelector {
        TrafficSelector {
            protocol: 0,
            first_port: 0,
            last_port: u16::MAX,
            first_address: first,
            last_address: last,
        }
    }

    /// All traffic between two addresses, both included. `None` when they are not of one family or
    /// not in order.
    #[must_use]
    pub fn range(first: IpAddr, last: IpAddr) -> Option<TrafficSelector> {
        let fits = first.is_ipv4() == last.is_ipv4() && first <= last;
        fits.then(|| TrafficSelector::from_range(first, last))
    }

    /// Whether the addresses are of IPv4.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.first_address.is_ipv4()
    }

    /// Whether every port matches, and packets without ports too.
    #[must_use]
    pub fn is_any_port(&self) -> bool {
        (self.first_port, self.last_port) == (0, u16::MAX)
    }

    /// Whether only packets match whose ports cannot be seen (RFC 4301 section 4.4.1.1).
    #[must_use]
    //= RFC 7296 section 3.13.1 #3: OPAQUE is 65535 to 0
    pub fn is_opaque_port(&self) -> bool {
        (self.first_port, self.last_port) == (u16::MAX, 0)
    }

    /// Whether an address is in the range.
    #[must_use]
    pub fn contains_address(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4()
            && (self.first_address..=self.last_address).contains(&address)
    }

    /// Whether a packet's side matches. `port` is `None` when the packet has no port that could be
    /// seen (another protocol, or a fragment that is not the first); for ICMP it is type and code
    /// as one number.
    #[must_use]
    pub fn contains(&self, address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        let port_fits = match port {
            Some(port) => (self.first_port..=self.last_port).contains(&port),
            None => self.is_any_port() || self.is_opaque_port(),
        };
        (self.protocol == 0 || self.protocol == protocol)
            && port_fits
            && self.contains_address(address)
    }

    /// What both match; `None` when that is nothing.
    #[must_use]
    pub fn intersect(&self, other: &TrafficSelector) -> Option<TrafficSelector> {
        if self.is_ipv4() != other.is_ipv4() {
            return None;
        }
        let protocol = match (self.protocol, other.protocol) {
            (0, protocol) | (protocol, 0) => protocol,
            (ours, theirs) if ours == theirs => ours,
            _ => return None,
        };
        let (first_port, last_port) = self.intersect_ports(other)?;
        let first_address = self.first_address.max(other.first_address);
        let last_address = self.last_address.min(other.last_address);
        (first_address <= last_address).then_some(TrafficSelector {
            protocol,
            first_port,
            last_port,
            first_address,
            last_address,
        })
    }

    fn intersect_ports(&self, other: &TrafficSelector) -> Option<(u16, u16)> {
        if self.is_any_port() {
            return Some((other.first_port, other.last_port));
        }
        if other.is_any_port() {
            return Some((self.first_port, self.last_port));
        }
        if self.is_opaque_port() || other.is_opaque_port() {
            let both = self.is_opaque_port() && other.is_opaque_port();
            return both.then_some((u16::MAX, 0));
        }
        let first = self.first_port.max(other.first_port);
        let last = self.last_port.min(other.last_port);
        (first <= last).then_some((first, last))
    }

    /// Whether `other` matches everything that this selector matches.
    #[must_use]
    pub fn is_subset_of(&self, other: &TrafficSelector) -> bool {
        self.intersect(other).as_ref() == Some(self)
    }

    /// The fewest prefixes (address and length) that together are the address range: at most 62
    /// for IPv4, 254 for IPv6. For routes.
    #[must_use]
    pub fn prefixes(&self) -> Vec<(IpAddr, u8)> {
        let width = width(self.first_address);
        let last = number(self.last_address);
        let mut next = number(self.first_address);
        let mut prefixes = Vec::new();
        loop {
            let mut host_bits = 0;
            while host_bits < width {
                let mask = low_mask(host_bits + 1);
                if next & mask != 0 || next | mask > last {
                    break;
                }
                host_bits += 1;
            }
            prefixes.push((address(next, self.first_address), width - host_bits));
            let end = next | low_mask(host_bits);
            if end >= last {
                return prefixes;
            }
            next = end + 1;
        }
    }

    /// Reads one selector; `None` for one of an unknown type.
    fn parse(reader: &mut Reader<'_>) -> Result<Option<TrafficSelector>, ParseError> {
        let kind = reader.u8()?;
        let protocol = reader.u8()?;
        let length = reader.u16()?;
        let body_length = usize::from(length).checked_sub(4).ok_or(ParseError::Length(WHAT))?;
        let mut body = Reader::new(WHAT, reader.take(body_length)?);
        if kind != IPV4_RANGE.0 && kind != IPV6_RANGE.0 {
            return Ok(None);
        }
        let (first_port, last_port) = (body.u16()?, body.u16()?);
        let (first, last) = if kind == IPV4_RANGE.0 {
            (IpAddr::from(body.array::<4>()?), IpAddr::from(body.array::<4>()?))
        } else {
            (IpAddr::from(body.array::<16>()?), IpAddr::from(body.array::<16>()?))
        };
        body.finish()?;
        let opaque = (first_port, last_port) == (u16::MAX, 0);
        if first > last || (first_port > last_port && !opaque) {
            return Err(ParseError::Value(WHAT));
        }
        let range = TrafficSelector::from_range(first, last);
        Ok(Some(TrafficSelector { protocol, first_port, last_port, ..range }))
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let (kind, length) = if self.is_ipv4() { IPV4_RANGE } else { IPV6_RANGE };
        out.extend_from_slice(&[kind, self.protocol]);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.first_port.to_be_bytes());
        out.extend_from_slice(&self.last_port.to_be_bytes());
        for address in [self.first_address, self.last_address] {
            match address {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
            }
        }
    }
}

/// `10.0.0.0/8`, `10.0.0.1-10.0.0.9`, with the protocol and ports behind it unless any:
/// `10.0.0.1/32[tcp/80]`, `[udp/1000-2000]`, `[47]`, `[tcp/opaque]`.
impl fmt::Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefixes().as_slice() {
            [(network, length)] => write!(f, "{network}/{length}")?,
            _ => write!(f, "{}-{}", self.first_address, self.last_address)?,
        }
        if self.protocol == 0 && self.is_any_port() {
            return Ok(());
        }
        match self.protocol {
            0 => f.write_str("[any")?,
            1 => f.write_str("[icmp")?,
            6 => f.write_str("[tcp")?,
            17 => f.write_str("[udp")?,
            58 => f.write_str("[ipv6-icmp")?,
            other => write!(f, "[{other}")?,
        }
        match (self.first_port, self.last_port) {
            (0, u16::MAX) => f.write_str("]"),
            (u16::MAX, 0) => f.write_str("/opaque]"),
            (first, last) if first == last => write!(f, "/{first}]"),
            (first, last) => write!(f, "/{first}-{last}]"),
        }
    }
}

impl TrafficSelectors {
    /// Reads the payload's body, behind the generic header.
    pub(super) fn parse_body(side: Side, body: &[u8]) -> Result<TrafficSelectors, ParseError> {
        let mut reader = Reader::new(WHAT, body);
        //= RFC 7296 section 3.13 #1: reserved octets are not looked at
        let count = reader.u8()?;
        reader.take(3)?;
        let mut selectors = Vec::new();
        for _ in 0..count {
            selectors.extend(TrafficSelector::parse(&mut reader)?);
        }
        reader.finish()?;
        Ok(TrafficSelectors { side, selectors })
    }

    /// Writes the payload's body.
    pub(super) fn emit_body(&self, out: &mut Vec<u8>) {
        //= RFC 7296 section 3.13 #1: reserved octets are zero
        out.extend_from_slice(&[length8(self.selectors.len()), 0, 0, 0]);
        for selector in &self.selectors {
            selector.emit(out);
        }
    }
}
