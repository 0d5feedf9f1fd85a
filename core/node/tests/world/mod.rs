//! One node with a store in memory, and a peer that is an IKE engine: enough to see what a node lets
//! out and when. Whole clusters with packets are the simulator's.

#![allow(clippy::unwrap_used)] // A test may stop where the world is not as it was built.
#![allow(dead_code, reason = "each test file uses its own part")]

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use vipsec_cluster::Floor;
use vipsec_cluster::store::memory::Memory;
use vipsec_cluster::store::{Backend, Changes, Outcome, Revision, StoreError, Transaction};
use vipsec_cluster::{Candidate, Member, Roles, TakeBack, Timers};
use vipsec_crypto::Random;
use vipsec_crypto::seal::StoreKey;
use vipsec_ike::{Authentication, Child, Connection, Engine, RemoteAddresses, Selector};
use vipsec_node::{
    Config, Event, Node, Output, RequestId, StoreReply, StoreRequest, VipConfig, WhenUnavailable,
};
use vipsec_path::{Command, Replay, Report};
use vipsec_wire::cluster::Message;
use vipsec_wire::id::{Epoch, EspSpi, NodeName, Vip};
use vipsec_wire::ike::TrafficSelector;
use vipsec_wire::time::Timestamp;

/// Numbers that are different each time and the same in every run.
pub(crate) struct Seeded(pub(crate) u64);

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::try_from(text.to_owned()).unwrap()
}

pub(crate) fn vip() -> Vip {
    Vip("192.0.2.10".parse().unwrap())
}

fn connection(remote: RemoteAddresses) -> Connection {
    let mut connection = Connection::new("site", Authentication::psk(b"a shared secret"));
    let any = || vec![Selector::Fixed(TrafficSelector::any_v4())];
    connection.children = vec![Child::new("net", any(), any())];
    connection.remote = remote;
    // Two messages each way, and no more.
    connection.proposals.iter_mut().for_each(|proposal| proposal.additional.clear());
    connection
}

pub(crate) fn ike(vip: Vip, remote: RemoteAddresses) -> vipsec_ike::Config {
    vipsec_ike::Config {
        vip,
        connections: vec![connection(remote)],
        limits: vipsec_ike::Limits::default(),
        retransmit: vipsec_ike::Retransmit::default(),
        fragment_size: Some(vipsec_ike::FRAGMENT_SIZE),
    }
}

fn member(text: &str, last: u8) -> Member {
    Member {
        name: name(text),
        public_key: [last; 32],
        roles: Roles { candidate: text != "t", target: true },
        control: SocketAddr::from(([10, 1, 0, last], 7400)),
        fabric: SocketAddr::from(([10, 1, 0, last], 7401)),
    }
}

pub(crate) fn config(incarnation: u64, floor: Floor, members: &[&str]) -> Config {
    let path = vipsec_path::VipConfig {
        vip: vip(),
        inner_addresses: Vec::new(),
        services: Vec::new(),
        protected: Vec::new(),
        replay: Replay::Bounded,
        traps: Vec::new(),
        mss_max: None,
        timeouts: vipsec_distributor::Timeouts::default(),
    };
    let own = vipsec_cluster::VipConfig {
        vip: vip(),
        candidates: ["a", "b"]
            .iter()
            .zip([100, 50])
            .filter(|(text, _)| members.contains(text))
            .map(|(text, rank)| Candidate { node: name(text), rank })
            .collect(),
        takeback: TakeBack::Manual,
        floor,
    };
    Config {
        cluster: vipsec_cluster::Config {
            node: name("a"),
            incarnation,
            recent_starts: 0,
            members: members.iter().zip(1..).map(|(text, last)| member(text, last)).collect(),
            vips: vec![own],
            timers: Timers::default(),
        },
        vips: vec![VipConfig { vip: vip(), ike: Some(ike(vip(), RemoteAddresses::Any)), path }],
        store_key: Some(StoreKey::new(&[7; 32]).unwrap()),
        when_unavailable: WhenUnavailable::default(),
        workers: 1,
    }
}

