//! `[[vip.service]]`: which ports are given to which targets, and how.

use super::address::{PortRange, Prefix};
use super::connection::{ip_address, unique};
use super::file;
use super::mistake::Mistakes;
use super::node::{Member, choice, names};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;
use vipsec_wire::id::NodeName;

/// One row of the service table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, unique within the VIP.
    pub name: String,
    /// The VIP itself, or an inner address that moves with it.
    pub address: IpAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Both included.
    pub ports: RangeInclusive<u16>,
    /// Who gets a new connection.
    pub method: Method,
    /// At least one.
    pub targets: Vec<Target>,
    /// How a target is known to be well.
    pub check: Option<Check>,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// 6
    Tcp,
    /// 17
    Udp,
}

/// Selection of a target for a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// One after the other.
    RoundRobin,
    /// One after the other, by weight.
    Weighted,
    /// Rendezvous hash of the peer's address: the same peer, the same target.
    Hash,
}

/// Where connections may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A member with the role `target`.
    pub node: NodeName,
    /// 1 to 1000.
    pub weight: u16,
}

/// A TCP connect check of each target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Between two tries, 100 ms to 1 minute.
    pub interval: Duration,
    /// Good tries until a target is well, 1 to 10.
    pub rise: u16,
    /// Failed tries until it is not, 1 to 10.
    pub fall: u16,
    /// The port that is tried.
    pub port: u16,
}

pub(super) fn services(
    raw: &[Spanned<file::Service>],
    vip: IpAddr,
    members: &[Member],
    mistakes: &mut Mistakes,
) -> Vec<Service> {
    let mut names = BTreeSet::new();
    let mut services: Vec<Service> = Vec::new();
    for section in raw {
        unique(&section.get_ref().name, "service", &mut names, mistakes);
        let Some(service) = service(section, vip, members, mistakes) else {
            continue;
        };
        let same = |other: &&Service| {
            other.address == service.address
                && other.protocol == service.protocol
                && other.ports.start() <= service.ports.end()
                && service.ports.start() <= other.ports.end()
        };
        if let Some(other) = services.iter().find(same) {
            let text = format!(
                "its ports are those of service {:?} already; allowed are others",
                other.name
            );
            mistakes.at(section.span(), text);
        }
        services.push(service);
    }
    services
}

fn service(
    section: &Spanned<file::Service>,
    vip: IpAddr,
    members: &[Member],
    mistakes: &mut Mistakes,
) -> Option<Service> {
    let raw = section.get_ref();
    let address = raw.address.as_ref().map_or(Some(vip), |text| mistakes.parse(text, ip_address));
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    let protocol = raw.protocol.as_ref().map_or(Some(Protocol::Tcp), |text| {
        mistakes.parse(text, |text| choice(text, "protocol", &protocols))
    });
    let ports = ports(section, mistakes);
    let method =
        raw.method.as_ref().map_or(Some(Method::RoundRobin), |text| mistakes.parse(text, method));
    let targets = targets(raw, members, mistakes);
    let (protocol, ports) = (protocol?, ports?);
    let check = raw.check.as_ref().map(|check| checked(check, protocol, *ports.start(), mistakes));
    Some(Service {
        name: raw.name.get_ref().clone(),
        address: address?,
        protocol,
        ports,
        method: method?,
        targets,
        check,
    })
}

fn method(text: &str) -> Result<Method, String> {
    let methods = [
        ("round-robin", Method::RoundRobin),
        ("weighted", Method::Weighted),
        ("hash", Method::Hash),
    ];
    choice(text, "method", &methods)
}

fn ports(section: &Spanned<file::Service>, mistakes: &mut Mistakes) -> Option<RangeInclusive<u16>> {
    let raw = section.get_ref();
    match (&raw.port, &raw.ports) {
        (Some(port), None) => {
            let port = mistakes.number(Some(port), 1..=u16::MAX, 1);
            Some(port..=port)
        }
        (None, Some(text)) => {
            mistakes.parse(text, |text| text.parse()).map(|PortRange(range)| range)
        }
        (given, _) => {
            let which = if given.is_some() {
                "`port` and `ports` are both given"
            } else {
                "the port is missing"
            };
            let allowed = "allowed is `port = 80` or `ports = \"8000-8100\"`";
            mistakes.at(section.span(), format!("{which}; {allowed}"));
            None
        }
    }
}

fn targets(raw: &file::Service, members: &[Member], mistakes: &mut Mistakes) -> Vec<Target> {
    let mut seen = BTreeSet::new();
    let allowed = || names(members.iter().filter(|m| m.target).map(|m| &m.name));
    if raw.targets.get_ref().is_empty() {
        mistakes.at(raw.targets.span(), format!("no target; allowed is {}", allowed()));
    }
    let mut read = |target: &Spanned<file::Target>| {
        let target = target.get_ref();
        let (text, span) = (target.node.get_ref(), target.node.span());
        let weight = mistakes.number(target.weight.as_ref(), 1..=1000, 1);
        let Some(member) = members.iter().find(|m| m.target && m.name.as_str() == text) else {
            mistakes.at(
                span,
                format!("{text:?} is no member with the role \"target\"; allowed is {}", allowed()),
            );
            return None;
        };
        if !seen.insert(&member.name) {
            mistakes.at(
                span,
                format!("target {text:?} is there twice; allowed is once, with a weight"),
            );
        }
        Some(Target { node: member.name.clone(), weight })
    };
    raw.targets.get_ref().iter().filter_map(&mut read).collect()
}

fn checked(
    section: &Spanned<file::Check>,
    protocol: Protocol,
    first_port: u16,
    mistakes: &mut Mistakes,
) -> Check {
    let raw = section.get_ref();
    if protocol == Protocol::Udp && raw.port.is_none() {
        let text = "a check connects by TCP; for a UDP service allowed is one with a `port` that answers TCP";
        mistakes.at(section.span(), text);
    }
    let interval_ms = mistakes.number(raw.interval_ms.as_ref(), 100..=60_000, 1000);
    Check {
        interval: Duration::from_millis(interval_ms),
        rise: mistakes.number(raw.rise.as_ref(), 1..=10, 2),
        fall: mistakes.number(raw.fall.as_ref(), 1..=10, 3),
        port: mistakes.number(raw.port.as_ref(), 1..=u16::MAX, first_port),
    }
}

/// Inner addresses of services: what belongs to the VIP besides itself.
#[must_use]
pub fn inner_addresses(services: &[Service], vip: IpAddr) -> Vec<Prefix> {
    let inner = services.iter().map(|service| service.address).filter(|address| *address != vip);
    inner.collect::<BTreeSet<_>>().into_iter().map(Prefix::host).collect()
}
