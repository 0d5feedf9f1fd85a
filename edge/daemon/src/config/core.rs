//! The configuration as the other crates take it: nothing is decided here, only said in their types.

use super::connection::{Child, Connection, Remote};
use super::node::Member;
use super::proof::Proof;
use super::service::{Method, Protocol, Service, inner_addresses};
use super::store::WhenUnavailable;
use super::vip::{Replay, Takeback, Vip};
use super::{Config, address};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use vipsec_cluster::Floor;
use vipsec_crypto::seal::StoreKey;
use vipsec_dataplane as dataplane;
use vipsec_ike::{
    AddressRequest, Authentication, ChildLifetime, Dpd, DpdAction, IkeLifetime, RemoteAddresses,
    RemoteName, Selector,
};
use vipsec_wire::id::Vip as VipName;
use vipsec_wire::ike::TrafficSelector;

/// What peers are told of our software, if anything.
const VERSION: &str = concat!("vipsec ", env!("CARGO_PKG_VERSION"));

/// What a start knows besides its configuration.
#[derive(Debug, Clone)]
pub struct Start {
    /// Names this process; greater than that of every earlier one of this node.
    pub incarnation: u64,
    /// Starts within the last minute, this one not counted.
    pub recent_starts: u32,
    /// How far this node has known the stores to be.
    pub floors: BTreeMap<VipName, Floor>,
}

/// The node's part.
#[must_use]
pub fn node(config: &Config, start: &Start, store_key: Option<StoreKey>) -> vipsec_node::Config {
    let when = config.store.as_ref().map(|store| store.when_unavailable);
    vipsec_node::Config {
        cluster: cluster(config, start),
        vips: vips(config),
        store_key,
        when_unavailable: match when {
            Some(WhenUnavailable::Refuse) => vipsec_node::WhenUnavailable::Refuse,
            _ => vipsec_node::WhenUnavailable::default(),
        },
        workers: config.node.workers,
    }
}

/// What the node must know of each VIP; may change while it runs.
#[must_use]
pub fn vips(config: &Config) -> Vec<vipsec_node::VipConfig> {
    let vip = |vip: &Vip| vipsec_node::VipConfig {
        vip: VipName(vip.address),
        ike: config.is_candidate_for(vip).then(|| ike(vip)),
        path: path(vip),
    };
    config.vips.iter().map(vip).collect()
}

fn cluster(config: &Config, start: &Start) -> vipsec_cluster::Config {
    let defaults = vipsec_cluster::Timers::default();
    let heartbeat = config.timers.heartbeat;
    vipsec_cluster::Config {
        node: config.node.name.clone(),
        incarnation: start.incarnation,
        recent_starts: start.recent_starts,
        members: config.members.iter().map(member).collect(),
        vips: config.vips.iter().map(|vip| cluster_vip(vip, start)).collect(),
        timers: vipsec_cluster::Timers {
            heartbeat,
            lost_after: config.timers.lost_after,
            verify: defaults.verify.min(heartbeat / 2),
            grace: config.timers.grace,
            ..defaults
        },
    }
}

fn member(member: &Member) -> vipsec_cluster::Member {
    vipsec_cluster::Member {
        name: member.name.clone(),
        public_key: member.public_key.map(|key| key.0).unwrap_or_default(),
        roles: vipsec_cluster::Roles { candidate: member.candidate, target: member.target },
        control: member.control,
        fabric: member.fabric,
    }
}

fn cluster_vip(vip: &Vip, start: &Start) -> vipsec_cluster::VipConfig {
    let name = VipName(vip.address);
    let candidates = vip.candidates.iter().map(|candidate| vipsec_cluster::Candidate {
        node: candidate.node.clone(),
        rank: candidate.rank,
    });
    vipsec_cluster::VipConfig {
        vip: name,
        candidates: candidates.collect(),
        takeback: match vip.takeback {
            Takeback::Auto => vipsec_cluster::TakeBack::Auto,
            Takeback::Manual => vipsec_cluster::TakeBack::Manual,
        },
        floor: start.floors.get(&name).copied().unwrap_or_default(),
    }
}

fn ike(vip: &Vip) -> vipsec_ike::Config {
    vipsec_ike::Config {
        vip: VipName(vip.address),
        connections: vip.connections.iter().map(|c| connection(c, vip)).collect(),
        limits: vip.limits,
        retransmit: vipsec_ike::Retransmit::default(),
        fragment_size: vip.fragment_size,
    }
}

