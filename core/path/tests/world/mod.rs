//! A small world for the tests of the path: a few nodes with one or more workers each, joined by a
//! fabric, and peers that hold the other ends of the SAs. No network, no clock but a number.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod packets;
pub(crate) mod peer;
pub(crate) mod transfer;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use vipsec_crypto::Random;
use vipsec_distributor::{Method, Service, ServiceTarget, Timeouts};
use vipsec_path::{
    Command, DropReason, FabricKey, FabricKeys, HandOver, InstallState, Limits, Path, PathConfig,
    Replay, Report, Role, Route, Sink, VipConfig,
};
use vipsec_wire::cluster::Protocol;
use vipsec_wire::id::{Epoch, EspSpi, NodeName, Vip};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

pub(crate) const NAMES: [&str; 4] = ["a", "b", "t1", "t2"];
pub(crate) const VIP: &str = "192.0.2.10";
/// An inner address of the VIP with a service.
pub(crate) const INNER_VIP: &str = "10.3.0.254";

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::try_from(text.to_owned()).expect("a good name")
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn vip() -> Vip {
    Vip(ip(VIP))
}

/// A generator of numbers that are different every time and the same in every run.
pub(crate) struct Counting(pub(crate) u64);

impl Random for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            *byte = self.0.to_be_bytes()[1];
        }
    }
}

/// What one worker has given out.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) emitted: Vec<(Route, Vec<u8>)>,
    pub(crate) inner: Vec<Vec<u8>>,
    pub(crate) handed: Vec<(u16, HandOver, Vec<u8>)>,
}

impl Sink for Collected {
    fn emit(&mut self, to: Route, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) {
        let mut packet = vec![0xee; max];
        let length = fill(&mut packet);
        assert!(length <= max);
        packet.truncate(length);
        if length > 0 {
            self.emitted.push((to, packet));
        }
    }

    fn inner(&mut self, packet: &[u8]) {
        self.inner.push(packet.to_vec());
    }

    fn hand_over(&mut self, worker: u16, kind: HandOver, packet: &[u8]) {
        self.handed.push((worker, kind, packet.to_vec()));
    }
}

/// One node: its workers, and what its kernel got.
pub(crate) struct Node {
    pub(crate) workers: Vec<Path>,
    pub(crate) kernel: Vec<Vec<u8>>,
    pub(crate) reports: Vec<Report>,
}

