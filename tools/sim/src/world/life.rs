//! Starts, deaths and pauses of processes.

use super::World;
use crate::app::tcp::Tcp;
use crate::blueprint::{self, Beginning};
use crate::event::{Event, Input};
use crate::host::HostId;
use crate::observation::{Actor, Observation};
use crate::process::Process;
use core::time::Duration;
use vipsec_node::Socket;

/// What a process that wakes takes at most until a queue of its is looked into.
const AWAKENING: Duration = Duration::from_millis(2);
/// Starts that a disk remembers.
const STARTS_KEPT: usize = 64;

impl World {
    /// Starts a process, if none runs.
    pub(super) fn start(&mut self, id: HostId) {
        let store = self.store_of(id);
        let candidate = id.is_peer() || id.is_candidate();
        let key = self.stores.get(&store).filter(|_| candidate).map(crate::store::Store::key);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.process.is_some() || id == HostId::protected() {
            return;
        }
        let sockets = host.apps.accepted.values().filter_map(Tcp::socket);
        let sockets: Vec<Socket> = sockets
            .map(|(local, peer, closed)| Socket { local, peer, closed_by_peer: closed })
            .collect();
        self.processes += 1;
        let actor = Actor { host: id, process: self.processes };
        let clock = host.clock(self.now);
        let beginning = Beginning { host: id, clock, disk: &host.disk, key };
        let (node, paths) = blueprint::build(&self.plan, beginning, &mut self.random);
        host.disk.starts.push_back(clock);
        if host.disk.starts.len() > STARTS_KEPT {
            host.disk.starts.pop_front();
        }
        let mut process = Box::new(Process::new(actor, node, paths));
        self.note(Observation::Started(actor));
        process.node.handle_start(clock);
        process.node.handle_sockets(clock, &sockets);
        self.drain(clock, &mut process);
        if let Some(host) = self.hosts.get_mut(&id) {
            host.process = Some(process);
        }
        for other in self.plan.nodes() {
            if id.is_node() && other != id {
                let after = self.random.span(Duration::from_millis(1), Duration::from_millis(20));
                self.queue.push(self.now + after, Event::Connect(id, other));
            }
        }
    }

    /// Kills a process now.
    pub(super) fn kill(&mut self, id: HostId) {
        let process = self.hosts.get_mut(&id).and_then(|host| host.process.take());
        if let Some(process) = process {
            self.died(id, process.actor);
        }
    }

    /// A process is gone; its kernel closes its connections.
    pub(super) fn died(&mut self, id: HostId, actor: Actor) {
        self.note(Observation::Died(actor));
        self.frozen.remove(&actor.process);
        self.close_links(id);
    }

    /// Lets a process die within its next steps.
    pub(super) fn light(&mut self, id: HostId, fuse: u32) {
        if fuse == 0 {
            return self.kill(id);
        }
        if let Some(process) = self.hosts.get_mut(&id).and_then(|host| host.process.as_mut()) {
            process.fuse = Some(fuse);
        }
    }

    /// Stops a process.
    pub(super) fn pause(&mut self, id: HostId) {
        let process = self.hosts.get_mut(&id).and_then(|host| host.process.as_mut());
        let Some(process) = process.filter(|process| !process.paused) else { return };
        process.paused = true;
        let actor = process.actor;
        self.note(Observation::Paused(actor));
    }

    /// Lets a stopped process go on: it looks into its queues in any order.
    pub(super) fn wake(&mut self, id: HostId) {
        let process = self.hosts.get_mut(&id).and_then(|host| host.process.as_mut());
        let Some(process) = process.filter(|process| process.paused) else { return };
        process.paused = false;
        let actor = process.actor;
        let backlog = core::mem::take(&mut process.backlog);
        self.note(Observation::Woken(actor));
        let delays = [(); 6].map(|()| self.random.span(Duration::ZERO, AWAKENING));
        for input in backlog {
            let at = self.now + delays[source(&input)];
            self.queue.push(at, Event::Process(actor.host, actor.process, input));
        }
    }
}

/// Which queue an input lies in.
fn source(input: &Input) -> usize {
    match input {
        Input::Outer(_) | Input::Frame(..) | Input::Tun(_) => 0,
        Input::Command(..) | Input::HandOver(..) | Input::Ike(..) => 1,
        Input::Report(..) => 2,
        Input::Store(_) | Input::Watch => 3,
        Input::Link(..) | Input::Message(..) => 4,
        Input::NodeTimer | Input::WorkerTimer(_) | Input::Probe(..) => 5,
    }
}
