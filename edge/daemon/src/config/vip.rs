//! `[[vip]]`: one virtual address, its candidates, its peers and its services.

use super::address::Prefix;
use super::connection::{self, Connection, ip_address};
use super::file;
use super::mistake::Mistakes;
use super::node::{Member, Node, choice, names};
use super::pool::{self, Pool};
use super::proof::ReadPsk;
use super::service::{self, Service};
use std::collections::BTreeSet;
use std::net::IpAddr;
use vipsec_ike::Selector;
use vipsec_wire::id::NodeName;

/// Most VIPs of one node: its heartbeat speaks of all of them.
const VIPS_MAX: usize = vipsec_wire::cluster::ownership::HEARTBEAT_LIST_MAX;

/// One VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// The address that peers talk to.
    pub address: IpAddr,
    /// Where it is announced; absent on nodes that are no candidate for it.
    pub interface: Option<String>,
    /// Who may own it, best first; at least one.
    pub candidates: Vec<Candidate>,
    /// Whether the best candidate takes it back by itself.
    pub takeback: Takeback,
    /// Inbound replay protection across owners.
    pub replay: Replay,
    /// Octets of the IP datagrams of fragmented IKE messages; `None`: they are not fragmented.
    pub fragment_size: Option<u16>,
    /// The next hop of the protected hosts, moving along.
    pub inner: Option<Inner>,
    /// Peers' prefixes: routed into the tunnels, and closed in clear.
    pub protected: Vec<Prefix>,
    /// What peers are given addresses from.
    pub pools: Vec<Pool>,
    /// Who may connect; empty on nodes that are no candidate for it.
    pub connections: Vec<Connection>,
    /// How much peers may ask for.
    pub limits: vipsec_ike::Limits,
    /// What is given to targets.
    pub services: Vec<Service>,
}

/// Who may own a VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// A member with the role `candidate`.
    pub node: NodeName,
    /// 1 to 254; the highest living one takes over.
    pub rank: u8,
}

/// What a returning better candidate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeback {
    /// Asks for a transfer.
    Auto,
    /// Waits for a command.
    Manual,
}

/// What a new owner accepts inbound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// What is above the last edge that it knows.
    Bounded,
    /// Nothing until the SA has been rekeyed.
    Strict,
}

/// The inner-side VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inner {
    /// The address.
    pub address: IpAddr,
    /// Where it is announced.
    pub interface: String,
}

/// What a VIP's section is read against.
pub(super) struct Surroundings<'a> {
    pub(super) node: &'a Node,
    pub(super) members: &'a [Member],
    pub(super) read_psk: ReadPsk<'a>,
}

pub(super) fn vips(
    raw: &[file::Vip],
    around: &Surroundings<'_>,
    mistakes: &mut Mistakes,
) -> Vec<Vip> {
    let mut seen = BTreeSet::new();
    let mut vips = Vec::new();
    let mut known = Vec::new();
    if let Some(surplus) = raw.get(VIPS_MAX) {
        let text = format!("{} VIPs; allowed are {VIPS_MAX} on one node", raw.len());
        mistakes.at(surplus.span.clone(), text);
    }
    for section in raw {
        let Some(vip) = vip(section, around, &mut known, mistakes) else {
            continue;
        };
        if !seen.insert(vip.address) {
            let text =
                format!("VIP {} is there twice; allowed is one section for each", vip.address);
            mistakes.at(section.head.address.span(), text);
        }
        vips.push(vip);
    }
    vips
}

fn vip(
    raw: &file::Vip,
    around: &Surroundings<'_>,
    known: &mut Vec<(String, Pool)>,
    mistakes: &mut Mistakes,
) -> Option<Vip> {
    let head = &raw.head;
    let address = mistakes.parse(&head.address, unicast);
    let candidates = candidates(raw, around, mistakes);
    let here = candidates.iter().any(|candidate| candidate.node == around.node.name);
    if here && head.interface.is_none() {
        mistakes.at(
            raw.span.clone(),
            "`interface` is missing; a candidate must know where it announces the address",
        );
    }
    let (takeback, replay) = policies(head, mistakes);
    let fragment_size = fragment_size(head.fragment_size.as_ref(), mistakes);
    let inner = head.inner.as_ref().and_then(|inner| inner_vip(inner, mistakes));
    let mut pools = pool::pools(&raw.pools, mistakes);
    let explicit = mistakes.parse_each(&head.protected, |text| text.parse());
    let connections =
        connection::connections(&raw.connections, &explicit, &mut pools, around.read_psk, mistakes);
    pool::overlaps(raw, &pools, known, mistakes);
    let address = address?;
    let services = service::services(&raw.services, address, around.members, mistakes);
    let protected = protected(explicit, &pools, &connections);
    let interface = head.interface.as_ref().and_then(|text| mistakes.parse(text, interface));
    Some(Vip {
        address,
        interface,
        candidates,
        takeback,
        replay,
        fragment_size,
        inner,
        protected,
        pools,
        connections,
        limits: super::limits::limits(head.limits.as_ref(), mistakes),
        services,
    })
}

/// No fragment is smaller than what every IPv4 path takes; 0 turns them off.
fn fragment_size(value: Option<&file::Number>, mistakes: &mut Mistakes) -> Option<u16> {
    let off = value.is_some_and(|value| *value.get_ref() == 0);
    let size = || mistakes.number(value, 576..=u16::MAX, vipsec_ike::FRAGMENT_SIZE);
    (!off).then(size)
}

