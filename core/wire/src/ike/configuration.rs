//! The Configuration payload (RFC 7296 section 3.15).

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
    /// Any other, as it is.
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
        }
    }

    /// The type of a number; `None` when there is none.
    #[must_use]
    pub fn from_number(number: u8) -> Option<ConfigurationType> {
        Some(match number {
            1 => ConfigurationType::Request,
            2 => ConfigurationType::Reply,
            3 => ConfigurationType::Set,
            4 => ConfigurationType::Ack,
            _ => return None,
        })
    }
}

/// A value of exactly `N` octets, or an empty one.
fn value<const N: usize>(bytes: &[u8]) -> Result<Option<[u8; N]>, ParseError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    bytes.try_into().map(Some).map_err(|_| ParseError::Length(WHAT))
}

fn ipv4(bytes: &[u8]) -> Result<Option<Ipv4Addr>, ParseError> {
    Ok(value::<4>(bytes)?.map(Ipv4Addr::from))
}

fn ipv6_prefix(bytes: &[u8]) -> Result<Option<(Ipv6Addr, u8)>, ParseError> {
    let Some([address @ .., length]) = value::<17>(bytes)? else {
        return Ok(None);
    };
    let address: [u8; 16] = address;
    if length > 128 {
        return Err(ParseError::Value(WHAT));
    }
    Ok(Some((Ipv6Addr::from(address), length)))
}

fn ipv4_subnet(bytes: &[u8]) -> Result<Option<(Ipv4Addr, Ipv4Addr)>, ParseError> {
    let pair = value::<8>(bytes)?;
    Ok(pair.map(|[a, b, c, d, e, f, g, h]| (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h))))
}

impl Attribute {
    fn parse(kind: u16, bytes: &[u8]) -> Result<Attribute, ParseError> {
        Ok(match kind {
            1 => Attribute::InternalIp4Address(ipv4(bytes)?),
            2 => Attribute::InternalIp4Netmask(ipv4(bytes)?),
            3 => Attribute::InternalIp4Dns(ipv4(bytes)?),
            7 => Attribute::ApplicationVersion(bytes.to_vec()),
            8 => Attribute::InternalIp6Address(ipv6_prefix(bytes)?),
            10 => Attribute::InternalIp6Dns(value::<16>(bytes)?.map(Ipv6Addr::from)),
            13 => Attribute::InternalIp4Subnet(ipv4_subnet(bytes)?),
            15 => Attribute::InternalIp6Subnet(ipv6_prefix(bytes)?),
            other => Attribute::Other(other, bytes.to_vec()),
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
            Attribute::Other(kind, value) => (*kind, value.clone()),
        }
    }
}

impl Configuration {
    /// Reads the payload's body, behind the generic header.
    pub(super) fn parse_body(body: &[u8]) -> Result<Configuration, ParseError> {
        let mut reader = Reader::new(WHAT, body);
        let kind = ConfigurationType::from_number(reader.u8()?).ok_or(ParseError::Value(WHAT))?;
        reader.take(3)?;
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(ParseError::Value(WHAT));
            }
            let attribute = reader.u16()? & 0x7fff;
            let length = usize::from(reader.u16()?);
            attributes.push(Attribute::parse(attribute, reader.take(length)?)?);
        }
        Ok(Configuration { kind, attributes })
    }

    /// Writes the payload's body.
    pub(super) fn emit_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind.number(), 0, 0, 0]);
        for attribute in &self.attributes {
            let (kind, value) = attribute.encode();
            out.extend_from_slice(&(kind & 0x7fff).to_be_bytes());
            out.extend_from_slice(&length16(value.len()).to_be_bytes());
            out.extend_from_slice(&value);
        }
    }
}
