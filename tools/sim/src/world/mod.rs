//! The world: hosts, wires, stores, and what happens to them in virtual time. It carries out what
//! nodes and workers want, and shows everything that can be seen to the checkers.

mod drive;
mod kernel;
mod life;
mod linking;
mod outputs;
mod routing;
mod steps;
mod storing;

use crate::addresses;
use crate::app::udp::{Goal, UdpFlow};
use crate::app::{Serials, tcp::Caller};
use crate::checkers::{Checkers, Violation};
use crate::event::{Event, Queue};
use crate::host::{Host, HostId};
use crate::links::Links;
use crate::network::{Quality, Segment, Wire};
use crate::observation::{Actor, Observation};
use crate::plan::Plan;
use crate::random::Generator;
use crate::store::{Pace, Store};
use crate::trace::{Keep, Trace};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use vipsec_wire::id::Epoch;
use vipsec_wire::time::Timestamp;

/// When all runs begin.
pub const BEGIN: Timestamp = Timestamp(1_700_000_000_000_000);
/// The applications act so often.
const TICK: Duration = Duration::from_millis(5);
/// More events than any run has: one that gets here turns in a circle.
const EVENTS_MAX: u64 = 30_000_000;

/// Everything.
pub struct World {
    plan: Plan,
    now: Timestamp,
    queue: Queue,
    random: Generator,
    hosts: BTreeMap<HostId, Host>,
    /// The cluster's under the host `a`, a peer's under its own.
    stores: BTreeMap<HostId, Store>,
    outside: Segment,
    fabric: Segment,
    inside: Segment,
    links: Links,
    serials: Serials,
    processes: u64,
    /// Numbers for faults that come now and then.
    oddities: u64,
    /// Workers' processes that stand still for a transfer.
    frozen: BTreeSet<u64>,
    /// The highest epoch that each process was told of.
    told: BTreeMap<Actor, Epoch>,
    checkers: Checkers,
    trace: Trace,
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What was violated; `None` when everything held.
    pub violation: Option<Violation>,
    /// What was seen.
    pub trace: Trace,
    /// Numbers of the run.
    pub totals: Totals,
}

/// Numbers of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events of the simulation.
    pub events: u64,
    /// Datagrams that applications have sent.
    pub sent: u64,
    /// Answers that they got.
    pub received: u64,
    /// TCP connections that came to a good end.
    pub finished: u64,
    /// TCP connections that broke.
    pub broken: u64,
}

impl World {
    /// The world of a plan, with all processes about to start.
    #[must_use]
    pub fn new(plan: Plan, keep: Keep) -> World {
        let mut random = Generator::new(plan.seed);
        let good = Quality::good();
        let mut world = World {
            now: BEGIN,
            queue: Queue::default(),
            hosts: BTreeMap::new(),
            stores: BTreeMap::new(),
            outside: Segment::new(plan.outside),
            fabric: Segment::new(plan.fabric),
            inside: Segment::new(good),
            links: Links::default(),
            serials: Serials::default(),
            processes: 0,
            oddities: 0,
            frozen: BTreeSet::new(),
            checkers: Checkers::new(plan.settings.window, plan.settings.synchronise),
            told: BTreeMap::new(),
            trace: Trace::new(keep, BEGIN),
            random: random.fork(),
            plan,
        };
        world.populate(&mut random);
        world.note_wires();
        world
    }

    fn populate(&mut self, random: &mut Generator) {
        let pace = self.plan.store;
        let nodes = self.plan.nodes();
        let peers = self.plan.peer_hosts();
        self.stores.insert(HostId::candidate(0), new_store(random, pace));
        let quick = Duration::from_micros(100);
        let own = Pace { latency: quick, jitter: quick, watch: quick };
        for peer in &peers {
            self.stores.insert(*peer, new_store(random, own));
            self.outside.learn(addresses::peer(*peer), *peer);
        }
        let skew = u64::try_from(self.plan.skew.as_micros()).unwrap_or(0);
        for id in nodes.iter().chain(&peers).copied().chain([HostId::protected()]) {
            let mut host = Host::new(id, random.between(0, skew));
            self.furnish(&mut host);
            self.hosts.insert(id, host);
            if id != HostId::protected() {
                let at = self.now + random.span(Duration::ZERO, Duration::from_millis(300));
                self.queue.push(at, Event::Start(id));
            }
            self.queue.push(self.now + TICK, Event::Apps(id));
        }
        for (index, (after, _)) in self.plan.steps.iter().enumerate() {
            self.queue.push(self.now + *after, Event::Plan(index));
        }
        let calm = self.plan.length.saturating_sub(self.plan.calm);
        self.queue.push(self.now + calm, Event::Calm);
        self.queue.push(self.now + self.plan.length, Event::End);
    }