fn policies(head: &file::VipHead, mistakes: &mut Mistakes) -> (Takeback, Replay) {
    let choices = [("auto", Takeback::Auto), ("manual", Takeback::Manual)];
    let takeback = head.takeback.as_ref();
    let takeback =
        takeback.and_then(|text| mistakes.parse(text, |text| choice(text, "takeback", &choices)));
    let choices = [("bounded", Replay::Bounded), ("strict", Replay::Strict)];
    let replay = head.replay.as_ref();
    let replay =
        replay.and_then(|text| mistakes.parse(text, |text| choice(text, "replay", &choices)));
    (takeback.unwrap_or(Takeback::Manual), replay.unwrap_or(Replay::Bounded))
}

/// The candidates, best first. Left out, a lone node is the only one; on a node that cannot be a
/// candidate they are all members that can.
fn candidates(
    raw: &file::Vip,
    around: &Surroundings<'_>,
    mistakes: &mut Mistakes,
) -> Vec<Candidate> {
    let able = || around.members.iter().filter(|member| member.candidate);
    let Some(list) = &raw.head.candidates else {
        let needed = around.members.len() > 1 && able().any(|m| m.name == around.node.name);
        if needed {
            let text = "`candidates` is missing; allowed is `candidates = [ { node = \"a\", rank = 100 }, … ]`";
            mistakes.at(raw.span.clone(), text);
        }
        let ranked = able().zip((1..=254_u8).rev());
        return ranked.map(|(m, rank)| Candidate { node: m.name.clone(), rank }).collect();
    };
    let mut candidates = Vec::new();
    for entry in list.get_ref() {
        let (node, rank) = (&entry.get_ref().node, &entry.get_ref().rank);
        let rank_value = mistakes.number(Some(rank), 1..=254_u8, 1);
        let Some(member) = able().find(|member| member.name.as_str() == node.get_ref()) else {
            let allowed = names(able().map(|member| &member.name));
            let text = format!(
                "{:?} is no member with the role \"candidate\"; allowed is {allowed}",
                node.get_ref()
            );
            mistakes.at(node.span(), text);
            continue;
        };
        if candidates.iter().any(|c: &Candidate| c.node == member.name) {
            mistakes.at(
                node.span(),
                format!("candidate {:?} is there twice; allowed is once", node.get_ref()),
            );
        }
        if candidates.iter().any(|c: &Candidate| c.rank == rank_value) {
            mistakes.at(
                rank.span(),
                format!("rank {rank_value} is given twice; allowed is one of its own for each"),
            );
        }
        candidates.push(Candidate { node: member.name.clone(), rank: rank_value });
    }
    if list.get_ref().is_empty() {
        let allowed = names(able().map(|member| &member.name));
        mistakes.at(list.span(), format!("no candidate; allowed is {allowed}"));
    }
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.rank));
    candidates
}

fn inner_vip(raw: &file::Inner, mistakes: &mut Mistakes) -> Option<Inner> {
    let address = mistakes.parse(&raw.address, unicast);
    let interface = mistakes.parse(&raw.interface, interface);
    Some(Inner { address: address?, interface: interface? })
}

/// The peers' prefixes: those given, the pools, and what the children name as the remote side. What
/// is `dynamic` without a pool is known, and protected, when a peer is there.
fn protected(explicit: Vec<Prefix>, pools: &[Pool], connections: &[Connection]) -> Vec<Prefix> {
    let ranges = pools.iter().map(|pool| (pool.range.first(), pool.range.last()));
    let children = connections.iter().flat_map(|connection| &connection.children);
    let selectors =
        children.flat_map(|child| &child.remote).filter_map(|selector| match selector {
            Selector::Fixed(fixed) => Some((fixed.first_address, fixed.last_address)),
            Selector::Dynamic => None,
        });
    let derived = ranges.chain(selectors).flat_map(|(first, last)| Prefix::cover(first, last));
    let all: BTreeSet<Prefix> = explicit.into_iter().chain(derived).collect();
    let covered = |prefix: &&Prefix| {
        !all.iter()
            .any(|other| other.length() < prefix.length() && other.contains(prefix.address()))
    };
    all.iter().filter(covered).copied().collect()
}

fn unicast(text: &str) -> Result<IpAddr, String> {
    let address = ip_address(text)?;
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(format!("{text:?} cannot be a VIP; allowed is a unicast address"));
    }
    Ok(address)
}

/// Interface names as Linux takes them: 1 to 15 bytes without `/`, spaces and control characters.
fn interface(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if (1..=15).contains(&text.len()) && text.chars().all(allowed) && text != "." && text != ".." {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no interface name; allowed are 1 to 15 characters as in \"eth0\""))
    }
}

/// Notes a candidate that has nobody to serve, and a mere target that could not answer.
pub(super) fn refuse_idle(raw: &[file::Vip], vips: &[Vip], node: &Node, mistakes: &mut Mistakes) {
    if !mistakes.is_empty() {
        return;
    }
    for (section, vip) in raw.iter().zip(vips) {
        let here = vip.candidates.iter().any(|candidate| candidate.node == node.name);
        if here && vip.connections.is_empty() {
            let text =
                "a candidate needs at least one `[[vip.connection]]`, the same as the others'";
            mistakes.at(section.span.clone(), text);
        } else if !here && vip.protected.is_empty() {
            let text = "`protected` is missing; a target must know the peers' prefixes, as in `protected = [\"10.77.0.0/24\"]`";
            mistakes.at(section.span.clone(), text);
        }
    }
}

/// Whether any VIP may be owned by `node`.
pub(super) fn is_candidate(vips: &[Vip], node: &Node) -> bool {
    vips.iter().any(|vip| vip.candidates.iter().any(|candidate| candidate.node == node.name))
}

/// The span of the first VIP, for what is said of all.
pub(super) fn first_span(raw: &[file::Vip]) -> std::ops::Range<usize> {
    raw.first().map_or(0..0, |vip| vip.span.clone())
}
