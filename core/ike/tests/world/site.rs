//! One side: an engine, its store with group commit, its data path as far as SAs are concerned.

use super::{Packet, Seeded, Side};
use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};
use vipsec_esp::ChildSa;
use vipsec_ike::{Change, Config, Engine, Event, Output, Stored, Ticket};
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId};
use vipsec_wire::record::{self, v1};
use vipsec_wire::time::Timestamp;

/// What has happened to writes under way when an owner dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They are in the store.
    Written,
    /// They are not.
    Lost,
}

/// An SA in the data path.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub sa: ChildSa,
    pub outbound: bool,
}

/// The store: bytes, as the real one has them.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) constants: BTreeMap<IkeSaId, Vec<u8>>,
    pub states: BTreeMap<IkeSaId, Vec<u8>>,
    pub children: BTreeMap<EspSpi, Vec<u8>>,
    pub leases: BTreeMap<IpAddr, Vec<u8>>,
    pub writes: usize,
}

impl Store {
    pub(crate) fn write(&mut self, changes: &[Change]) {
        self.writes += 1;
        for change in changes {
            match change {
                Change::IkeConstant(constant) => {
                    let bytes = record::encode(&**constant).expose().to_vec();
                    self.constants.insert(constant.id, bytes);
                }
                Change::IkeMutable { id, state } => {
                    self.states.insert(*id, record::encode(&**state).expose().to_vec());
                }
                Change::IkeGone(id) => {
                    self.constants.remove(id);
                    self.states.remove(id);
                }
                Change::ChildConstant(constant) => {
                    let bytes = record::encode(&**constant).expose().to_vec();
                    self.children.insert(constant.inbound.spi, bytes);
                }
                Change::ChildGone { spi_in, .. } => {
                    self.children.remove(spi_in);
                }
                Change::Lease(lease) => {
                    self.leases.insert(lease.address, record::encode(&**lease).expose().to_vec());
                }
                Change::LeaseGone(address) => {
                    self.leases.remove(address);
                }
            }
        }
    }

    /// Everything, as a new owner reads it.
    pub(crate) fn load(&self) -> Vec<Change> {
        let children = self.children.values().map(|bytes| {
            let constant: v1::ChildConstant = record::decode(bytes).expect("a record");
            Change::ChildConstant(Box::new(constant))
        });
        let constants = self.constants.values().map(|bytes| {
            let constant: v1::IkeConstant = record::decode(bytes).expect("a record");
            Change::IkeConstant(Box::new(constant))
        });
        let states = self.states.iter().map(|(id, bytes)| {
            let state: v1::IkeMutable = record::decode(bytes).expect("a record");
            Change::IkeMutable { id: *id, state: Box::new(state) }
        });
        let leases = self.leases.values().map(|bytes| {
            let lease: v1::Lease = record::decode(bytes).expect("a record");
            Change::Lease(Box::new(lease))
        });
        children.chain(constants).chain(states).chain(leases).collect()
    }
}

/// How the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// At once.
    Prompt,
    /// Not before it is told to.
    Held,
    Refusing,
    /// New SAs go on as unprotected, others wait.
    Down,
}

pub(crate) struct Site {
    pub side: Side,
    pub config: Config,
    pub engine: Engine,
    pub epoch: Epoch,
    pub store: Store,
    pub(crate) mode: Mode,
    pub waiting: VecDeque<(Ticket, bool, Vec<Change>)>,
    pub held: Vec<Output>,
    /// Messages whose write is confirmed.
    pub released: VecDeque<Packet>,
    pub mirrored: BTreeMap<IkeSaId, Vec<u8>>,
    pub installed: BTreeMap<EspSpi, Installed>,
    pub events: Vec<Event>,
    /// Names whose addresses were asked for.
    pub resolving: Vec<String>,
    /// Family, inbound, outbound.
    pub jumps: Vec<(IkeSaId, u64, u64)>,
    /// Every SA that was ever installed, and whether to be sent on at once.
    pub(crate) history: BTreeMap<EspSpi, bool>,
    /// Every SA that was removed, and whether as replaced.
    pub(crate) removed: BTreeMap<EspSpi, bool>,
}

impl Site {
    pub(crate) fn new(side: Side, config: Config, now: Timestamp, rng: &mut Seeded) -> Site {
        let mut engine = Engine::new(config.clone());
        let epoch = Epoch(1);
        engine.become_owner(now, epoch, rng);
        Site {
            side,
            config,
            engine,
            epoch,
            store: Store::default(),
            mode: Mode::Prompt,
            waiting: VecDeque::new(),
            held: Vec::new(),
            released: VecDeque::new(),
            mirrored: BTreeMap::new(),
            installed: BTreeMap::new(),
            events: Vec::new(),
            resolving: Vec::new(),
            jumps: Vec::new(),
            history: BTreeMap::new(),
            removed: BTreeMap::new(),
        }
    }

    /// Backups that follow a new IKE SA drop its half-open form.
    fn write(&mut self, changes: &[Change]) {
        self.store.write(changes);
        self.mirrored.retain(|id, _| !self.store.constants.contains_key(id));
    }

    /// A fresh engine, as another node has it that has followed the store and the mirror.
    pub(crate) fn standby(&self, now: Timestamp) -> Engine {
        let mut engine = Engine::new(self.config.clone());
        for change in self.store.load() {
            engine.apply(now, change).expect("what was written can be read");
        }
        for state in self.mirrored.values() {
            engine.apply_mirrored(now, state).expect("what was mirrored can be read");
        }
        assert!(engine.poll_output().is_none() && engine.poll_timeout().is_none());
        engine
    }

