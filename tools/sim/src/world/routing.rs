//! Packets between hosts: out of workers, over the wires, into processes.

use super::World;
use crate::addresses;
use crate::app::packet::Inner;
use crate::event::{Event, Input, Outer};
use crate::host::HostId;
use crate::network::Wire;
use crate::observation::{Actor, Observation};
use crate::process::{Effect, Process};
use crate::sabotage::Sabotage;
use crate::tap::{self, Frame};
use core::net::SocketAddr;
use core::time::Duration;
use vipsec_path::Route;
use vipsec_wire::esp::{NAT_T_PORT, NON_ESP_MARKER};
use vipsec_wire::id::Epoch;
use vipsec_wire::ike::PayloadType;

/// Where the IKE header says what comes first (RFC 7296 section 3.1).
const NEXT_PAYLOAD: usize = 16;

impl World {
    /// Carries out what a worker wants.
    pub(super) fn effect(
        &mut self,
        process: &mut Process,
        worker: u16,
        serial: Option<u64>,
        effect: Effect,
    ) {
        let role = process.workers.get(usize::from(worker)).map(|worker| worker.role);
        let epoch = role.filter(|(_, owner)| *owner).map(|(epoch, _)| epoch);
        match effect {
            Effect::Emit(Route::Udp { local, remote, tos, .. }, payload) => {
                let packet = Outer { source: local, destination: remote, tos, esp: false, payload };
                self.send_outside(process.actor, epoch, serial, packet);
            }
            Effect::Emit(Route::Esp { local, remote, tos, .. }, payload) => {
                let (source, destination) = (SocketAddr::new(local, 0), SocketAddr::new(remote, 0));
                let packet = Outer { source, destination, tos, esp: true, payload };
                self.send_outside(process.actor, epoch, serial, packet);
            }
            Effect::Emit(Route::Fabric { remote }, bytes) => {
                self.send_frame(process.actor, remote, bytes);
            }
            Effect::Inner(packet) => self.out_of_tun(process, packet),
            Effect::HandOver(worker, kind, packet) => {
                let delay = self.thread_delay();
                self.later(delay, process, Input::HandOver(worker, kind, packet));
            }
        }
    }

    /// A packet leaves on the outside wire.
    pub(super) fn send_outside(
        &mut self,
        by: Actor,
        epoch: Option<Epoch>,
        serial: Option<u64>,
        packet: Outer,
    ) {
        let copies = self.spoil(by, epoch, packet);
        for packet in copies {
            let frame = tap::read(&packet);
            for seen in tap::sent(by, epoch, &frame) {
                self.note(seen);
            }
            if let (Some(serial), Frame::Esp(esp, _)) = (serial, frame) {
                self.note(Observation::Wrapped(serial, esp));
            }
            if self.is_muted(by) {
                continue;
            }
            let Some(to) = self.outside.locate(packet.destination.ip()) else { continue };
            for delay in self.outside.carry(&mut self.random, by.host, to) {
                self.queue.push(self.now + delay, Event::Outside(to, packet.clone()));
            }
        }
    }

    fn is_muted(&self, by: Actor) -> bool {
        let calm = super::BEGIN + self.plan.length.saturating_sub(self.plan.calm);
        self.plan.sabotage == Some(Sabotage::Mute) && by.host.is_node() && self.now >= calm
    }

    /// Where a fault is put into what leaves.
    fn spoil(&mut self, by: Actor, epoch: Option<Epoch>, mut packet: Outer) -> Vec<Outer> {
        let frame = tap::read(&packet);
        if self.plan.sabotage == Some(Sabotage::BareAnswers)
            && matches!(frame, Frame::Ike(ike, _) if by.host.is_node() && ike.response && !ike.clear)
        {
            let marker = if packet.source.port() == NAT_T_PORT { NON_ESP_MARKER.len() } else { 0 };
            packet.payload[marker + NEXT_PAYLOAD] = PayloadType::NOTIFY.0;
        }
        if !by.host.is_node() || !matches!(frame, Frame::Esp(..)) {
            return vec![packet];
        }
        self.oddities += 1;
        let odd = self.oddities.is_multiple_of(200);
        match self.plan.sabotage {
            Some(Sabotage::RepeatIv) if odd => {
                let mut copy = packet.clone();
                if let Some(last) = copy.payload.last_mut() {
                    *last ^= 1;
                }
                vec![packet, copy]
            }
            Some(Sabotage::GoBack) if epoch.is_some_and(|epoch| epoch.0 > 1) => {
                packet.payload[4] = 0;
                packet.payload[5] &= 0x3f;
                vec![packet]
            }
            Some(Sabotage::InClear) if odd => {
                let mut clear = packet.clone();
                clear.payload = crate::app::packet::udp((packet.source, packet.destination), 0, 64);
                vec![packet, clear]
            }
            _ => vec![packet],
        }
    }