/// Everything.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) nodes: BTreeMap<&'static str, Node>,
    /// Packets that left towards peers, with the node that sent them.
    pub(crate) outside: Vec<(&'static str, Route, Vec<u8>)>,
    /// Frames on their way.
    pub(crate) fabric: VecDeque<(&'static str, SocketAddr, Vec<u8>)>,
    /// While false, frames stay on their way.
    pub(crate) fabric_flows: bool,
    serial: u32,
}

impl World {
    /// All nodes, configured and joined, without owner.
    pub(crate) fn new(workers: u16, limits: &Limits) -> World {
        let mut nodes = BTreeMap::new();
        for (index, node) in NAMES.into_iter().enumerate() {
            let make = |worker| {
                let config = PathConfig {
                    worker,
                    workers,
                    node: name(node),
                    members: NAMES.map(name).to_vec(),
                    limits: limits.clone(),
                };
                Path::new(config, Box::new(Counting(index as u64 * 100 + u64::from(worker) + 1)))
            };
            let workers = (0..workers).map(make).collect();
            nodes.insert(node, Node { workers, kernel: Vec::new(), reports: Vec::new() });
        }
        let mut world = World {
            now: Timestamp(1_000_000_000_000),
            nodes,
            outside: Vec::new(),
            fabric: VecDeque::new(),
            fabric_flows: true,
            serial: 0,
        };
        for node in NAMES {
            world.command(node, &Command::ConfigureVip(Box::new(vip_config(Replay::Bounded))));
        }
        world.join();
        world
    }

    /// One worker a node, default limits; `a` owns in epoch 1 and all know it.
    pub(crate) fn owned_by_a() -> World {
        let mut world = World::new(1, &Limits::default());
        world.own("a", 1);
        for target in ["t1", "t2"] {
            world.complete("a", target);
        }
        world.complete("a", "b");
        world
    }

    /// New keys between all nodes.
    pub(crate) fn join(&mut self) {
        self.serial += 1;
        self.fabric_flows = false;
        for from in NAMES {
            for to in NAMES.into_iter().filter(|&to| to != from) {
                self.join_one(from, to);
            }
        }
        self.fabric_flows = true;
        self.run();
    }

    /// Gives `node` the keys of the present connection to `other`.
    pub(crate) fn join_one(&mut self, node: &'static str, other: &'static str) {
        let count = self.nodes[node].workers.len();
        for worker in 0..count {
            let keys = FabricKeys {
                node: name(other),
                remote: fabric_address(other),
                outbound: fabric_key(self.serial, node, other, worker, count),
                inbound: (0..count)
                    .map(|w| fabric_key(self.serial, other, node, w, count))
                    .collect(),
            };
            self.command_worker(node, worker, Command::FabricKeys(Box::new(keys)));
        }
    }

    /// The next connections have other keys.
    pub(crate) fn next_connections(&mut self) {
        self.serial += 1;
    }

    pub(crate) fn command(&mut self, node: &'static str, command: &Command) {
        for worker in 0..self.nodes[node].workers.len() {
            self.command_worker(node, worker, command.clone());
        }
    }

    pub(crate) fn command_worker(&mut self, node: &'static str, worker: usize, command: Command) {
        let now = self.now;
        self.with(node, worker, |path, out| path.handle_command(now, command.clone(), out));
    }

    /// Makes `node` the owner of an epoch and tells the others.
    pub(crate) fn own(&mut self, node: &'static str, epoch: u64) {
        let epoch = Epoch(epoch);
        self.command(node, &Command::SetRole { vip: vip(), role: Role::Owner { epoch } });
        for other in NAMES.into_iter().filter(|&other| other != node) {
            self.follow(other, epoch.0, Some(node));
        }
    }

    /// Makes `node` a member under an owner.
    pub(crate) fn follow(&mut self, node: &'static str, epoch: u64, owner: Option<&str>) {
        let role = Role::Member { epoch: Epoch(epoch), owner: owner.map(name) };
        self.command(node, &Command::SetRole { vip: vip(), role });
    }

    /// Tells `owner` that `target` has nothing more to report.
    pub(crate) fn complete(&mut self, owner: &'static str, target: &str) {
        let command = Command::Connections {
            vip: vip(),
            from: name(target),
            updates: Vec::new(),
            complete: true,
        };
        self.command(owner, &command);
    }

    /// Installs the SA of a peer on the candidates.
    pub(crate) fn install(&mut self, peer: &peer::Peer) {
        for node in ["a", "b"] {
            let state = InstallState { outbound: true, ..InstallState::default() };
            self.command(node, &Command::Install(Box::new(peer.child.clone()), state));
        }
    }

    /// A packet from outside arrives at a node.
    pub(crate) fn arrives_outside(
        &mut self,
        node: &'static str,
        peer: &peer::Peer,
        mut packet: Vec<u8>,
    ) {
        let (now, endpoints) = (self.now, peer.child.endpoints);
        self.with(node, 0, |path, out| {
            let (local, remote) = (endpoints.local, endpoints.remote);
            if endpoints.encapsulated {
                path.handle_udp(now, local, remote, 0, &mut packet, out);
            } else {
                path.handle_esp(now, local.ip(), remote.ip(), 0, &mut packet, out);
            }
        });
    }

    /// A peer sends an inner packet, which arrives at a node.
    pub(crate) fn send(&mut self, node: &'static str, peer: &mut peer::Peer, inner: &[u8]) {
        let packet = peer.seal(inner);
        self.arrives_outside(node, peer, packet);
    }

    /// A packet from a node's TUN.
    pub(crate) fn arrives_inside(&mut self, node: &'static str, packet: &[u8]) {
        let now = self.now;
        self.with(node, 0, |path, out| path.handle_inner(now, packet, out));
    }

    /// Calls into a worker and spreads what comes out.
    pub(crate) fn with(
        &mut self,
        node: &'static str,
        worker: usize,
        mut call: impl FnMut(&mut Path, &mut dyn Sink),
    ) {
        self.with_dyn(node, worker, &mut call);
        self.run();
    }

    fn with_dyn(
        &mut self,
        node: &'static str,
        worker: usize,
        call: &mut dyn FnMut(&mut Path, &mut dyn Sink),
    ) {
        let mut out = Collected::default();
        let state = self.nodes.get_mut(node).expect("a node");
        call(&mut state.workers[worker], &mut out);
        while let Some(report) = state.workers[worker].poll_report() {
            state.reports.push(report);
        }
        state.kernel.append(&mut out.inner);
        for (route, packet) in out.emitted {
            match route {
                Route::Fabric { remote } => self.fabric.push_back((node, remote, packet)),
                other => self.outside.push((node, other, packet)),
            }
        }
        for (worker, kind, packet) in out.handed {
            let now = self.now;
            self.with_dyn(node, worker.into(), &mut |path, out| {
                path.handle_hand_over(now, kind, &mut packet.clone(), out);
            });
        }
    }

    /// Lets frames arrive.
    pub(crate) fn run(&mut self) {
        while self.fabric_flows {
            let Some((from, to, mut packet)) = self.fabric.pop_front() else { return };
            let found = NAMES.into_iter().find(|node| fabric_address(node) == to);
            let now = self.now;
            self.with_dyn(found.expect("a node"), 0, &mut |path, out| {
                path.handle_fabric(now, fabric_address(from), &mut packet, out);
            });
        }
    }

    /// Time passes; what is due is done.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let due = |node: &Node| node.workers.iter().filter_map(Path::poll_timeout).min();
            let next = self.nodes.values().filter_map(due).min().filter(|&at| at <= end);
            self.now = next.unwrap_or(end).max(self.now);
            for node in NAMES {
                for worker in 0..self.nodes[node].workers.len() {
                    let now = self.now;
                    self.with(node, worker, |path, out| path.handle_timeout(now, out));
                }
            }
            if next.is_none() {
                return;
            }
        }
    }

    /// What a node's kernel got since the last call.
    pub(crate) fn kernel(&mut self, node: &str) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.nodes.get_mut(node).expect("a node").kernel)
    }

    /// What left towards peers since the last call.
    pub(crate) fn outside(&mut self) -> Vec<(&'static str, Route, Vec<u8>)> {
        core::mem::take(&mut self.outside)
    }

    pub(crate) fn reports(&mut self, node: &str) -> Vec<Report> {
        core::mem::take(&mut self.nodes.get_mut(node).expect("a node").reports)
    }

    pub(crate) fn drops(&self, node: &str, reason: DropReason) -> u64 {
        self.nodes[node].workers.iter().map(|path| path.drops().get(reason)).sum()
    }

    /// All drops of all nodes.
    pub(crate) fn all_drops(&self) -> Vec<(&'static str, DropReason, u64)> {
        let nodes = self.nodes.iter();
        let paths = nodes.flat_map(|(&name, node)| node.workers.iter().map(move |p| (name, p)));
        paths.flat_map(|(name, path)| path.drops().iter().map(move |(r, n)| (name, r, n))).collect()
    }
}

