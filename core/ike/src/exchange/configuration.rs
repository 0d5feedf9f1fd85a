//! The Configuration payload (RFC 7296 sections 2.19 and 3.15), both roles: addresses and name
//! servers. Subnets and split DNS will be added here.

use crate::config::{AddressRequest, Connection};
use crate::context::Context;
use core::net::IpAddr;
use vipsec_wire::ike::{Attribute, Configuration, ConfigurationType, Identity, NotifyType};

/// What a peer gets.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) reply: Option<Configuration>,
}

/// The address family that an attribute asks for, and the address if it names one.
fn wish(attribute: &Attribute) -> Option<(bool, Option<IpAddr>)> {
    match attribute {
        Attribute::InternalIp4Address(address) => {
            let named = address.filter(|address| !address.is_unspecified());
            Some((true, named.map(IpAddr::V4)))
        }
        Attribute::InternalIp6Address(address) => {
            let named = address.map(|(address, _)| address);
            Some((false, named.filter(|a| !a.is_unspecified()).map(IpAddr::V6)))
        }
        _ => None,
    }
}

/// Answers a peer's request: one address of each family that it asks for and that there is a pool
/// of. The error is one that refuses the Child SA, not the IKE SA (RFC 7296 section 3.15.4).
pub(crate) fn grant(
    cx: &Context<'_>,
    connection: &Connection,
    identity: &Identity,
    asked: Option<&Configuration>,
) -> Result<Granted, NotifyType> {
    let request = asked.filter(|request| request.kind == ConfigurationType::Request);
    let Some(request) = request else {
        let demanded = !connection.pools.is_empty();
        let error = Err(NotifyType::FAILED_CP_REQUIRED);
        return if demanded { error } else { Ok(Granted::default()) };
    };
    let mut granted = Granted::default();
    for ipv4 in [true, false] {
        let mut wishes = request.attributes.iter().filter_map(wish);
        let Some((_, named)) = wishes.find(|(family, _)| *family == ipv4) else {
            continue;
        };
        let chosen = cx.tables.leases.choose(&connection.pools, identity, ipv4, named);
        granted.addresses.extend(chosen);
    }
    let wanted = request.attributes.iter().any(|attribute| wish(attribute).is_some());
    if wanted && granted.addresses.is_empty() {
        return Err(NotifyType::INTERNAL_ADDRESS_FAILURE);
    }
    let attributes = reply_attributes(&granted.addresses, &connection.dns);
    if !attributes.is_empty() {
        granted.reply = Some(Configuration { kind: ConfigurationType::Reply, attributes });
    }
    Ok(granted)
}

fn reply_attributes(addresses: &[IpAddr], dns: &[IpAddr]) -> Vec<Attribute> {
    let address = |address: &IpAddr| match address {
        IpAddr::V4(v4) => Attribute::InternalIp4Address(Some(*v4)),
        IpAddr::V6(v6) => Attribute::InternalIp6Address(Some((*v6, 128))),
    };
    let server = |address: &IpAddr| match address {
        IpAddr::V4(v4) => Attribute::InternalIp4Dns(Some(*v4)),
        IpAddr::V6(v6) => Attribute::InternalIp6Dns(Some(*v6)),
    };
    addresses.iter().map(address).chain(dns.iter().map(server)).collect()
}

/// Our own request for addresses; `None` when we want none.
pub(crate) fn request(connection: &Connection) -> Option<Configuration> {
    let attributes: Vec<_> = connection
        .request_addresses
        .iter()
        .map(|request| match request {
            AddressRequest::Ipv4 => Attribute::InternalIp4Address(None),
            AddressRequest::Ipv6 => Attribute::InternalIp6Address(None),
            AddressRequest::This(IpAddr::V4(v4)) => Attribute::InternalIp4Address(Some(*v4)),
            AddressRequest::This(IpAddr::V6(v6)) => Attribute::InternalIp6Address(Some((*v6, 128))),
        })
        .collect();
    let kind = ConfigurationType::Request;
    (!attributes.is_empty()).then_some(Configuration { kind, attributes })
}

/// The addresses that a peer has assigned to us.
pub(crate) fn obtained(reply: Option<&Configuration>) -> Vec<IpAddr> {
    let reply = reply.filter(|reply| reply.kind == ConfigurationType::Reply);
    let attributes = reply.map_or(&[][..], |reply| reply.attributes.as_slice());
    attributes.iter().filter_map(wish).filter_map(|(_, address)| address).collect()
}
