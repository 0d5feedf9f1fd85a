//! The scripted cluster. It keeps the promises of the shell (every claim and read is answered, the
//! heartbeat leaves at once when it is set) and breaks everything else on demand.

use crate::store::memory::Memory;
use crate::store::{Backend, Condition, Key, Operation, Outcome, Revision, Transaction};
use crate::{
    Candidate, ClaimOutcome, Cluster, Config, EpochRead, EpochRecord, Event, Floor, Heartbeat, How,
    LinkChange, Member, Message, Output, RecordMaxima, Roles, StoreHealth, TakeBack, Timers,
    VipConfig,
};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use vipsec_wire::id::{Epoch, NodeName, Vip};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn name(text: &str) -> NodeName {
    NodeName::try_from(text.to_owned()).expect("the tests' names are good")
}

pub(super) fn vip() -> Vip {
    Vip("192.0.2.10".parse().expect("an address"))
}

/// What is under way.
#[derive(Debug)]
enum Due {
    Beat {
        from: NodeName,
        beat: Heartbeat,
    },
    Message {
        from: NodeName,
        message: Message,
    },
    Link {
        peer: NodeName,
        change: LinkChange,
    },
    /// A claim reaches the store.
    Claim {
        expect: Option<Revision>,
        record: EpochRecord,
        discard: bool,
    },
    Claimed(ClaimOutcome),
    /// A read reaches the store.
    Read,
    Record(EpochRead),
    Frozen,
}

/// One node's process.
pub(super) struct Process {
    pub(super) cluster: Cluster,
    life: u64,
    pub(super) beat: Option<Heartbeat>,
    next_beat: Timestamp,
    frozen: bool,
    /// The next sequence number of the epoch that it owns.
    next: u64,
    pub(super) events: Vec<Event>,
    pub(super) outputs: Vec<Output>,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) store: Memory,
    pub(super) processes: BTreeMap<NodeName, Process>,
    /// The local floor files.
    pub(super) floors: BTreeMap<NodeName, Floor>,
    /// From, to: nothing goes this way.
    pub(super) cut: BTreeSet<(NodeName, NodeName)>,
    /// Nodes that do not reach the store.
    pub(super) no_store: BTreeSet<NodeName>,
    /// Nodes that do not answer a freeze.
    pub(super) never_frozen: BTreeSet<NodeName>,
    /// Nodes whose messages (not heartbeats) are lost.
    pub(super) mute: BTreeSet<NodeName>,
    /// Of a thousand heartbeats, so many are lost.
    pub(super) loss_permille: u64,
    /// Every owner that there was.
    pub(super) owners: BTreeMap<Epoch, (NodeName, How)>,
    /// The last sequence number sent in an epoch.
    pub(super) sent: BTreeMap<Epoch, u64>,
    pub(super) maxima: RecordMaxima,
    pub(super) takeback: TakeBack,
    pub(super) recent_starts: u32,
    pub(super) store_delay: Duration,
    members: Vec<(NodeName, u8)>,
    queue: BTreeMap<(Timestamp, u64), (NodeName, u64, Due)>,
    lives: u64,
    order: u64,
    dice: u64,
}

/// One packet each so often, by every owner that may send.
const PACKET: Duration = Duration::from_millis(1);
const WATCH_DELAY: Duration = Duration::from_millis(8);
const WIRE_DELAY: Duration = Duration::from_micros(300);

impl World {
    /// Candidates with their ranks; rank 0 is a target only. Nobody runs yet.
    pub(super) fn new(members: &[(&str, u8)]) -> World {
        World {
            now: Timestamp(1_700_000_000_000_000),
            store: Memory::new(),
            processes: BTreeMap::new(),
            floors: BTreeMap::new(),
            cut: BTreeSet::new(),
            no_store: BTreeSet::new(),
            never_frozen: BTreeSet::new(),
            mute: BTreeSet::new(),
            loss_permille: 0,
            owners: BTreeMap::new(),
            sent: BTreeMap::new(),
            maxima: RecordMaxima::default(),
            takeback: TakeBack::Manual,
            recent_starts: 0,
            store_delay: ms(3),
            members: members.iter().map(|(node, rank)| (name(node), *rank)).collect(),
            queue: BTreeMap::new(),
            lives: 0,
            order: 0,
            dice: 1,
        }
    }