    /// Puts the applications on a host.
    fn furnish(&self, host: &mut Host) {
        let traffic = self.plan.traffic;
        let (vip, inner) = (addresses::VIP.0, addresses::INNER_SERVICE);
        let echo = |address| SocketAddr::new(address, addresses::ECHO);
        let during = (BEGIN, BEGIN + self.plan.length);
        let flow = |port, goal| UdpFlow::new(port, goal, traffic.interval, 120, during);
        if host.id.is_node() {
            host.apps.udp_services.extend([echo(vip), echo(inner)]);
            host.apps.tcp_services.insert(SocketAddr::new(vip, addresses::WEB));
        } else if host.id == HostId::protected() {
            host.address = Some(addresses::PROTECTED);
            host.apps.udp_services.insert(echo(addresses::PROTECTED));
            if traffic.protected {
                let peers = self.plan.peer_hosts();
                let to = |peer| flow(5000, Goal::Host(peer, addresses::ECHO));
                host.apps.flows.extend(peers.into_iter().map(to));
            }
        } else {
            host.apps.echo = Some(addresses::ECHO);
            let udp = (0..traffic.udp).map(|n| flow(4001 + n, Goal::Service(echo(vip))));
            host.apps.flows.extend(udp);
            if traffic.inner {
                host.apps.flows.push(flow(3000, Goal::Service(echo(inner))));
            }
            if traffic.protected {
                host.apps.flows.push(flow(3001, Goal::Service(echo(addresses::PROTECTED))));
            }
            let web = SocketAddr::new(vip, addresses::WEB);
            let callers = (0..traffic.tcp).map(|n| Caller::new(web, 10_000 + 1000 * n, during));
            host.apps.callers.extend(callers);
        }
    }

    /// Runs to the end, or to the first violation.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let mut events = 0;
        while let Some((at, event)) = self.queue.pop() {
            self.now = at;
            events += 1;
            if matches!(event, Event::End) || self.checkers.violation().is_some() {
                break;
            }
            if events > EVENTS_MAX {
                self.checkers.complain(at, "progress", "the run turns in a circle".to_owned());
                break;
            }
            self.happen(event);
        }
        self.checkers.finish(self.now);
        let totals = self.totals(events);
        Outcome { violation: self.checkers.violation().cloned(), trace: self.trace, totals }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Outside(to, packet) => self.outside_arrived(to, packet),
            Event::Fabric(to, from, bytes) => self.frame_arrived(to, from, bytes),
            Event::Inside(to, packet) => self.kernel_in(to, &packet),
            Event::Learn(wire, address, host) => self.segment(wire).learn(address, host),
            Event::Process(host, process, input) => self.input(host, process, input),
            Event::StoreRequest(host, process, request) => {
                self.store_request(host, process, request);
            }
            Event::Connect(one, other) => self.connect(one, other),
            Event::GiveUp(link) => self.give_up(link),
            Event::Missed(host, process, other) => self.missed(host, process, other),
            Event::Apps(host) => self.apps(host),
            Event::Plan(index) => self.step(index),
            Event::Start(host) => self.start(host),
            Event::Calm => self.calm_down(),
            Event::End => {}
        }
    }

    fn segment(&mut self, wire: Wire) -> &mut Segment {
        match wire {
            Wire::Outside => &mut self.outside,
            Wire::Fabric => &mut self.fabric,
            Wire::Inside => &mut self.inside,
        }
    }

    /// Shows something to the checkers.
    fn note(&mut self, observation: Observation) {
        self.trace.note(self.now, &observation);
        self.checkers.note(self.now, &observation);
    }

    /// The store of a host, under its name.
    fn store_of(&self, host: HostId) -> HostId {
        if host.is_peer() { host } else { HostId::candidate(0) }
    }

    fn totals(&self, events: u64) -> Totals {
        let mut totals = Totals { events, ..Totals::default() };
        for host in self.hosts.values() {
            for flow in &host.apps.flows {
                totals.sent += flow.sent;
                totals.received += flow.received;
            }
            for caller in &host.apps.callers {
                totals.finished += caller.finished;
                totals.broken += caller.broken;
            }
        }
        totals
    }
}

fn new_store(random: &mut Generator, pace: Pace) -> Store {
    let mut key = [0; 32];
    vipsec_crypto::Random::fill(random, &mut key);
    Store::new(key, pace)
}
