//! Builds the code under test for a host: configuration, node, workers.

use crate::addresses;
use crate::host::{Disk, HostId};
use crate::plan::{Plan, Settings};
use crate::random::Generator;
use core::net::IpAddr;
use core::time::Duration;
use vipsec_cluster::{Candidate, Member, Roles, TakeBack, Timers};
use vipsec_crypto::seal::StoreKey;
use vipsec_distributor::{HealthCheck, Method, Service, ServiceTarget, Timeouts};
use vipsec_ike::{
    AddressRequest, Authentication, Child, Connection, Dpd, DpdAction, EspProposal, IkeProposal,
    RemoteAddresses, Retransmit, Selector, Start,
};
use vipsec_node::{Config, Node, VipConfig, WhenUnavailable};
use vipsec_path::{Limits, Path, PathConfig, Replay};
use vipsec_wire::cluster::Protocol;
use vipsec_wire::id::Vip;
use vipsec_wire::ike::{Encryption, Group, Identity, Integrity};
use vipsec_wire::time::Timestamp;

/// The pre-shared key of everybody.
const SECRET: &[u8] = b"a secret that everybody here knows";
/// How long new SAs of a node wait for the store before they go on without.
pub(crate) const DEADLINE: Duration = Duration::from_millis(500);

/// What a start needs beside the plan.
pub(crate) struct Beginning<'a> {
    /// Who starts.
    pub(crate) host: HostId,
    /// What its clock shows.
    pub(crate) clock: Timestamp,
    /// What stands on its disk.
    pub(crate) disk: &'a Disk,
    /// The key of its store, if it has one.
    pub(crate) key: Option<StoreKey>,
}

/// The VIP that a host has to do with: a peer's is its own address.
#[must_use]
pub(crate) fn vip_of(host: HostId) -> Vip {
    if host.is_peer() { Vip(addresses::peer(host)) } else { addresses::VIP }
}

/// The nodes of a host's cluster.
#[must_use]
pub(crate) fn members_of(plan: &Plan, host: HostId) -> Vec<HostId> {
    if host.is_peer() { vec![host] } else { plan.nodes() }
}

/// The code under test for a process of a host.
#[must_use]
pub(crate) fn build(
    plan: &Plan,
    start: Beginning<'_>,
    random: &mut Generator,
) -> (Node, Vec<Path>) {
    let host = start.host;
    let workers = if host.is_peer() { 1 } else { plan.workers };
    let members = members_of(plan, host);
    let paths = (0..workers).map(|worker| {
        let config = PathConfig {
            worker,
            workers,
            node: host.node(),
            members: members.iter().map(|member| member.node()).collect(),
            limits: Limits::default(),
        };
        Path::new(config, Box::new(random.fork()))
    });
    let paths = paths.collect();
    let config = Config {
        cluster: cluster(plan, &start),
        vips: vec![vip(plan, host)],
        store_key: start.key,
        when_unavailable: when_unavailable(&plan.settings),
        workers,
    };
    (Node::new(config, Box::new(random.fork())), paths)
}

fn when_unavailable(settings: &Settings) -> WhenUnavailable {
    match settings.unprotected {
        true => WhenUnavailable::Unprotected(DEADLINE),
        false => WhenUnavailable::Refuse,
    }
}

fn cluster(plan: &Plan, start: &Beginning<'_>) -> vipsec_cluster::Config {
    let host = start.host;
    let vip = vip_of(host);
    let members = members_of(plan, host);
    let candidates = members.iter().filter(|member| member.is_peer() || member.is_candidate());
    let candidates = candidates
        .map(|member| Candidate { node: member.node(), rank: 200 - member.number().min(100) });
    let minute = |started: &&Timestamp| start.clock.since(**started) < Duration::from_secs(60);
    vipsec_cluster::Config {
        node: host.node(),
        incarnation: start.clock.0,
        recent_starts: u32::try_from(start.disk.starts.iter().filter(minute).count()).unwrap_or(0),
        members: members.iter().map(|member| self::member(*member)).collect(),
        vips: vec![vipsec_cluster::VipConfig {
            vip,
            candidates: candidates.collect(),
            takeback: if host.is_peer() { TakeBack::Manual } else { plan.settings.takeback },
            floor: start.disk.floors.get(&vip).copied().unwrap_or_default(),
        }],
        timers: Timers::default(),
    }
}

fn member(host: HostId) -> Member {
    Member {
        name: host.node(),
        public_key: [host.number(); 32],
        roles: Roles { candidate: host.is_candidate() || host.is_peer(), target: host.is_node() },
        control: addresses::control(host),
        fabric: addresses::fabric(host),
    }
}

/// What a peer calls its connection, and the Child SA of it.
pub(crate) const CONNECTION: &str = "gateway";
pub(crate) const CHILD: &str = "net";

fn vip(plan: &Plan, host: HostId) -> VipConfig {
    let vip = vip_of(host);
    let engine = host.is_peer() || host.is_candidate();
    let ike = engine.then(|| vipsec_ike::Config {
        vip,
        connections: vec![connection(plan, host)],
        limits: vipsec_ike::Limits::default(),
        retransmit: Retransmit { initial_ms: 300, base_percent: 160, tries: 6 },
        fragment_size: Some(vipsec_ike::FRAGMENT_SIZE),
    });
    VipConfig { vip, ike, path: path(plan, host, vip) }
}