pub(crate) fn fabric_address(node: &str) -> SocketAddr {
    let index = NAMES.iter().position(|name| *name == node).expect("a node");
    let last = u8::try_from(index).expect("few nodes") + 1;
    SocketAddr::new(IpAddr::from([10, 1, 0, last]), 7401)
}

fn fabric_key(serial: u32, from: &str, to: &str, worker: usize, workers: usize) -> FabricKey {
    let number = |node: &str| NAMES.iter().position(|name| *name == node).expect("a node");
    let pair = number(from) * NAMES.len() + number(to);
    let base = 256 * workers * (serial as usize * 16 + pair + 1) + worker;
    let spi = u32::try_from(base).expect("a small number");
    let key: Vec<u8> = (0..20).map(|i| spi.to_be_bytes()[i % 4]).collect();
    FabricKey { spi: EspSpi(spi), key: SecretBytes::new(key) }
}

/// A web service on the VIP and on the inner address, DNS on the VIP; targets b, t1, t2.
pub(crate) fn vip_config(replay: Replay) -> VipConfig {
    let targets: Vec<ServiceTarget> =
        ["b", "t1", "t2"].map(|node| ServiceTarget { node: name(node), weight: 1 }).to_vec();
    let service = |name: &str, address: &str, protocol, port| Service {
        name: name.to_owned(),
        address: ip(address),
        protocol,
        first_port: port,
        last_port: port,
        method: Method::RoundRobin,
        targets: targets.clone(),
        check: None,
    };
    VipConfig {
        vip: vip(),
        inner_addresses: vec![ip(INNER_VIP)],
        services: vec![
            service("web", VIP, Protocol::Tcp, 80),
            service("inner", INNER_VIP, Protocol::Tcp, 80),
            service("dns", VIP, Protocol::Udp, 53),
        ],
        protected: Vec::new(),
        replay,
        traps: Vec::new(),
        mss_max: None,
        timeouts: Timeouts::default(),
    }
}
