//! The Configuration payload (RFC 7296 sections 2.19, 2.20 and 3.15), both roles: addresses, name
//! servers, split DNS (RFC 8598), subnets, and the software's version.
//!
//! Attributes that are not known, or make no sense, are passed over one by one (section 3.15.1).

use crate::config::{AddressRequest, Connection, Duplicates};
use crate::context::Context;
use crate::lease::Asker;
use core::net::{IpAddr, Ipv4Addr};
use vipsec_wire::ike::{Attribute, Configuration, ConfigurationType, Identity, NotifyType};
use vipsec_wire::record::v1::{Lease, Told};

/// Octets of a peer's version that are kept.
const VERSION_MAX: usize = 128;

/// What a peer gets.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    /// To be written with its IKE SA.
    pub(crate) leases: Vec<Lease>,
    pub(crate) reply: Option<Configuration>,
}

impl Granted {
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.leases.iter().map(|lease| lease.address).collect()
    }
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
    cx: &mut Context<'_>,
    connection: &Connection,
    identity: &Identity,
    asked: Option<&Configuration>,
) -> Result<Granted, NotifyType> {
    //= RFC 7296 section 2.19 #5: a reply only to a request
    //= RFC 7296 section 3.15 #8: a CFG_SET is not acknowledged
    //= RFC 7296 section 3.15 #9: for nothing of it is accepted
    let request = asked.filter(|request| request.kind == ConfigurationType::Request);
    let Some(request) = request else {
        let demanded = !connection.pools.is_empty();
        //= RFC 7296 section 2.19 #6: where an address is demanded, and not asked for
        let error = Err(NotifyType::FAILED_CP_REQUIRED);
        return if demanded { error } else { Ok(Granted::default()) };
    };
    //= RFC 7296 section 3.15 #5: attributes that are not known do no harm
    let mut granted = Granted::default();
    for ipv4 in [true, false] {
        let mut wishes = request.attributes.iter().filter_map(wish);
        let Some((_, wish)) = wishes.find(|(family, _)| *family == ipv4) else {
            continue;
        };
        let one_peer = connection.duplicates != Duplicates::Keep;
        let asker = Asker { identity, one_peer, ipv4, wish };
        //= RFC 7296 section 4 #8: of the family that was asked for
        let chosen = cx.tables.leases.choose(&connection.pools, asker);
        granted.leases.extend(chosen.map(|(pool, address)| Lease {
            address,
            pool,
            identity: identity.clone(),
            released: None,
        }));
    }
    let wanted = request.attributes.iter().any(|attribute| wish(attribute).is_some());
    if wanted && granted.leases.is_empty() {
        return Err(NotifyType::INTERNAL_ADDRESS_FAILURE);
    }
    //= RFC 7296 section 3.15 #3: there is a reply where there is something to say
    //= RFC 7296 section 3.15 #6: and none where there is not
    let attributes = reply_attributes(connection, &granted, &request.attributes);
    if !attributes.is_empty() {
        granted.reply = Some(Configuration { kind: ConfigurationType::Reply, attributes });
    }
    Ok(granted)
}

fn reply_attributes(
    connection: &Connection,
    granted: &Granted,
    asked: &[Attribute],
) -> Vec<Attribute> {
    let address = |lease: &Lease| match lease.address {
        IpAddr::V4(v4) => Attribute::InternalIp4Address(Some(v4)),
        IpAddr::V6(v6) => Attribute::InternalIp6Address(Some((v6, 128))),
    };
    let server = |address: &IpAddr| match address {
        IpAddr::V4(v4) => Attribute::InternalIp4Dns(Some(*v4)),
        IpAddr::V6(v6) => Attribute::InternalIp6Dns(Some(*v6)),
    };
    let mut attributes: Vec<_> = granted.leases.iter().map(address).collect();
    let asks_servers =
        |a: &Attribute| matches!(a, Attribute::InternalIp4Dns(_) | Attribute::InternalIp6Dns(_));
    if !attributes.is_empty() || asked.iter().any(asks_servers) {
        attributes.extend(connection.dns.iter().map(server));
        // Only to those who know what it means, and never without servers (RFC 8598 section 3.2).
        let knows = |a: &Attribute| matches!(a, Attribute::InternalDnsDomain(_));
        if asked.iter().any(knows) && !connection.dns.is_empty() {
            let domains = connection.dns_domains.iter().cloned().map(Some);
            attributes.extend(domains.map(Attribute::InternalDnsDomain));
        }
    }
    if !granted.leases.is_empty() {
        attributes.extend(connection.subnets.iter().map(subnet));
    }
    attributes.extend(version(connection, asked));
    attributes
}

