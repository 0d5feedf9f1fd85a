//! The Configuration payload (RFC 7296 section 3.15), with the attribute for split DNS of RFC 8598.

use super::length16;
use crate::ParseError;
use crate::reader::Reader;
use core::net::{Ipv4Addr, Ipv6Addr};

/// CFG types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConfigurationType {
    /// 1
    Request,
    /// 2
    Reply,
    /// 3
    Set,
    /// 4
    Ack,
    /// Any other: nothing is to be done about it.
    Other(u8),
}

/// One attribute; an address that is empty in a request is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// INTERNAL_IP4_ADDRESS, 1
    InternalIp4Address(Option<Ipv4Addr>),
    /// INTERNAL_IP4_NETMASK, 2
    InternalIp4Netmask(Option<Ipv4Addr>),
    /// INTERNAL_IP4_DNS, 3
    InternalIp4Dns(Option<Ipv4Addr>),
    /// INTERNAL_IP6_ADDRESS, 8, with its prefix length
    InternalIp6Address(Option<(Ipv6Addr, u8)>),
    /// INTERNAL_IP6_DNS, 10
    InternalIp6Dns(Option<Ipv6Addr>),
    /// INTERNAL_IP4_SUBNET, 13
    InternalIp4Subnet(Option<(Ipv4Addr, Ipv4Addr)>),
    /// INTERNAL_IP6_SUBNET, 15
    InternalIp6Subnet(Option<(Ipv6Addr, u8)>),
    /// APPLICATION_VERSION, 7
    ApplicationVersion(Vec<u8>),
    /// INTERNAL_DNS_DOMAIN, 25 (RFC 8598 section 3.1): a name in presentation format, A-labels
    InternalDnsDomain(Option<String>),
    /// Any other, or one of a length that it cannot have, as it is.
    Other(u16, Vec<u8>),
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// What is asked or answered.
    pub kind: ConfigurationType,
    /// In their order.
    pub attributes: Vec<Attribute>,
}

/// Most attributes that a payload may have.
pub const MAX_ATTRIBUTES: usize = 128;

/// Longest domain name in octets (RFC 1035 section 2.3.4), with a dot at its end.
pub const DOMAIN_OCTETS_MAX: usize = 254;

const WHAT: &str = "Configuration payload";

impl ConfigurationType {
    /// The number of the type.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            ConfigurationType::Request => 1,
            ConfigurationType::Reply => 2,
            ConfigurationType::Set => 3,
            ConfigurationType::Ack => 4,
            ConfigurationType::Other(number) => number,
        }
    }

    /// The type of a number.
    #[must_use]
    pub fn from_number(number: u8) -> ConfigurationType {
        match number {
            1 => ConfigurationType::Request,
            2 => ConfigurationType::Reply,
            3 => ConfigurationType::Set,
            4 => ConfigurationType::Ack,
            other => ConfigurationType::Other(other),
        }
    }
}

/// A value of exactly `N` octets, or an empty one; `None` for any other.
fn value<const N: usize>(bytes: &[u8]) -> Option<Option<[u8; N]>> {
    if bytes.is_empty() {
        return Some(None);
    }
    bytes.try_into().map(Some).ok()
}

fn ipv4(bytes: &[u8]) -> Option<Option<Ipv4Addr>> {
    Some(value::<4>(bytes)?.map(Ipv4Addr::from))
}

fn ipv6_prefix(bytes: &[u8]) -> Option<Option<(Ipv6Addr, u8)>> {
    let Some([address @ .., length]) = value::<17>(bytes)? else {
        return Some(None);
    };
    let address: [u8; 16] = address;
    (length <= 128).then_some(Some((Ipv6Addr::from(address), length)))
}

fn ipv4_subnet(bytes: &[u8]) -> Option<Option<(Ipv4Addr, Ipv4Addr)>> {
    let pair = value::<8>(bytes)?;
    Some(
        pair.map(|[a, b, c, d, e, f, g, h]| (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h))),
    )
}

