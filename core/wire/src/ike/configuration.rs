//! The Configuration payload (RFC 7296 section 3.15).

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