fn subnet((address, length): &(IpAddr, u8)) -> Attribute {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(*length).min(32)).unwrap_or(0);
            Attribute::InternalIp4Subnet(Some((*v4, Ipv4Addr::from(mask))))
        }
        IpAddr::V6(v6) => Attribute::InternalIp6Subnet(Some((*v6, *length))),
    }
}

/// What is said to a peer that asks for our software.
fn version(connection: &Connection, asked: &[Attribute]) -> Option<Attribute> {
    let asks = |a: &Attribute| matches!(a, Attribute::ApplicationVersion(_));
    let text = || connection.application_version.clone().unwrap_or_default();
    //= RFC 7296 section 2.20 #1: nothing is said by an empty one
    asked.iter().any(asks).then(|| Attribute::ApplicationVersion(text().into_bytes()))
}

/// The answer to a request that comes in an exchange of its own: the software's version and nothing
/// else (RFC 7296 section 2.20); `None` when there is nothing to be answered.
pub(crate) fn answer(
    connection: Option<&Connection>,
    asked: Option<&Configuration>,
) -> Option<Configuration> {
    let request = asked.filter(|request| request.kind == ConfigurationType::Request)?;
    let version = connection.and_then(|connection| version(connection, &request.attributes));
    let attributes = version.into_iter().collect();
    Some(Configuration { kind: ConfigurationType::Reply, attributes })
}

/// Our own request for addresses and what belongs to them; `None` when we want nothing.
pub(crate) fn request(connection: &Connection) -> Option<Configuration> {
    let mut attributes: Vec<_> = connection
        .request_addresses
        .iter()
        .map(|request| match request {
            AddressRequest::Ipv4 => Attribute::InternalIp4Address(None),
            AddressRequest::Ipv6 => Attribute::InternalIp6Address(None),
            AddressRequest::This(IpAddr::V4(v4)) => Attribute::InternalIp4Address(Some(*v4)),
            AddressRequest::This(IpAddr::V6(v6)) => Attribute::InternalIp6Address(Some((*v6, 128))),
        })
        .collect();
    let asks = |ipv4: bool| attributes.iter().filter_map(wish).any(|(family, _)| family == ipv4);
    let (v4, v6) = (asks(true), asks(false));
    if v4 {
        attributes.extend([Attribute::InternalIp4Dns(None), Attribute::InternalIp4Subnet(None)]);
    }
    if v6 {
        attributes.extend([Attribute::InternalIp6Dns(None), Attribute::InternalIp6Subnet(None)]);
    }
    if v4 || v6 {
        attributes.push(Attribute::InternalDnsDomain(None));
        //= RFC 7296 section 2.19 #4: nothing is asked for beside an address, or for itself alone
        if connection.application_version.is_some() {
            attributes.push(Attribute::ApplicationVersion(Vec::new()));
        }
    }
    let kind = ConfigurationType::Request;
    (!attributes.is_empty()).then_some(Configuration { kind, attributes })
}

fn reply_of(payload: Option<&Configuration>) -> &[Attribute] {
    let reply = payload.filter(|reply| reply.kind == ConfigurationType::Reply);
    reply.map_or(&[][..], |reply| reply.attributes.as_slice())
}

/// The addresses that a peer has assigned to us.
//= RFC 7296 section 3.15 #2: without a reply there is no address, and that is all
//= RFC 7296 section 3.15 #4: attributes that are not known are passed over
pub(crate) fn obtained(reply: Option<&Configuration>) -> Vec<IpAddr> {
    reply_of(reply).iter().filter_map(wish).filter_map(|(_, address)| address).collect()
}

/// What a peer tells us besides our addresses. Domains without servers say nothing (RFC 8598
/// section 3.2).
pub(crate) fn told(reply: Option<&Configuration>) -> Told {
    let mut told = Told::default();
    for attribute in reply_of(reply) {
        match attribute {
            Attribute::InternalIp4Dns(Some(server)) => told.name_servers.push((*server).into()),
            Attribute::InternalIp6Dns(Some(server)) => told.name_servers.push((*server).into()),
            Attribute::InternalDnsDomain(Some(name)) => told.domains.push(name.clone()),
            Attribute::InternalIp4Subnet(Some((network, mask))) => {
                told.subnets.extend(prefix(*network, *mask));
            }
            Attribute::InternalIp6Subnet(Some((network, length))) => {
                told.subnets.push(((*network).into(), *length));
            }
            Attribute::ApplicationVersion(text) if !text.is_empty() => {
                told.version = Some(printable(text));
            }
            _ => {}
        }
    }
    if told.name_servers.is_empty() {
        told.domains.clear();
    }
    told
}