fn connection(from: &Connection, vip: &Vip) -> vipsec_ike::Connection {
    let pools = vip.pools.iter().filter(|pool| from.pools.contains(&pool.name));
    let pools = pools.map(|pool| vipsec_ike::Pool {
        name: pool.name.clone(),
        first: pool.range.first(),
        last: pool.range.last(),
        keep: pool.lease,
        reserved: pool.reserved.clone(),
    });
    let (remote, names) = match &from.remote {
        Remote::Any => (RemoteAddresses::Any, &[][..]),
        Remote::At(addresses, names) => (RemoteAddresses::List(addresses.clone()), &names[..]),
    };
    let names = names.iter().map(|name| RemoteName { name: name.clone(), addresses: Vec::new() });
    let authentication = match &from.proof {
        Proof::Psk { key, .. } => Authentication::psk(key.expose()),
        Proof::Pubkey(own) => Authentication::Certificates(own.clone()),
        Proof::Eap(eap) => Authentication::Eap(eap.clone()),
    };
    vipsec_ike::Connection {
        ppk: from.ppk.clone(),
        local_id: from.local_id.clone(),
        remote_id: from.remote_id.clone(),
        remote,
        remote_names: names.collect(),
        proposals: from.proposals.clone(),
        children: from.children.iter().map(child).collect(),
        pools: pools.collect(),
        dns: from.dns.clone(),
        dns_domains: from.dns_domains.clone(),
        subnets: from.subnets.iter().map(|p| (p.address(), p.length())).collect(),
        application_version: from.announce_version.then(|| VERSION.to_owned()),
        force_encapsulation: from.force_encapsulation,
        duplicates: from.duplicates,
        mobike: from.mobike,
        return_routability: from.return_routability,
        synchronise: from.synchronise,
        refuse_nat: from.refuse_nat,
        request_addresses: if from.request_address { requests(from) } else { Vec::new() },
        dpd: Some(Dpd { idle_s: seconds(from.dpd) }),
        lifetime: IkeLifetime {
            rekey_s: seconds(from.rekey),
            jitter_s: seconds(from.rekey) / 10,
            over_s: (seconds(from.rekey) / 10).max(30),
        },
        start: from.start,
        dpd_action: from.dpd_action,
        ..vipsec_ike::Connection::new(&from.name, authentication)
    }
}

/// Addresses of the families that the peer's side has.
fn requests(from: &Connection) -> Vec<AddressRequest> {
    let remotes = from.children.iter().flat_map(|child| &child.remote);
    let is_ipv6 = |selector: &Selector| match selector {
        Selector::Fixed(fixed) => fixed.first_address.is_ipv6(),
        Selector::Dynamic => false,
    };
    let (v6, v4): (Vec<_>, Vec<_>) = remotes.partition(|selector| is_ipv6(selector));
    let mut requests = Vec::new();
    if !v4.is_empty() || v6.is_empty() {
        requests.push(AddressRequest::Ipv4);
    }
    if !v6.is_empty() {
        requests.push(AddressRequest::Ipv6);
    }
    requests
}

fn child(from: &Child) -> vipsec_ike::Child {
    vipsec_ike::Child {
        name: from.name.clone(),
        mode: from.mode,
        local: from.local.clone(),
        remote: from.remote.clone(),
        proposals: from.proposals.clone(),
        lifetime: ChildLifetime {
            rekey_s: Some(from.rekey.as_secs()),
            rekey_bytes: from.rekey_bytes,
            rekey_packets: from.rekey_packets,
            ..ChildLifetime::default()
        },
        replay_window: from.replay_window,
    }
}

fn path(vip: &Vip) -> vipsec_path::VipConfig {
    let inner = inner_addresses(&vip.services, vip.address);
    vipsec_path::VipConfig {
        vip: VipName(vip.address),
        inner_addresses: inner.iter().map(|prefix| prefix.address()).collect(),
        services: vip.services.iter().map(service).collect(),
        protected: vip.protected.iter().map(|p| (p.address(), p.last())).collect(),
        replay: match vip.replay {
            Replay::Bounded => vipsec_path::Replay::Bounded,
            Replay::Strict => vipsec_path::Replay::Strict,
        },
        traps: vip.connections.iter().flat_map(|connection| traps(connection, vip)).collect(),
        mss_max: None,
        timeouts: vipsec_distributor::Timeouts::default(),
    }
}