/// A node and what surrounds it.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) node: Node,
    pub(crate) store: Memory,
    /// Commits are kept back, in their order, instead of being judged.
    pub(crate) holding: bool,
    pub(crate) kept: Vec<(RequestId, Transaction)>,
    pub(crate) watched: Option<Revision>,
    /// The watch brings nothing at present.
    pub(crate) blind: bool,
    /// What the node has let out.
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) commands: Vec<Command>,
    pub(crate) told: Vec<(NodeName, Message)>,
    pub(crate) events: Vec<Event>,
    pub(crate) announced: bool,
    pub(crate) floor: Floor,
    pub(crate) peer: Engine,
    pub(crate) random: Seeded,
}

impl World {
    /// A lone node that has just started.
    pub(crate) fn new() -> World {
        World::with(&["a"])
    }

    pub(crate) fn with(members: &[&str]) -> World {
        let peer_address = Vip("198.51.100.7".parse().unwrap());
        let mut random = Seeded(1);
        let now = Timestamp(1_000_000_000);
        let mut peer = Engine::new(ike(peer_address, RemoteAddresses::List(vec![vip().0])));
        peer.become_owner(now, Epoch(1), &mut random);
        let mut world = World {
            now,
            node: Node::new(config(now.0, Floor::default(), members), Box::new(Seeded(2))),
            store: Memory::new(),
            holding: false,
            kept: Vec::new(),
            watched: None,
            blind: false,
            sent: Vec::new(),
            commands: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
            announced: false,
            floor: Floor::default(),
            peer,
            random,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.node.handle_start(self.now);
        self.carry_out();
        self.run(Duration::from_secs(3));
        assert!(self.announced, "a lone node owns its VIP");
    }

    /// The process dies and another one starts on the same store.
    pub(crate) fn restart(&mut self) {
        self.replace(&["a"]);
        self.start();
    }

    /// The same, but the watch does not bring it its claim yet.
    pub(crate) fn restart_blind(&mut self, members: &[&str]) {
        self.replace(members);
        self.blind = true;
        self.node.handle_start(self.now);
        self.carry_out();
        self.run(Duration::from_secs(3));
    }

    fn replace(&mut self, members: &[&str]) {
        self.now = self.now + Duration::from_secs(1);
        let random = Box::new(Seeded(self.now.0));
        self.node = Node::new(config(self.now.0, self.floor, members), random);
        self.kept.clear();
        self.sent.clear();
        self.commands.clear();
        self.announced = false;
        self.holding = false;
    }

    /// Lets time go by in steps.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + Duration::from_millis(10);
            if self.node.poll_timeout().is_some_and(|at| at <= self.now) {
                self.node.handle_timeout(self.now);
            }
            self.carry_out();
        }
    }

    pub(crate) fn carry_out(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Ike { message, .. } => self.sent.push(message),
                Output::Worker { command, .. } => self.commands.push(*command),
                Output::Event(event) => self.events.push(event),
                Output::Announce { .. } => self.announced = true,
                Output::Withdraw { .. } => self.announced = false,
                Output::Floor { floor, .. } => self.floor = floor,
                Output::Store(request) => self.serve(request),
                Output::Peer { to, content } => {
                    self.told.push((to, Message::decode(content.expose()).unwrap()));
                }
                Output::Probe { .. } | Output::Resolve { .. } | Output::Connections { .. } => {}
            }
        }
    }

    fn serve(&mut self, request: StoreRequest) {
        match request {
            StoreRequest::Load { request, prefix } => {
                let reply = match self.store.range(&prefix) {
                    Ok((entries, revision)) => StoreReply::Loaded { request, entries, revision },
                    Err(error) => StoreReply::Failed { request, error },
                };
                self.node.handle_store(self.now, reply);
            }
            StoreRequest::Watch { after } => self.watched = Some(after),
            StoreRequest::Commit { request, transaction } if self.holding => {
                self.kept.push((request, transaction));
            }
            StoreRequest::Commit { request, transaction } => self.judge(request, &transaction),
        }
    }

    fn judge(&mut self, request: RequestId, transaction: &Transaction) {
        let reply = match self.store.commit(core::slice::from_ref(transaction)) {
            Ok(mut outcomes) => StoreReply::Judged { request, outcome: outcomes.remove(0) },
            Err(error) => StoreReply::Failed { request, error },
        };
        self.node.handle_store(self.now, reply);
        self.look();
    }

    /// The watch brings what has changed.
    pub(crate) fn look(&mut self) {
        let Some(after) = self.watched.filter(|_| !self.blind) else { return };
        if let Ok(Changes::Some { changes, up_to, .. }) = self.store.changes_since(after, 1000) {
            self.watched = Some(up_to);
            self.node.handle_store(self.now, StoreReply::Changed { changes, up_to });
        }
    }

    /// The store answers all that was kept back, and from now on at once.
    pub(crate) fn release(&mut self) {
        self.holding = false;
        for (request, transaction) in core::mem::take(&mut self.kept) {
            self.judge(request, &transaction);
        }
        self.carry_out();
    }

    /// The store refuses all that was kept back.
    pub(crate) fn refuse(&mut self) {
        self.holding = false;
        for (request, _) in core::mem::take(&mut self.kept) {
            let outcome = Outcome::Refused { failed: Vec::new() };
            self.node.handle_store(self.now, StoreReply::Judged { request, outcome });
        }
        self.carry_out();
    }

    /// The store fails all that was kept back, and goes on keeping.
    pub(crate) fn fail(&mut self) {
        for (request, _) in core::mem::take(&mut self.kept) {
            let error = StoreError::Locked;
            self.node.handle_store(self.now, StoreReply::Failed { request, error });
        }
        self.carry_out();
    }

    /// What the peer wants to send now.
    pub(crate) fn peer_messages(&mut self) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        let mut messages = Vec::new();
        while let Some(output) = self.peer.poll_output() {
            match output {
                vipsec_ike::Output::Transmit { local, remote, message, .. } => {
                    messages.push((local, remote, message));
                }
                vipsec_ike::Output::Persist { ticket, .. } => {
                    let stored = vipsec_ike::Stored::Confirmed;
                    self.peer.handle_stored(self.now, ticket, stored, &mut self.random);
                }
                _ => {}
            }
        }
        messages
    }

    /// Delivers a message of the peer's.
    pub(crate) fn deliver(&mut self, (from, to, message): (SocketAddr, SocketAddr, Vec<u8>)) {
        let report = Report::Ike { vip: vip(), local: to, remote: from, message };
        self.node.handle_report(self.now, 0, report);
        self.carry_out();
    }

    /// Delivers the node's last message to the peer.
    pub(crate) fn answer(&mut self, local: SocketAddr, remote: SocketAddr) {
        let message = self.sent.last().cloned().unwrap();
        self.peer.handle_datagram(self.now, local, remote, &message, &mut self.random);
    }

    /// IKE_SA_INIT is done; gives the IKE_AUTH request that the peer sends.
    pub(crate) fn until_auth(&mut self) -> (SocketAddr, SocketAddr, Vec<u8>) {
        self.peer.initiate(self.now, "site", "net", &mut self.random).unwrap();
        let init = self.peer_messages().remove(0);
        let (local, remote) = (init.0, init.1);
        self.deliver(init);
        assert_eq!(self.sent.len(), 1, "the answer of an IKE_SA_INIT waits for nothing");
        self.answer(local, remote);
        self.peer_messages().remove(0)
    }

    pub(crate) fn installs(&self) -> usize {
        self.commands.iter().filter(|command| matches!(command, Command::Install(..))).count()
    }

    /// The Child SA that was installed last.
    pub(crate) fn installed(&self) -> EspSpi {
        let installs = self.commands.iter().rev().find_map(|command| match command {
            Command::Install(sa, ..) => Some(sa.inbound.spi),
            _ => None,
        });
        installs.expect("an installed SA")
    }

    /// The store says how it is.
    pub(crate) fn store_health(&mut self, error: Option<StoreError>) {
        self.node.handle_store(self.now, StoreReply::Health { error });
        self.carry_out();
    }

    pub(crate) fn saw(&self, kind: &str) -> bool {
        self.events.iter().any(|event| event.kind() == kind)
    }

    /// The store's records by key.
    pub(crate) fn records(&mut self) -> BTreeMap<String, Vec<u8>> {
        let (entries, _) = self.store.range("vip/").unwrap();
        entries.into_iter().map(|entry| (entry.key.to_string(), entry.value)).collect()
    }
}