    /// All members run and one owns.
    pub(super) fn running(members: &[(&str, u8)]) -> World {
        let mut world = World::new(members);
        world.start_all();
        world.run(ms(1500));
        assert_eq!(world.owner(), Some(name(members[0].0)), "the first has the highest rank");
        world
    }

    pub(super) fn seed(&mut self, seed: u64) {
        self.dice = seed.wrapping_mul(2).wrapping_add(1);
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
        (self.dice >> 33) % sides
    }

    pub(super) fn names(&self) -> Vec<NodeName> {
        self.members.iter().map(|(node, _)| node.clone()).collect()
    }

    fn config(&self, node: &NodeName) -> Config {
        let member = |(name, rank): &(NodeName, u8)| Member {
            name: name.clone(),
            public_key: [0; 32],
            roles: Roles { candidate: *rank > 0, target: true },
            control: "10.1.0.1:7400".parse().expect("an address"),
            fabric: "10.1.0.1:7401".parse().expect("an address"),
        };
        let ranked = self.members.iter().filter(|(_, rank)| *rank > 0);
        let candidates = ranked.map(|(node, rank)| Candidate { node: node.clone(), rank: *rank });
        Config {
            node: node.clone(),
            incarnation: self.now.0,
            recent_starts: self.recent_starts,
            members: self.members.iter().map(member).collect(),
            vips: vec![VipConfig {
                vip: vip(),
                candidates: candidates.collect(),
                takeback: self.takeback,
                floor: self.floors.get(node).copied().unwrap_or_default(),
            }],
            timers: Timers::default(),
        }
    }

    fn is_candidate(&self, node: &NodeName) -> bool {
        self.members.iter().any(|(member, rank)| member == node && *rank > 0)
    }

    pub(super) fn start_all(&mut self) {
        for node in self.names() {
            self.start(&node);
        }
    }

    pub(super) fn start(&mut self, node: &NodeName) {
        self.lives += 1;
        let process = Process {
            cluster: Cluster::new(self.config(node)),
            life: self.lives,
            beat: None,
            next_beat: self.now,
            frozen: false,
            next: 0,
            events: Vec::new(),
            outputs: Vec::new(),
        };
        self.processes.insert(node.clone(), process);
        self.act(node, |cluster, now| cluster.handle_start(now));
        for peer in self.processes.keys().filter(|peer| *peer != node).cloned().collect::<Vec<_>>()
        {
            self.connect(node, &peer);
        }
        if self.is_candidate(node) {
            self.load(node);
        }
    }

    /// The first read, or the one after the store came back.
    fn load(&mut self, node: &NodeName) {
        let read = self.read(true);
        let followed = read.as_ref().map(|read| read.as_of).unwrap_or_default();
        let maxima = RecordMaxima { followed, ..self.maxima };
        match (read, self.no_store.contains(node)) {
            (Some(read), false) => self.act(node, |cluster, now| {
                cluster.handle_store_health(now, StoreHealth::Up);
                cluster.handle_epoch_record(now, vip(), read);
                cluster.handle_records(now, vip(), maxima);
            }),
            _ => self.act(node, |cluster, now| {
                cluster.handle_store_health(now, StoreHealth::Down);
            }),
        }
    }

    /// SIGKILL: its peers' kernels close the connections.
    pub(super) fn kill(&mut self, node: &NodeName) {
        self.processes.remove(node);
        self.reset_links(node, LinkChange::Closed);
    }

    /// The machine is switched off: nobody closes anything.
    pub(super) fn vanish(&mut self, node: &NodeName) {
        self.processes.remove(node);
    }

    /// The control connections break for those who live.
    pub(super) fn reset_links(&mut self, node: &NodeName, change: LinkChange) {
        let peers: Vec<NodeName> = self.processes.keys().filter(|p| *p != node).cloned().collect();
        for peer in peers {
            self.push(WIRE_DELAY, &peer, Due::Link { peer: node.clone(), change });
            if self.processes.contains_key(node) {
                self.push(WIRE_DELAY, node, Due::Link { peer: peer.clone(), change });
                self.connect_after(ms(30), node, &peer);
            }
        }
    }

