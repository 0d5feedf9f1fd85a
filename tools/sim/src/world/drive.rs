//! Inputs to a process: into the node or a worker, and what comes out of it carried out, one step
//! after another, any of which may be the last.

use super::World;
use crate::digest::Digest;
use crate::event::{Event, Input, Outer};
use crate::host::HostId;
use crate::observation::{Actor, Observation};
use crate::process::{Channel, Collected, Process, Worker};
use core::hash::{Hash, Hasher};
use core::time::Duration;
use vipsec_node::Link;
use vipsec_path::{Command, Role};
use vipsec_wire::time::Timestamp;

/// What a process takes at most to give something to another of its threads.
const THREADS: Duration = Duration::from_micros(60);
/// A timer that is due at once fires a little later.
const SOON: Duration = Duration::from_micros(20);

impl World {
    /// Gives an input to a process, if it is still that one.
    pub(super) fn input(&mut self, id: HostId, number: u64, input: Input) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let present = host.process.as_ref().is_some_and(|p| p.actor.process == number);
        if !present {
            return;
        }
        let Some(mut process) = host.process.take() else { return };
        if process.paused {
            process.keep(input);
            host.process = Some(process);
            return;
        }
        let clock = host.clock(self.now);
        let lives = self.handle(clock, &mut process, input);
        if lives {
            if let Some(host) = self.hosts.get_mut(&id) {
                host.process = Some(process);
            }
        } else {
            self.died(id, process.actor);
        }
    }

    /// Gives an input to whatever process runs on a host.
    pub(super) fn input_now(&mut self, id: HostId, input: Input) {
        let process = self.hosts.get(&id).and_then(|host| host.process.as_ref());
        if let Some(number) = process.map(|process| process.actor.process) {
            self.input(id, number, input);
        }
    }

    /// An input to a process later.
    pub(super) fn later(&mut self, after: Duration, process: &Process, input: Input) {
        let actor = process.actor;
        self.queue.push(self.now + after, Event::Process(actor.host, actor.process, input));
    }

    /// An input to a process, behind what is in that queue.
    pub(super) fn enqueue(
        &mut self,
        after: Duration,
        process: &mut Process,
        channel: Channel,
        input: Input,
    ) {
        let at = process.in_order(channel, self.now + after);
        let actor = process.actor;
        self.queue.push(at, Event::Process(actor.host, actor.process, input));
    }

    fn handle(&mut self, clock: Timestamp, process: &mut Process, input: Input) -> bool {
        match input {
            Input::Outer(packet) => {
                let hash = hash(&(packet.source, packet.destination));
                let worker = process.worker_for(hash);
                self.handle_outer(clock, process, worker, packet)
            }
            Input::Frame(from, bytes) => {
                let worker = process.worker_for(hash(&from));
                self.work(clock, process, worker, None, |path, out| {
                    let mut bytes = bytes;
                    path.handle_fabric(clock, from, &mut bytes, out);
                })
            }
            Input::Tun(packet) => self.handle_tun(clock, process, &packet),
            Input::Command(worker, command) => {
                self.handle_command(clock, process, worker, *command)
            }
            Input::HandOver(worker, kind, packet) => {
                let mut packet = packet;
                self.work(clock, process, worker, None, |path, out| {
                    path.handle_hand_over(clock, kind, &mut packet, out);
                })
            }
            Input::Ike(local, remote, message) => {
                self.send_ike(process, local, remote, &message);
                true
            }
            Input::WorkerTimer(worker) => self.worker_timer(clock, process, worker),
            other => self.handle_node(clock, process, other),
        }
    }

    fn handle_outer(
        &mut self,
        clock: Timestamp,
        process: &mut Process,
        worker: u16,
        packet: Outer,
    ) -> bool {
        let Outer { source, destination, tos, esp, mut payload } = packet;
        self.work(clock, process, worker, None, |path, out| {
            if esp {
                path.handle_esp(clock, destination.ip(), source.ip(), tos, &mut payload, out);
            } else {
                path.handle_udp(clock, destination, source, tos, &mut payload, out);
            }
        })
    }

    fn handle_tun(&mut self, clock: Timestamp, process: &mut Process, packet: &[u8]) -> bool {
        let serial = crate::app::packet::Inner::parse(packet).map(|inner| inner.serial);
        if let Some(serial) = serial {
            self.note(Observation::InnerReached(process.actor, serial));
        }
        let worker = process.worker_for(hash(&packet.get(12..24)));
        self.work(clock, process, worker, serial, |path, out| {
            path.handle_inner(clock, packet, out);
        })
    }

    fn handle_command(
        &mut self,
        clock: Timestamp,
        process: &mut Process,
        worker: u16,
        command: Command,
    ) -> bool {
        self.note_command(process, worker, &command);
        self.work(clock, process, worker, None, |path, out| {
            path.handle_command(clock, command, out);
        })
    }

    fn note_command(&mut self, process: &mut Process, worker: u16, command: &Command) {
        let by = process.actor;
        match command {
            Command::SetRole { vip, role } => {
                let owner = matches!(role, Role::Owner { .. });
                let epoch = role.epoch();
                if let Some(worker) = process.workers.get_mut(usize::from(worker))
                    && epoch >= worker.role.0
                {
                    worker.role = (epoch, owner);
                    self.frozen.remove(&by.process);
                    self.note(Observation::Role { by, vip: *vip, epoch, owner });
                }
            }
            Command::Edges { edges, .. } => {
                for (spi, edge) in edges {
                    self.note(Observation::EdgeTold(by, spi.0, *edge));
                }
            }
            Command::Install(sa, state) => {
                self.note(Observation::EdgeTold(by, sa.inbound.spi.0, state.edge));
                self.learn_address(by.host, sa);
            }
            Command::Handover { handover, .. } => {
                for sa in &handover.sas {
                    let edge = sa.window.as_ref().map_or(0, |window| window.edge);
                    self.note(Observation::EdgeTold(by, sa.spi_in.0, edge));
                }
            }
            Command::Freeze { .. } => {
                self.frozen.insert(by.process);
            }
            Command::Thaw { .. } => {
                self.frozen.remove(&by.process);
            }
            _ => {}
        }
    }

    /// A peer's kernel gets the address that the peer was assigned.
    fn learn_address(&mut self, host: HostId, sa: &vipsec_esp::ChildSa) {
        if host.is_peer()
            && let Some(host) = self.hosts.get_mut(&host)
        {
            host.address = sa.local.first().map(|selector| selector.first_address);
        }
    }

    fn worker_timer(&mut self, clock: Timestamp, process: &mut Process, worker: u16) -> bool {
        let Some(state) = process.workers.get_mut(usize::from(worker)) else { return true };
        if state.timer.is_none_or(|at| at > self.now) {
            return true;
        }
        state.timer = None;
        let due = state.path.poll_timeout().is_some_and(|at| at <= clock);
        self.work(clock, process, worker, None, |path, out| {
            if due {
                path.handle_timeout(clock, out);
            }
        })
    }

    /// Lets a worker do something, and carries out what comes of it.
    fn work(
        &mut self,
        clock: Timestamp,
        process: &mut Process,
        worker: u16,
        serial: Option<u64>,
        act: impl FnOnce(&mut vipsec_path::Path, &mut Collected),
    ) -> bool {
        let Some(state) = process.workers.get_mut(usize::from(worker)) else { return true };
        let mut collected = Collected::default();
        act(&mut state.path, &mut collected);
        self.note_drops(process.actor, state);
        for effect in collected.0 {
            if process.burn() {
                return false;
            }
            self.effect(process, worker, serial, effect);
        }
        while let Some(report) =
            process.workers.get_mut(usize::from(worker)).and_then(|w| w.path.poll_report())
        {
            if process.burn() {
                return false;
            }
            let delay = self.random.span(Duration::ZERO, THREADS);
            let input = Input::Report(worker, report);
            self.enqueue(delay, process, Channel::Reports(worker), input);
        }
        self.set_worker_timer(clock, process, worker);
        true
    }

    fn note_drops(&mut self, by: Actor, worker: &mut Worker) {
        if *worker.path.drops() == worker.drops {
            return;
        }
        let before = core::mem::replace(&mut worker.drops, worker.path.drops().clone());
        for (reason, count) in worker.drops.iter().filter(|(r, count)| *count > before.get(*r)) {
            for _ in before.get(reason)..count {
                self.note(Observation::Dropped(by, reason.name()));
            }
        }
    }

    fn set_worker_timer(&mut self, clock: Timestamp, process: &mut Process, worker: u16) {
        let Some(state) = process.workers.get_mut(usize::from(worker)) else { return };
        let Some(due) = state.path.poll_timeout() else { return };
        let at = self.now + due.since(clock).max(SOON);
        if state.timer.is_none_or(|set| at < set) {
            state.timer = Some(at);
            let actor = process.actor;
            let event = Event::Process(actor.host, actor.process, Input::WorkerTimer(worker));
            self.queue.push(at, event);
        }
    }

    fn handle_node(&mut self, clock: Timestamp, process: &mut Process, input: Input) -> bool {
        match input {
            Input::NodeTimer => {
                if process.timer.is_none_or(|at| at > self.now) {
                    return true;
                }
                process.timer = None;
                if process.node.poll_timeout().is_some_and(|at| at <= clock) {
                    process.node.handle_timeout(clock);
                }
            }
            Input::Report(worker, report) => {
                self.note_report(process, &report);
                process.node.handle_report(clock, worker, report);
            }
            Input::Store(reply) => {
                self.note_reply(process, &reply);
                process.node.handle_store(clock, reply);
            }
            Input::Watch => self.look(process),
            Input::Link(peer, link) => {
                let what = match link {
                    Link::Up(_) => "up",
                    Link::Closed => "closed",
                    Link::Lost => "lost",
                };
                self.note(Observation::Linked(process.actor, peer, what));
                process.node.handle_link(clock, &peer.node(), link);
            }
            Input::Message(from, content) => {
                self.note_message(process, &content);
                process.node.handle_peer_message(clock, &from.node(), &content);
            }
            Input::Probe(probe, success) => process.node.handle_probe(clock, probe, success),
            _ => {}
        }
        self.drain(clock, process)
    }

    /// Carries out what the node wants.
    pub(super) fn drain(&mut self, clock: Timestamp, process: &mut Process) -> bool {
        while let Some(output) = process.node.poll_output() {
            if process.burn() {
                return false;
            }
            self.output(process, output);
        }
        if let Some(due) = process.node.poll_timeout() {
            let at = self.now + due.since(clock).max(SOON);
            if process.timer.is_none_or(|set| at < set) {
                process.timer = Some(at);
                self.later(at.since(self.now), process, Input::NodeTimer);
            }
        }
        true
    }

    /// A delay within a process.
    pub(super) fn thread_delay(&mut self) -> Duration {
        self.random.span(Duration::from_micros(2), THREADS)
    }
}

fn hash<T: Hash>(value: &T) -> u64 {
    let mut digest = Digest::default();
    value.hash(&mut digest);
    digest.finish()
}