fn path(plan: &Plan, host: HostId, vip: Vip) -> vipsec_path::VipConfig {
    let peer = host.is_peer();
    let protected = match peer {
        true => vec![(addresses::VIP.0, addresses::VIP.0), addresses::INSIDE_NETWORK],
        false => vec![addresses::PEERS_NETWORK],
    };
    vipsec_path::VipConfig {
        vip,
        inner_addresses: if peer { Vec::new() } else { vec![addresses::INNER_SERVICE] },
        services: if peer { Vec::new() } else { services(plan) },
        protected,
        replay: if peer { Replay::Bounded } else { plan.settings.replay },
        traps: Vec::new(),
        mss_max: None,
        timeouts: Timeouts::default(),
    }
}

fn services(plan: &Plan) -> Vec<Service> {
    let nodes = plan.nodes();
    let service = |name: &str, address, protocol, port, method, check| Service {
        name: name.to_owned(),
        address,
        protocol,
        first_port: port,
        last_port: port,
        method,
        targets: nodes.iter().map(|n| ServiceTarget { node: n.node(), weight: 1 }).collect(),
        check,
    };
    let check = HealthCheck { interval_ms: 500, rise: 2, fall: 3, port: addresses::WEB };
    let (vip, inner) = (addresses::VIP.0, addresses::INNER_SERVICE);
    let (echo, web) = (addresses::ECHO, addresses::WEB);
    vec![
        service("echo", vip, Protocol::Udp, echo, Method::RoundRobin, None),
        service("web", vip, Protocol::Tcp, web, Method::RoundRobin, Some(check)),
        service("inner", inner, Protocol::Udp, echo, Method::Hash, None),
    ]
}

fn connection(plan: &Plan, host: HostId) -> Connection {
    let settings = &plan.settings;
    let peer = host.is_peer();
    let name = if peer { CONNECTION } else { "road" };
    let mut connection = Connection::new(name, Authentication::psk(SECRET));
    let gateway = Identity::Fqdn("gateway.test".to_owned());
    if peer {
        connection.local_id = Some(Identity::Fqdn(format!("{host}.test")));
        connection.remote_id = Some(gateway);
        connection.remote = RemoteAddresses::List(vec![addresses::VIP.0]);
        connection.request_addresses = vec![AddressRequest::Ipv4];
        connection.start = Start::AtStart;
        connection.dpd_action = DpdAction::Restart;
    } else {
        connection.local_id = Some(gateway);
        let (first, last) = addresses::POOL;
        connection.pools = vec![vipsec_ike::Pool::new("pool", first, last)];
    }
    connection.children = vec![child(settings, peer)];
    connection.dpd = Some(Dpd { idle_s: settings.dpd_s });
    connection.lifetime = settings.ike;
    connection.force_encapsulation = settings.encapsulate;
    connection.mobike = settings.mobike;
    connection.synchronise = settings.synchronise;
    connection.proposals.retain(|proposal| proposal.additional.is_empty());
    if settings.cbc {
        connection.proposals = vec![cbc_for_ike()];
    }
    if settings.additional {
        connection.proposals.iter_mut().for_each(|proposal| proposal.additional = additional());
    }
    connection
}

/// What is exchanged beside the first key exchange: large enough for messages in fragments.
fn additional() -> Vec<Vec<Group>> {
    vec![vec![Group::MlKem1024]]
}

fn cbc_for_ike() -> IkeProposal {
    let usual = IkeProposal::usual();
    let cbc = usual.into_iter().find(|proposal| !proposal.integrity.is_empty());
    cbc.expect("the usual proposals contain AES-CBC")
}

fn child(settings: &Settings, peer: bool) -> Child {
    let ours = vec![
        Selector::Fixed(vipsec_wire::ike::TrafficSelector::host(addresses::VIP.0)),
        Selector::Fixed(addresses::selector(addresses::INSIDE_NETWORK)),
    ];
    let theirs = vec![Selector::Dynamic];
    let (local, remote) = if peer { (theirs, ours) } else { (ours, theirs) };
    let mut child = Child::new(CHILD, local, remote);
    child.lifetime = settings.child;
    child.replay_window = settings.window;
    if settings.cbc {
        child.proposals = vec![EspProposal {
            encryption: vec![Encryption::AesCbc { bits: 256 }],
            integrity: vec![Integrity::HmacSha2_256_128],
            groups: Vec::new(),
            additional: Vec::new(),
            esn: EspProposal::usual()[0].esn.clone(),
        }];
    }
    if settings.additional {
        for proposal in &mut child.proposals {
            proposal.groups = vec![Group::X25519];
            proposal.additional = additional();
        }
    }
    child
}

/// The addresses that a host's kernel holds, without those that it is assigned.
#[must_use]
pub(crate) fn addresses_of(host: HostId) -> Vec<IpAddr> {
    if host.is_node() {
        vec![addresses::VIP.0, addresses::INNER_SERVICE]
    } else if host == HostId::protected() {
        vec![addresses::PROTECTED]
    } else {
        Vec::new()
    }
}