/// A domain name as RFC 8598 section 3.1 wants it, be it empty; `None` for anything else.
fn domain(bytes: &[u8]) -> Option<Option<String>> {
    let text = core::str::from_utf8(bytes).ok()?;
    (text.is_empty() || is_domain(text)).then(|| Some(text.to_owned()).filter(|t| !t.is_empty()))
}

/// Whether a text is a domain name in presentation format: labels of 1 to 63 letters, digits,
/// hyphens and underscores, at most [`DOMAIN_OCTETS_MAX`] octets in all.
#[must_use]
pub fn is_domain(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    text.len() <= DOMAIN_OCTETS_MAX && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

impl Attribute {
    /// What makes no sense is ignored like an attribute that is not known (RFC 7296 section 3.15.1).
    fn parse(kind: u16, bytes: &[u8]) -> Attribute {
        let known = Attribute::parse_known(kind, bytes);
        known.unwrap_or_else(|| Attribute::Other(kind, bytes.to_vec()))
    }

    fn parse_known(kind: u16, bytes: &[u8]) -> Option<Attribute> {
        Some(match kind {
            1 => Attribute::InternalIp4Address(ipv4(bytes)?),
            2 => Attribute::InternalIp4Netmask(ipv4(bytes)?),
            3 => Attribute::InternalIp4Dns(ipv4(bytes)?),
            7 => Attribute::ApplicationVersion(bytes.to_vec()),
            8 => Attribute::InternalIp6Address(ipv6_prefix(bytes)?),
            10 => Attribute::InternalIp6Dns(value::<16>(bytes)?.map(Ipv6Addr::from)),
            13 => Attribute::InternalIp4Subnet(ipv4_subnet(bytes)?),
            15 => Attribute::InternalIp6Subnet(ipv6_prefix(bytes)?),
            25 => Attribute::InternalDnsDomain(domain(bytes)?),
            //= RFC 7296 section 1.7 #1: 5 is none that we know
            _ => return None,
        })
    }

    /// The attribute's type number and value.
    fn encode(&self) -> (u16, Vec<u8>) {
        let v4 = |address: &Option<Ipv4Addr>| {
            address.map_or_else(Vec::new, |address| address.octets().to_vec())
        };
        let v6 = |prefix: &Option<(Ipv6Addr, u8)>| {
            prefix.map_or_else(Vec::new, |(address, length)| {
                [&address.octets()[..], &[length]].concat()
            })
        };
        match self {
            Attribute::InternalIp4Address(address) => (1, v4(address)),
            Attribute::InternalIp4Netmask(mask) => (2, v4(mask)),
            Attribute::InternalIp4Dns(address) => (3, v4(address)),
            Attribute::ApplicationVersion(text) => (7, text.clone()),
            Attribute::InternalIp6Address(prefix) => (8, v6(prefix)),
            Attribute::InternalIp6Dns(address) => {
                (10, address.map_or_else(Vec::new, |address| address.octets().to_vec()))
            }
            Attribute::InternalIp4Subnet(subnet) => {
                let octets = |(network, mask): (Ipv4Addr, Ipv4Addr)| {
                    [network.octets(), mask.octets()].concat()
                };
                (13, subnet.map_or_else(Vec::new, octets))
            }
            Attribute::InternalIp6Subnet(prefix) => (15, v6(prefix)),
            Attribute::InternalDnsDomain(name) => {
                (25, name.as_ref().map_or_else(Vec::new, |name| name.as_bytes().to_vec()))
            }
            Attribute::Other(kind, value) => (*kind, value.clone()),
        }
    }
}

impl Configuration {
    /// Reads the payload's body, behind the generic header.
    pub(super) fn parse_body(body: &[u8]) -> Result<Configuration, ParseError> {
        let mut reader = Reader::new(WHAT, body);
        //= RFC 7296 section 3.15 #1: reserved octets are not looked at
        let kind = ConfigurationType::from_number(reader.u8()?);
        reader.take(3)?;
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(ParseError::Value(WHAT));
            }
            //= RFC 7296 section 3.15.1 #1: the reserved bit is not looked at
            let attribute = reader.u16()? & 0x7fff;
            let length = usize::from(reader.u16()?);
            attributes.push(Attribute::parse(attribute, reader.take(length)?));
        }
        Ok(Configuration { kind, attributes })
    }

    /// Writes the payload's body.
    pub(super) fn emit_body(&self, out: &mut Vec<u8>) {
        //= RFC 7296 section 3.15 #1: reserved octets are zero
        out.extend_from_slice(&[self.kind.number(), 0, 0, 0]);
        for attribute in &self.attributes {
            let (kind, value) = attribute.encode();
            //= RFC 7296 section 3.15.1 #1: the reserved bit is zero
            out.extend_from_slice(&(kind & 0x7fff).to_be_bytes());
            out.extend_from_slice(&length16(value.len()).to_be_bytes());
            out.extend_from_slice(&value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Configuration {
        Configuration::parse_body(body).expect("the payload is sound")
    }

    //= RFC 7296 section 3.15 #4: what is not known is passed over
    //= RFC 7296 section 3.15 #5: without an error
    #[test]
    fn an_attribute_of_a_wrong_length_is_none_that_we_know() {
        let v6 = [0xfd; 16];
        let with_v6 = [&[1, 0, 0, 0, 0, 8, 0, 16][..], &v6, &[0, 1, 0, 0]].concat();
        let address = Attribute::InternalIp4Address(None);
        let other = Attribute::Other(8, v6.to_vec());
        assert_eq!(read(&with_v6).attributes, vec![other, address.clone()]);
        let long_prefix = [&[1, 0, 0, 0, 0, 8, 0, 17][..], &v6, &[129]].concat();
        assert!(matches!(read(&long_prefix).attributes[..], [Attribute::Other(8, _)]));
        for kind in [1, 2, 3, 10, 13, 15] {
            let body = [1, 0, 0, 0, 0, kind, 0, 3, 1, 2, 3, 0, 1, 0, 0];
            let other = Attribute::Other(u16::from(kind), vec![1, 2, 3]);
            let expected = Configuration {
                kind: ConfigurationType::Request,
                attributes: vec![other, address.clone()],
            };
            assert_eq!(read(&body), expected);
            let mut written = Vec::new();
            expected.emit_body(&mut written);
            assert_eq!(written, body);
        }
        // What does not fit into the payload is wrong with the payload.
        assert!(Configuration::parse_body(&[1, 0, 0, 0, 0, 1, 0, 4, 1]).is_err());
    }

    #[test]
    fn what_is_no_domain_name_is_none_that_we_know() {
        let body = |name: &[u8]| {
            let length = u8::try_from(name.len()).unwrap();
            [&[2, 0, 0, 0, 0, 25, 0, length][..], name].concat()
        };
        let only = |name: &[u8]| read(&body(name)).attributes.remove(0);
        let known = |name: &str| Attribute::InternalDnsDomain(Some(name.to_owned()));
        assert_eq!(only(b"corp.example.com"), known("corp.example.com"));
        assert_eq!(only(b"example.com."), known("example.com."));
        assert_eq!(only(b""), Attribute::InternalDnsDomain(None));
        let long = [b'a'; 64];
        for bad in [&b"a..b"[..], b".", b"a\0", b"a b", b"\xff\xfe", b"x;y", &long] {
            assert_eq!(only(bad), Attribute::Other(25, bad.to_vec()));
        }
        let mut written = Vec::new();
        read(&body(b"a.example")).emit_body(&mut written);
        assert_eq!(written, body(b"a.example"));
    }

    #[test]
    fn a_payload_of_an_unknown_type_is_passed_over() {
        assert_eq!(read(&[77, 0, 0, 0]).kind.number(), 77);
    }
}