    pub(super) fn outside_arrived(&mut self, to: HostId, packet: Outer) {
        let process = self.hosts.get(&to).and_then(|host| host.process.as_ref());
        if process.is_none() {
            return;
        }
        if let Some(seen) = tap::arrived(to, &tap::read(&packet)) {
            self.note(seen);
        }
        if self.is_lost_to_sabotage(to) {
            return;
        }
        self.input_now(to, Input::Outer(packet));
    }

    fn is_lost_to_sabotage(&self, to: HostId) -> bool {
        let process = self.hosts.get(&to).and_then(|host| host.process.as_ref());
        self.plan.sabotage == Some(Sabotage::LoseWhenFrozen)
            && process.is_some_and(|process| self.frozen.contains(&process.actor.process))
    }

    fn send_frame(&mut self, by: Actor, remote: SocketAddr, bytes: Vec<u8>) {
        let seen = tap::fabric(by, &bytes);
        self.note(seen);
        let to = self.hosts.keys().find(|host| addresses::fabric(**host) == remote).copied();
        let Some(to) = to else { return };
        let from = addresses::fabric(by.host);
        for delay in self.fabric.carry(&mut self.random, by.host, to) {
            self.queue.push(self.now + delay, Event::Fabric(to, from, bytes.clone()));
        }
    }

    pub(super) fn frame_arrived(&mut self, to: HostId, from: SocketAddr, bytes: Vec<u8>) {
        self.input_now(to, Input::Frame(from, bytes));
    }

    /// A worker has given a packet to its kernel.
    fn out_of_tun(&mut self, process: &Process, packet: Vec<u8>) {
        let mut at = process.actor.host;
        if let Some(inner) = Inner::parse(&packet) {
            self.note(Observation::InnerOut(process.actor, inner.serial));
            self.oddities += 1;
            if self.plan.sabotage == Some(Sabotage::WrongTarget)
                && at.is_node()
                && inner.destination.ip() == addresses::VIP.0
                && self.oddities.is_multiple_of(50)
            {
                let nodes = self.plan.nodes();
                at = nodes.into_iter().find(|node| *node != at).unwrap_or(at);
            }
            if self.plan.sabotage == Some(Sabotage::DeliverTwice) && at.is_node() {
                self.note(Observation::InnerOut(process.actor, inner.serial));
                self.queue.push(self.now, Event::Inside(at, packet.clone()));
            }
        }
        self.queue.push(self.now + Duration::from_micros(3), Event::Inside(at, packet));
    }

    /// A packet for the TUN of a host: its process gets it, or, when there is none, nobody.
    pub(super) fn deliver_to_tun(&mut self, host: HostId, packet: Vec<u8>) {
        let Some(process) = self.hosts.get(&host).and_then(|host| host.process.as_ref()) else {
            return;
        };
        let actor = process.actor;
        if self.is_lost_to_sabotage(host) {
            if let Some(inner) = Inner::parse(&packet) {
                self.note(Observation::InnerReached(actor, inner.serial));
            }
            return;
        }
        let at = self.now + Duration::from_micros(2);
        self.queue.push(at, Event::Process(host, actor.process, Input::Tun(packet)));
    }

    /// A packet on the inside wire.
    pub(super) fn send_inside(&mut self, from: HostId, to: HostId, packet: &[u8]) {
        for delay in self.inside.carry(&mut self.random, from, to) {
            self.queue.push(self.now + delay, Event::Inside(to, packet.to_vec()));
        }
    }

    /// Says whether a wire loses packets, after something has changed.
    pub(super) fn note_wires(&mut self) {
        let wires = [
            (Wire::Outside, self.outside.is_lossy()),
            (Wire::Fabric, self.fabric.is_lossy()),
            (Wire::Inside, self.inside.is_lossy()),
        ];
        for (wire, lossy) in wires {
            self.note(Observation::Lossy(wire, lossy));
        }
        self.note(Observation::Divided(self.fabric.is_divided()));
    }
}