/// A network with its mask; `None` for a mask with holes.
fn prefix(network: Ipv4Addr, mask: Ipv4Addr) -> Option<(IpAddr, u8)> {
    let length = mask.to_bits().leading_ones();
    let whole = mask.to_bits().checked_shl(length).unwrap_or(0) == 0;
    whole.then_some((network.into(), u8::try_from(length).ok()?))
}

/// What a peer calls itself, fit to be shown.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..VERSION_MAX).unwrap_or(text));
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Authentication;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn gateway() -> Connection {
        let mut connection = Connection::new("c", Authentication::psk(b"secret"));
        connection.dns = vec![ip("10.3.0.53"), ip("2001:db8::53")];
        connection.dns_domains = vec!["corp.example".to_owned()];
        connection.subnets = vec![(ip("10.3.0.0"), 24), (ip("2001:db8:3::"), 48)];
        connection
    }

    fn granted() -> Granted {
        let identity = Identity::Fqdn("peer".to_owned());
        let pool = "p".to_owned();
        let lease = Lease { address: ip("10.77.0.10"), pool, identity, released: None };
        Granted { leases: vec![lease], reply: None }
    }

    fn reply(attributes: Vec<Attribute>) -> Option<Configuration> {
        Some(Configuration { kind: ConfigurationType::Reply, attributes })
    }

    #[test]
    fn what_a_gateway_says_is_what_a_client_hears() {
        let mut client = gateway();
        client.request_addresses = vec![AddressRequest::Ipv4, AddressRequest::Ipv6];
        let asked = request(&client).unwrap().attributes;
        let attributes = reply_attributes(&gateway(), &granted(), &asked);
        let heard = reply(attributes);
        assert_eq!(obtained(heard.as_ref()), vec![ip("10.77.0.10")]);
        let expected = Told {
            name_servers: gateway().dns,
            domains: gateway().dns_domains,
            subnets: gateway().subnets,
            version: None,
        };
        assert_eq!(told(heard.as_ref()), expected);
    }

    #[test]
    fn domains_are_for_those_who_ask_and_go_with_servers() {
        let is_domain = |a: &Attribute| matches!(a, Attribute::InternalDnsDomain(_));
        let ask = [Attribute::InternalIp4Address(None)];
        let answer = reply_attributes(&gateway(), &granted(), &ask);
        assert!(!answer.iter().any(is_domain), "{answer:?}");
        let mut without = gateway();
        without.dns.clear();
        let ask = [Attribute::InternalDnsDomain(None)];
        let answer = reply_attributes(&without, &granted(), &ask);
        assert!(!answer.iter().any(is_domain), "{answer:?}");
        let alone = vec![Attribute::InternalDnsDomain(Some("corp.example".to_owned()))];
        assert_eq!(told(reply(alone).as_ref()), Told::default());
    }

    #[test]
    fn the_version_is_told_only_when_both_want_it() {
        let ask = [Attribute::ApplicationVersion(Vec::new())];
        assert_eq!(version(&gateway(), &ask), Some(ask[0].clone()));
        let mut open = gateway();
        open.application_version = Some("vipsec".to_owned());
        assert_eq!(version(&open, &[]), None);
        assert_eq!(version(&open, &ask), Some(Attribute::ApplicationVersion(b"vipsec".to_vec())));
        let query = Configuration { kind: ConfigurationType::Request, attributes: ask.to_vec() };
        let silent = answer(Some(&gateway()), Some(&query)).unwrap();
        assert_eq!(silent.attributes, ask);
        let set = Configuration { kind: ConfigurationType::Set, ..query };
        assert_eq!(answer(Some(&open), Some(&set)), None);
    }

    #[test]
    fn nonsense_is_passed_over_one_by_one() {
        let mask = |text: &str| {
            let network = "10.0.0.0".parse().unwrap();
            Attribute::InternalIp4Subnet(Some((network, text.parse().unwrap())))
        };
        let said = vec![
            Attribute::Other(8, vec![1, 2, 3]),
            mask("255.0.255.0"),
            mask("255.255.0.0"),
            mask("0.0.0.0"),
            Attribute::ApplicationVersion(b"x\x1b[2Jy\xff".to_vec()),
        ];
        let told = told(reply(said).as_ref());
        assert_eq!(told.subnets, vec![(ip("10.0.0.0"), 16), (ip("10.0.0.0"), 0)]);
        assert_eq!(told.version.as_deref(), Some("x\u{fffd}[2Jy\u{fffd}"));
        let request = Configuration { kind: ConfigurationType::Request, attributes: vec![] };
        assert_eq!(obtained(Some(&request)), Vec::<IpAddr>::new());
    }
}