/// What waits for SAs that packets bring up. What `dynamic` means without an SA is the VIP and the
/// peer's addresses, if they are not names.
fn traps(from: &Connection, vip: &Vip) -> Vec<vipsec_path::Trap> {
    if from.start != vipsec_ike::Start::OnTraffic && from.dpd_action != DpdAction::Trap {
        return Vec::new();
    }
    let peer = match &from.remote {
        Remote::Any => &[][..],
        Remote::At(addresses, _) => addresses.as_slice(),
    };
    let resolve = |selectors: &[Selector], addresses: &[IpAddr]| {
        let resolved = selectors.iter().flat_map(|selector| match selector {
            Selector::Fixed(fixed) => vec![*fixed],
            Selector::Dynamic => addresses.iter().map(|a| TrafficSelector::host(*a)).collect(),
        });
        resolved.collect::<Vec<_>>()
    };
    let trap = |child: &Child| vipsec_path::Trap {
        connection: from.name.clone(),
        child: child.name.clone(),
        local: resolve(&child.local, &[vip.address]),
        remote: resolve(&child.remote, peer),
    };
    from.children.iter().map(trap).collect()
}

fn service(from: &Service) -> vipsec_distributor::Service {
    use vipsec_wire::cluster;
    let target = |target: &super::service::Target| vipsec_distributor::ServiceTarget {
        node: target.node.clone(),
        weight: target.weight,
    };
    vipsec_distributor::Service {
        name: from.name.clone(),
        address: from.address,
        protocol: match from.protocol {
            Protocol::Tcp => cluster::Protocol::Tcp,
            Protocol::Udp => cluster::Protocol::Udp,
        },
        first_port: *from.ports.start(),
        last_port: *from.ports.end(),
        method: match from.method {
            Method::RoundRobin => vipsec_distributor::Method::RoundRobin,
            Method::Weighted => vipsec_distributor::Method::Weighted,
            Method::Hash => vipsec_distributor::Method::Hash,
        },
        targets: from.targets.iter().map(target).collect(),
        check: from.check.map(|check| vipsec_distributor::HealthCheck {
            interval_ms: u32::try_from(check.interval.as_millis()).unwrap_or(u32::MAX),
            rise: check.rise,
            fall: check.fall,
            port: check.port,
        }),
    }
}

/// What each worker's path is made with.
#[must_use]
pub fn worker(config: &Config, worker: u16, inner_mtu: u16) -> vipsec_path::PathConfig {
    vipsec_path::PathConfig {
        worker,
        workers: config.node.workers,
        node: config.node.name.clone(),
        members: config.members.iter().map(|member| member.name.clone()).collect(),
        limits: vipsec_path::Limits { inner_mtu, ..vipsec_path::Limits::default() },
    }
}

/// The data plane's part.
#[must_use]
pub fn data_plane(config: &Config, clock: dataplane::Clock) -> dataplane::Config {
    let vip = |vip: &Vip| dataplane::VipConfig {
        vip: VipName(vip.address),
        interface: vip.interface.clone().filter(|_| config.is_candidate_for(vip)),
        service_addresses: inner_addresses(&vip.services, vip.address)
            .iter()
            .map(|prefix| prefix.address())
            .collect(),
        inner: vip.inner.as_ref().filter(|_| config.is_candidate_for(vip)).map(|inner| {
            dataplane::InnerSide {
                interface: inner.interface.clone(),
                address: Some(inner.address),
                proxied: Vec::new(),
            }
        }),
    };
    let protected = config.vips.iter().flat_map(|vip| &vip.protected);
    let mut plane = dataplane::Config::new(clock);
    plane.workers = config.node.workers;
    plane.vips = config.vips.iter().map(vip).collect();
    plane.protected = dataplane_prefixes(protected);
    plane.fabric =
        config.this_member().filter(|_| config.members.len() > 1).map(|member| member.fabric);
    plane.forwarding = config.vips.iter().any(|vip| config.is_candidate_for(vip));
    plane
}

/// Prefixes as the data plane takes them.
pub(crate) fn dataplane_prefixes<'a>(
    prefixes: impl Iterator<Item = &'a address::Prefix>,
) -> Vec<dataplane::Prefix> {
    prefixes.filter_map(|p| dataplane::Prefix::new(p.address(), p.length())).collect()
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}
