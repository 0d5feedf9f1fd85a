//! Control connections: opened, used, closed by a kernel, given up.

use super::World;
use crate::event::{Event, Input};
use crate::host::HostId;
use core::time::Duration;
use vipsec_node::{FabricSecrets, Link, SECRET_LENGTH};
use vipsec_wire::secret::SecretBytes;

/// Between two attempts to connect.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));
/// After this long without progress a connection is given up.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a handshake takes.
const HANDSHAKE: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(3));

impl World {
    /// Two nodes try to connect, again and again until they are.
    pub(super) fn connect(&mut self, one: HostId, other: HostId) {
        let ends = [one, other].map(|host| {
            let process = self.hosts.get(&host).and_then(|host| host.process.as_ref());
            process.filter(|process| !process.paused).map(|process| process.actor.process)
        });
        if self.links.between(one, other).is_some() {
            return;
        }
        let [Some(here), Some(there)] = ends else {
            // Whoever starts calls the others.
            if ends[0].is_some() || ends[1].is_some() {
                self.try_again(one, other);
            }
            return;
        };
        if !self.is_connected(one, other) {
            return self.try_again(one, other);
        }
        let link = self.links.open([(one, here), (other, there)], self.now);
        let secrets = [(); 2].map(|()| {
            let mut secret = vec![0; SECRET_LENGTH];
            vipsec_crypto::Random::fill(&mut self.random, &mut secret);
            SecretBytes::new(secret)
        });
        let [forth, back] = secrets;
        let peer_workers = self.plan.workers;
        let up = |outbound: &SecretBytes, inbound: &SecretBytes| {
            let (outbound, inbound) = (outbound.clone(), inbound.clone());
            Link::Up(FabricSecrets { outbound, inbound, peer_workers })
        };
        // A new connection shows an end that it has lost the one before.
        for (end, (host, process, peer)) in
            [(one, here, other), (other, there, one)].into_iter().enumerate()
        {
            if self.links.unnoticed.remove(&(host, peer)) == Some(process) {
                self.arrive_on_link(link, end, Input::Link(peer, Link::Lost), HANDSHAKE);
            }
        }
        self.arrive_on_link(link, 0, Input::Link(other, up(&forth, &back)), HANDSHAKE);
        self.arrive_on_link(link, 1, Input::Link(one, up(&back, &forth)), HANDSHAKE);
    }

    fn try_again(&mut self, one: HostId, other: HostId) {
        let after = self.random.span(RETRY.0, RETRY.1);
        self.queue.push(self.now + after, Event::Connect(one, other));
    }

    fn is_connected(&self, one: HostId, other: HostId) -> bool {
        self.fabric.reaches(one, other) && self.fabric.reaches(other, one)
    }

    /// A message, if there is a connection.
    pub(super) fn send_on_link(&mut self, from: HostId, to: HostId, input: Input) {
        let Some(link) = self.links.between(from, to) else { return };
        let connected = self.is_connected(from, to);
        let Some(connection) = self.links.connections.get_mut(&link) else { return };
        let Some(end) = connection.end_of(to) else { return };
        if !connected || !connection.stuck.is_empty() {
            connection.stuck.push((end, input));
            if !connection.giving_up {
                connection.giving_up = true;
                self.queue.push(self.now + PATIENCE, Event::GiveUp(link));
            }
            return;
        }
        let quality = self.fabric.quality;
        self.arrive_on_link(link, end, input, (quality.latency, quality.latency + quality.jitter));
    }

    fn arrive_on_link(&mut self, link: u64, end: usize, input: Input, delay: (Duration, Duration)) {
        let delay = self.random.span(delay.0, delay.1);
        let Some(connection) = self.links.connections.get_mut(&link) else { return };
        let at = connection.in_order(end, self.now + delay);
        let (host, process) = connection.ends[end];
        self.queue.push(at, Event::Process(host, process, input));
    }

    /// A kernel closes the connections of a process that has died.
    pub(super) fn close_links(&mut self, host: HostId) {
        for link in self.links.of(host) {
            let Some(connection) = self.links.connections.get(&link) else { continue };
            let other = usize::from(connection.ends[0].0 == host);
            let (there, _) = connection.ends[other];
            let through = self.is_connected(host, there) && connection.stuck.is_empty();
            if through {
                let quality = self.fabric.quality;
                let delay = (quality.latency, quality.latency + quality.jitter);
                self.arrive_on_link(link, other, Input::Link(host, Link::Closed), delay);
            } else {
                self.lose(link, other, (PATIENCE, PATIENCE));
            }
            self.links.connections.remove(&link);
        }
    }

    /// A machine is gone with its connections: the others notice when nothing comes back.
    pub(super) fn cut_links(&mut self, host: HostId) {
        for link in self.links.of(host) {
            let Some(connection) = self.links.connections.get(&link) else { continue };
            let other = usize::from(connection.ends[0].0 == host);
            self.lose(link, other, (PATIENCE, PATIENCE));
            self.links.connections.remove(&link);
        }
    }

    /// An end of a connection notices later that it is gone, unless a new one comes before.
    fn lose(&mut self, link: u64, end: usize, after: (Duration, Duration)) {
        let Some(connection) = self.links.connections.get(&link) else { return };
        let ((host, process), (other, _)) = (connection.ends[end], connection.ends[1 - end]);
        self.links.unnoticed.insert((host, other), process);
        let at = self.now + self.random.span(after.0, after.1);
        self.queue.push(at, Event::Missed(host, process, other));
    }

    pub(super) fn missed(&mut self, host: HostId, process: u64, other: HostId) {
        if self.links.unnoticed.get(&(host, other)) == Some(&process) {
            self.links.unnoticed.remove(&(host, other));
            self.input(host, process, Input::Link(other, Link::Lost));
        }
    }

    /// Nothing got through for too long.
    pub(super) fn give_up(&mut self, link: u64) {
        let Some(connection) = self.links.connections.get_mut(&link) else { return };
        if connection.stuck.is_empty() {
            connection.giving_up = false;
            return;
        }
        let ends = connection.ends;
        for end in 0..2 {
            self.lose(link, end, (Duration::ZERO, Duration::from_millis(200)));
        }
        self.links.connections.remove(&link);
        self.try_again(ends[0].0, ends[1].0);
    }

    /// A partition has ended: what was held up gets through.
    pub(super) fn unstick(&mut self) {
        let links: Vec<u64> = self.links.connections.keys().copied().collect();
        for link in links {
            let Some(connection) = self.links.connections.get(&link) else { continue };
            let [(one, _), (other, _)] = connection.ends;
            if !self.is_connected(one, other) {
                continue;
            }
            let Some(connection) = self.links.connections.get_mut(&link) else { continue };
            let stuck = core::mem::take(&mut connection.stuck);
            for (end, input) in stuck {
                let delay = (Duration::from_millis(1), Duration::from_millis(200));
                self.arrive_on_link(link, end, input, delay);
            }
        }
    }
}