    pub(crate) fn take_over(&mut self, now: Timestamp, fate: Fate, rng: &mut Seeded) {
        for (_, _, changes) in core::mem::take(&mut self.waiting) {
            if fate == Fate::Written {
                self.write(&changes);
            }
        }
        self.held.clear();
        self.released.clear();
        self.engine = self.standby(now);
        self.epoch = Epoch(self.epoch.0 + 1);
        self.engine.become_owner(now, self.epoch, rng);
        let children = self.engine.children();
        self.installed = children
            .map(|view| {
                let installed = Installed { outbound: view.outbound, sa: view.sa };
                (installed.sa.inbound.spi, installed)
            })
            .collect();
    }

    /// One step of what the engine wants; the inner value is a message to be sent.
    pub(crate) fn poll(&mut self, now: Timestamp, rng: &mut Seeded) -> Option<Option<Packet>> {
        if let Some(packet) = self.released.pop_front() {
            return Some(Some(packet));
        }
        if let Some(output) = self.engine.poll_output() {
            if is_held(&output).is_some() {
                self.held.push(output);
                return Some(None);
            }
            return Some(self.perform(output));
        }
        // Without a store each write waits for itself.
        let passes = |write: &(Ticket, bool, Vec<Change>)| self.mode != Mode::Down || write.1;
        let place = self.waiting.iter().position(passes)?;
        let (ticket, new_sa, changes) = self.waiting.remove(place)?;
        let outcome = match self.mode {
            Mode::Prompt => {
                self.write(&changes);
                Stored::Confirmed
            }
            Mode::Refusing => Stored::Refused,
            Mode::Down => Stored::Unprotected,
            Mode::Held => {
                self.waiting.push_front((ticket, new_sa, changes));
                return None;
            }
        };
        self.answer(now, ticket, outcome, rng);
        Some(None)
    }

    /// The store answers: what was held leaves or is dropped.
    fn answer(&mut self, now: Timestamp, ticket: Ticket, outcome: Stored, rng: &mut Seeded) {
        let (ready, held): (Vec<_>, Vec<_>) =
            core::mem::take(&mut self.held).into_iter().partition(|o| is_held(o) == Some(ticket));
        self.held = held;
        if outcome != Stored::Refused {
            for output in ready {
                let packet = self.perform(output);
                self.released.extend(packet);
            }
        }
        self.engine.handle_stored(now, ticket, outcome, rng);
    }

    fn perform(&mut self, output: Output) -> Option<Packet> {
        match output {
            Output::Transmit { local, remote, message, .. } => {
                let to = self.side.other();
                return Some(Packet { to, source: local, destination: remote, message });
            }
            Output::Persist { ticket, new_sa, changes } => {
                self.waiting.push_back((ticket, new_sa, changes));
            }
            Output::Install { sa, outbound, .. } => {
                let spi = sa.inbound.spi;
                self.history.insert(spi, outbound);
                let before = self.installed.insert(spi, Installed { sa: *sa, outbound });
                assert!(before.is_none(), "installed twice");
            }
            Output::ActivateOutbound { spi_in, .. } => {
                self.installed.get_mut(&spi_in).expect("it is installed").outbound = true;
            }
            Output::Remove { spi_in, replaced, .. } => {
                self.removed.insert(spi_in, replaced);
                self.installed.remove(&spi_in).expect("it is installed");
            }
            Output::Endpoints { ike, endpoints, .. } => {
                for installed in self.installed.values_mut().filter(|i| i.sa.ike == ike) {
                    installed.sa.endpoints = endpoints;
                }
            }
            Output::Mirror { id, state } => {
                self.mirrored.insert(id, state.expose().to_vec());
            }
            Output::DropHalfOpen { id } => {
                self.mirrored.remove(&id);
            }
            Output::Resolve { name } => self.resolving.push(name),
            Output::Jump { ike, inbound, outbound, .. } => {
                self.jumps.push((ike, inbound, outbound))
            }
            Output::Event(event) => self.events.push(event),
        }
        None
    }

    /// The only IKE SA that is in use.
    pub(crate) fn ike(&self) -> IkeSaId {
        let mut established =
            self.engine.ike_sas().filter(|view| view.phase == v1::IkePhase::Established);
        established.next().expect("an IKE SA").id
    }

    /// The Child SA that is in use and sent on.
    pub(crate) fn active_child(&self) -> EspSpi {
        let mut active = self
            .engine
            .children()
            .filter(|view| view.phase == v1::ChildPhase::Active && view.outbound);
        active.next().expect("a Child SA").sa.inbound.spi
    }

    /// What is stored is what the engine has.
    pub(crate) fn check_store(&self) {
        let stored: Vec<_> = self.store.constants.keys().copied().collect();
        let live: Vec<_> = self.engine.ike_sas().map(|view| view.id).collect();
        assert_eq!(stored, live, "IKE SAs in the store of {:?}", self.side);
        let stored: Vec<_> = self.store.children.keys().copied().collect();
        let live: Vec<_> = self.installed.keys().copied().collect();
        assert_eq!(stored, live, "Child SAs in the store of {:?}", self.side);
        let stored: Vec<v1::Lease> = self
            .store
            .leases
            .values()
            .map(|bytes| record::decode(bytes).expect("a record"))
            .collect();
        let live: Vec<_> = self.engine.leases().map(|view| view.lease).collect();
        assert_eq!(stored, live, "leases in the store of {:?}", self.side);
    }

    pub(crate) fn has_event(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(wanted)
    }
}

fn is_held(output: &Output) -> Option<Ticket> {
    match output {
        Output::Transmit { after, .. }
        | Output::Install { after, .. }
        | Output::ActivateOutbound { after, .. }
        | Output::Remove { after, .. }
        | Output::Jump { after, .. }
        | Output::Endpoints { after, .. } => *after,
        _ => None,
    }
}
