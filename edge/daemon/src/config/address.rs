//! Addresses as the configuration writes them: prefixes, ranges, ports, traffic selectors.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use vipsec_ike::Selector;
use vipsec_wire::ike::TrafficSelector;

/// An IP prefix without host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix that holds `address` alone.
    #[must_use]
    pub fn host(address: IpAddr) -> Prefix {
        Prefix { address, length: width(address) }
    }

    /// The first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits are fixed: 0 to 32 or 128.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }

    /// The last address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        let host_bits = width(self.address) - self.length;
        address_of(bits(self.address) | low_bits(host_bits), self.address)
    }

    /// Whether `address` lies within.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && (self.address..=self.last()).contains(&address)
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Prefix) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// The fewest prefixes that together are exactly `first` to `last`, which must be of one family
    /// and in order.
    #[must_use]
    pub fn cover(first: IpAddr, last: IpAddr) -> Vec<Prefix> {
        let (mut from, to, width) = (bits(first), bits(last), width(first));
        let mut prefixes = Vec::new();
        while from <= to {
            let free = u8::try_from(from.trailing_zeros()).unwrap_or(width).min(width);
            let fits = |host_bits: &u8| from.saturating_add(low_bits(*host_bits)) <= to;
            let host_bits = (0..=free).rev().find(fits).unwrap_or(0);
            prefixes.push(Prefix { address: address_of(from, first), length: width - host_bits });
            match from.checked_add(low_bits(host_bits)).and_then(|last| last.checked_add(1)) {
                Some(next) => from = next,
                None => break,
            }
        }
        prefixes
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Prefix, String> {
        let wrong = || {
            format!(
                "{text:?} is no prefix; allowed is ADDRESS/LENGTH as in \"10.3.0.0/24\" or \"2001:db8::/64\""
            )
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length = match length {
            Some(length) => length.parse::<u8>().map_err(|_| wrong())?,
            None => width(address),
        };
        if length > width(address) {
            return Err(format!("{text:?}: length {length}; allowed is 0 to {}", width(address)));
        }
        let network = bits(address) & !low_bits(width(address) - length);
        let prefix = Prefix { address: address_of(network, address), length };
        if prefix.address != address {
            return Err(format!(
                "{text:?} has host bits; allowed is \"{prefix}\" or \"{address}\""
            ));
        }
        Ok(prefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// Addresses `first` to `last` of one family, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// The lowest address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        self.last
    }

    /// Whether `address` lies within.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && (self.first..=self.last).contains(&address)
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<AddressRange, String> {
        let wrong = |why: &str| {
            format!(
                "{text:?} is no address range{why}; allowed is \"10.77.0.10-10.77.0.250\" or a prefix"
            )
        };
        let Some((first, last)) = text.split_once('-') else {
            let prefix: Prefix = text.parse().map_err(|why| format!("{why}, or FIRST-LAST"))?;
            return Ok(usable(prefix));
        };
        let first: IpAddr = first.trim().parse().map_err(|_| wrong(""))?;
        let last: IpAddr = last.trim().parse().map_err(|_| wrong(""))?;
        if first.is_ipv4() != last.is_ipv4() {
            return Err(wrong(": IPv4 and IPv6 mixed"));
        }
        if first > last {
            return Err(wrong(": the last address is below the first"));
        }
        Ok(AddressRange { first, last })
    }
}

/// The addresses of a prefix that a host can have: in IPv4 without those of the network and of the
/// broadcast, in IPv6 without the subnet-router anycast address (RFC 4291 section 2.6.1).
fn usable(prefix: Prefix) -> AddressRange {
    let (first, last) = (prefix.address(), prefix.last());
    let host_bits = width(first) - prefix.length();
    if host_bits < 2 {
        return AddressRange { first, last };
    }
    let last = if first.is_ipv4() { address_of(bits(last) - 1, last) } else { last };
    AddressRange { first: address_of(bits(first) + 1, first), last }
}

/// Ports `first` to `last`, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange(pub RangeInclusive<u16>);

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<PortRange, String> {
        let wrong = || {
            format!(
                "{text:?} is no range of ports; allowed is FIRST-LAST within 1 to 65535, as in \"8000-8100\""
            )
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first: u16 = first.trim().parse().map_err(|_| wrong())?;
        let last: u16 = last.trim().parse().map_err(|_| wrong())?;
        if first == 0 || first > last { Err(wrong()) } else { Ok(PortRange(first..=last)) }
    }
}

/// One side of a Child SA: `dynamic`, `PREFIX`, `FIRST-LAST`, each of the last two with
/// `[PROTOCOL]` or `[PROTOCOL/PORT]` or `[PROTOCOL/FIRST-LAST]` behind.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn selector(text: &str) -> Result<Selector, String> {
    if text == "dynamic" {
        return Ok(Selector::Dynamic);
    }
    let (addresses, protocol) = match text.split_once('[') {
        Some((addresses, rest)) => (
            addresses,
            rest.strip_suffix(']').ok_or_else(|| {
                format!("{text:?}: a closing ] is missing; allowed is \"10.3.0.0/24[tcp/443]\"")
            })?,
        ),
        None => (text, ""),
    };
    let (first_address, last_address) = match addresses.parse::<Prefix>() {
        Ok(prefix) => (prefix.address(), prefix.last()),
        Err(why) if !addresses.contains('-') => return Err(format!("{why}, or \"dynamic\"")),
        Err(_) => {
            let range: AddressRange = addresses.parse()?;
            (range.first(), range.last())
        }
    };
    let (protocol, ports) = protocol_and_ports(protocol)?;
    let (first_port, last_port) = (*ports.start(), *ports.end());
    let selector = TrafficSelector { protocol, first_port, last_port, first_address, last_address };
    Ok(Selector::Fixed(selector))
}

fn protocol_and_ports(text: &str) -> Result<(u8, RangeInclusive<u16>), String> {
    let (protocol, ports) = text.split_once('/').unwrap_or((text, "any"));
    let number = match protocol {
        "" | "any" => 0,
        "tcp" => 6,
        "udp" => 17,
        "icmp" => 1,
        "icmpv6" => 58,
        other => other.parse().map_err(|_| {
            format!("protocol {other:?}; allowed is tcp, udp, icmp, icmpv6, any or a number to 255")
        })?,
    };
    let ports = if ports == "any" { 0..=u16::MAX } else { ports.parse::<PortRange>()?.0 };
    if ports != (0..=u16::MAX) && !matches!(number, 6 | 17 | 33 | 132) {
        return Err(format!("protocol {protocol:?} has no ports; allowed is to leave them out"));
    }
    Ok((number, ports))
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn low_bits(count: u8) -> u128 {
    1_u128.checked_shl(u32::from(count)).map_or(u128::MAX, |bit| bit - 1)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address with these bits, of the family of `like`.
fn address_of(bits: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into()),
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    }
}

#[cfg(test)]
#[path = "address/tests.rs"]
mod tests;