    fn connect(&mut self, one: &NodeName, other: &NodeName) {
        self.connect_after(ms(5), one, other);
    }

    pub(super) fn connect_after(&mut self, delay: Duration, one: &NodeName, other: &NodeName) {
        if self.is_cut(one, other) || self.is_cut(other, one) {
            return;
        }
        let up = |peer: &NodeName| Due::Link { peer: peer.clone(), change: LinkChange::Up };
        self.push(delay, one, up(other));
        self.push(delay, other, up(one));
    }

    /// Cuts both ways; the connection breaks by time-out.
    pub(super) fn part(&mut self, one: &NodeName, other: &NodeName) {
        self.cut.insert((one.clone(), other.clone()));
        self.cut.insert((other.clone(), one.clone()));
        for (node, peer) in [(one, other), (other, one)] {
            let peer = peer.clone();
            self.push(ms(400), node, Due::Link { peer, change: LinkChange::Lost });
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
        let names = self.names();
        for (at, one) in names.iter().enumerate() {
            for other in &names[at + 1..] {
                self.connect(one, other);
            }
        }
    }

    fn is_cut(&self, from: &NodeName, to: &NodeName) -> bool {
        self.cut.contains(&(from.clone(), to.clone()))
    }

    pub(super) fn lose_store(&mut self, node: &NodeName) {
        self.no_store.insert(node.clone());
        self.act(node, |cluster, now| cluster.handle_store_health(now, StoreHealth::Down));
    }

    pub(super) fn find_store(&mut self, node: &NodeName) {
        self.no_store.remove(node);
        self.load(node);
    }

    fn push(&mut self, delay: Duration, node: &NodeName, due: Due) {
        let Some(process) = self.processes.get(node) else { return };
        self.order += 1;
        self.queue.insert((self.now + delay, self.order), (node.clone(), process.life, due));
    }

    /// Something happens to a process, and what it wants then is done.
    pub(super) fn act(&mut self, node: &NodeName, act: impl FnOnce(&mut Cluster, Timestamp)) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(node) else { return };
        act(&mut process.cluster, now);
        let mut outputs = Vec::new();
        while let Some(output) = process.cluster.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            self.carry_out(node, output);
        }
        self.check(node);
    }

    fn carry_out(&mut self, node: &NodeName, output: Output) {
        if let Some(process) = self.processes.get_mut(node)
            && !matches!(output, Output::Event(_) | Output::SetHeartbeat(_))
        {
            process.outputs.push(output.clone());
        }
        match output {
            Output::Send { to, message } => {
                if self.is_cut(node, &to) || self.mute.contains(node) {
                    return;
                }
                self.push(WIRE_DELAY, &to, Due::Message { from: node.clone(), message });
            }
            Output::Claim { expect, record, discard, .. } => {
                self.push(self.store_delay, node, Due::Claim { expect, record, discard });
            }
            Output::Refresh { .. } => self.push(self.store_delay, node, Due::Read),
            Output::Own { epoch, how, .. } => self.own(node, epoch, how),
            Output::Freeze { .. } => {
                self.process(node).frozen = true;
                if !self.never_frozen.contains(node) {
                    self.push(ms(2), node, Due::Frozen);
                }
            }
            Output::Thaw { .. } => self.process(node).frozen = false,
            Output::RecordFloor { floor, .. } => {
                let before = self.floors.insert(node.clone(), floor);
                assert!(before.unwrap_or_default() < floor, "a floor never goes down");
            }
            Output::SetHeartbeat(beat) => {
                self.process(node).beat = Some(beat);
                self.beat(node);
            }
            Output::Event(event) => self.process(node).events.push(event),
            _ => {}
        }
    }

    pub(super) fn process(&mut self, node: &NodeName) -> &mut Process {
        self.processes.get_mut(node).expect("it runs")
    }

    fn own(&mut self, node: &NodeName, epoch: Epoch, how: How) {
        let handed_over = match &how {
            How::Transfer { handover, .. } => {
                let next: [u8; 8] = handover.expose().try_into().expect("eight bytes");
                let next = u64::from_be_bytes(next);
                let before = self.sent.get(&Epoch(epoch.0 - 1)).copied();
                assert_eq!(before, Some(next - 1), "nothing was sent beyond what was handed over");
                next
            }
            _ => epoch.0 << 32,
        };
        let other = self.owners.insert(epoch, (node.clone(), how));
        assert_eq!(other, None, "two owners in epoch {epoch}");
        let process = self.process(node);
        process.next = handed_over;
        process.frozen = false;
    }

    fn beat(&mut self, node: &NodeName) {
        let interval = Timers::default().heartbeat;
        let now = self.now;
        let process = self.process(node);
        process.next_beat = now + interval;
        let Some(beat) = process.beat.clone() else { return };
        for peer in self.names() {
            let lost = self.loss_permille > 0 && self.roll(1000) < self.loss_permille;
            if peer != *node && !lost && !self.is_cut(node, &peer) {
                self.push(WIRE_DELAY, &peer, Due::Beat { from: node.clone(), beat: beat.clone() });
            }
        }
    }

    /// What must hold for a process after everything that happens to it.
    fn check(&self, node: &NodeName) {
        let Some(process) = self.processes.get(node) else { return };
        let view = process.cluster.vips().remove(0);
        if let Some(epoch) = process.cluster.owned_epoch(vip()) {
            assert_eq!(view.epoch, epoch, "{node} owns, but knows a higher epoch");
            assert_eq!(view.owner.as_ref(), Some(node));
            assert_eq!(self.owners.get(&epoch).map(|owner| &owner.0), Some(node));
        }
    }

    fn read(&mut self, fresh: bool) -> Option<EpochRead> {
        let key = Key::epoch(vip());
        let (entries, as_of) = self.store.range(key.as_str()).ok()?;
        let record = entries.first().map(|entry| (decode(&entry.value), entry.revision));
        Some(EpochRead { record, as_of, fresh })
    }

    fn claim(&mut self, node: &NodeName, due: (Option<Revision>, EpochRecord, bool)) {
        let (revision, record, discard) = due;
        if self.no_store.contains(node) {
            return self.push(ms(1), node, Due::Claimed(ClaimOutcome::Failed));
        }
        let key = Key::epoch(vip());
        let value = encode(&record);
        let put = Operation::Put { key: key.clone(), value };
        let prefix = Operation::DeletePrefix { prefix: Key::vip_prefix(vip()) };
        let operations = if discard { vec![prefix, put] } else { vec![put] };
        let conditions = vec![Condition::RevisionIs { key, revision }];
        let outcome = match self.store.commit(&[Transaction { conditions, operations }]) {
            Ok(outcomes) => match outcomes[0] {
                Outcome::Committed(at) => ClaimOutcome::Won(at),
                Outcome::Refused { .. } => ClaimOutcome::Lost,
            },
            Err(_) => ClaimOutcome::Failed,
        };
        if discard && matches!(outcome, ClaimOutcome::Won(_)) {
            self.maxima = RecordMaxima::default();
        }
        self.push(ms(1), node, Due::Claimed(outcome));
        for watcher in self.names() {
            let reaches = self.is_candidate(&watcher) && !self.no_store.contains(&watcher);
            if let Some(read) = self.read(false).filter(|_| reaches) {
                self.push(WATCH_DELAY, &watcher, Due::Record(read));
            }
        }
    }

    fn deliver(&mut self, node: &NodeName, due: Due) {
        match due {
            Due::Claim { expect, record, discard } => self.claim(node, (expect, record, discard)),
            Due::Read => {
                if let Some(read) = self.read(true).filter(|_| !self.no_store.contains(node)) {
                    self.push(ms(1), node, Due::Record(read));
                }
            }
            Due::Beat { from, beat } => {
                self.act(node, |cluster, now| cluster.handle_heartbeat(now, &from, &beat));
            }
            Due::Message { from, message } => {
                self.act(node, |cluster, now| cluster.handle_message(now, &from, message));
            }
            Due::Link { peer, change } => {
                let there = change != LinkChange::Up || self.processes.contains_key(&peer);
                if there {
                    self.act(node, |cluster, now| cluster.handle_link(now, &peer, change));
                }
                if there && change == LinkChange::Up {
                    // New keys of the fabric are shown by a heartbeat.
                    self.beat(node);
                }
            }
            Due::Claimed(outcome) => {
                self.act(node, |cluster, now| cluster.handle_claim(now, vip(), outcome));
            }
            Due::Record(read) => {
                let maxima = RecordMaxima { followed: read.as_of, ..self.maxima };
                self.act(node, |cluster, now| {
                    cluster.handle_epoch_record(now, vip(), read);
                    cluster.handle_records(now, vip(), maxima);
                });
            }
            Due::Frozen => {
                let next = self.process(node).next;
                let handover = SecretBytes::new(next.to_be_bytes().to_vec());
                let written = self.store.revision().unwrap_or_default();
                self.act(node, |cluster, now| cluster.handle_frozen(now, vip(), handover, written));
            }
        }
    }

    /// Owners that may send do.
    fn send_packets(&mut self) {
        for (node, process) in &mut self.processes {
            let owned = process.cluster.owned_epoch(vip());
            if let Some(epoch) = owned.filter(|_| !process.frozen) {
                let last = self.sent.insert(epoch, process.next);
                assert!(last.is_none_or(|last| last < process.next), "{node} goes back");
                process.next += 1;
            }
        }
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        let mut packet = self.now;
        while self.now < end {
            let timers = self.processes.values().filter_map(|p| p.cluster.poll_timeout());
            let beats = self.processes.values().map(|process| process.next_beat);
            let queued = self.queue.keys().next().map(|(at, _)| *at);
            let next = timers.chain(beats).chain(queued).chain([packet]).min().unwrap_or(end);
            self.now = next.max(self.now).min(end);
            if self.now >= packet {
                packet = self.now + PACKET;
                self.send_packets();
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (node, life, due) = entry.remove();
            if self.processes.get(&node).is_some_and(|process| process.life == life) {
                self.deliver(&node, due);
            }
        }
        for node in self.names() {
            let Some(process) = self.processes.get(&node) else { continue };
            if process.next_beat <= now {
                self.beat(&node);
            }
            let timeout = self.processes[&node].cluster.poll_timeout();
            if timeout.is_some_and(|at| at <= now) {
                self.act(&node, Cluster::handle_timeout);
                let again = self.processes[&node].cluster.poll_timeout();
                assert!(again.is_none_or(|at| at > now), "{node}: a timer that never ends");
            }
        }
    }

    /// The node that owns in the highest epoch.
    pub(super) fn owner(&self) -> Option<NodeName> {
        let owned = |process: &Process| process.cluster.owned_epoch(vip());
        let owners = self.processes.iter().filter_map(|(n, p)| Some((owned(p)?, n.clone())));
        owners.max().map(|(_, node)| node)
    }

    pub(super) fn owners_now(&self) -> usize {
        self.processes.values().filter(|p| p.cluster.owned_epoch(vip()).is_some()).count()
    }

    /// Runs until somebody owns an epoch above this one; how long that took.
    pub(super) fn run_until_owned_above(&mut self, epoch: u64, most: Duration) -> Duration {
        let begun = self.now;
        let above = |world: &World| world.owners.keys().last().is_some_and(|last| last.0 > epoch);
        while !above(self) {
            assert!(self.now.since(begun) < most, "nobody owns above epoch {epoch}");
            self.run(ms(1));
        }
        self.now.since(begun)
    }

    pub(super) fn epoch(&self) -> u64 {
        self.owners.keys().last().map_or(0, |epoch| epoch.0)
    }

    pub(super) fn saw(&self, node: &NodeName, event: impl Fn(&Event) -> bool) -> bool {
        self.processes.get(node).is_some_and(|process| process.events.iter().any(event))
    }
}

fn encode(record: &EpochRecord) -> Vec<u8> {
    format!("{} {} {}", record.epoch, record.owner, record.incarnation).into_bytes()
}

fn decode(value: &[u8]) -> EpochRecord {
    let text = core::str::from_utf8(value).expect("written by encode");
    let mut parts = text.split(' ');
    let mut part = || parts.next().expect("three parts");
    EpochRecord {
        epoch: Epoch(part().parse().expect("a number")),
        owner: name(part()),
        incarnation: part().parse().expect("a number"),
    }
}
