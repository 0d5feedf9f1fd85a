//! What a node wants, carried out.

use super::World;
use crate::addresses;
use crate::event::{Event, Input, Outer};
use crate::host::HostId;
use crate::network::Wire;
use crate::observation::{Actor, Observation, Said};
use crate::process::{Channel, Process};
use crate::sabotage::Sabotage;
use crate::tap;
use core::net::SocketAddr;
use core::time::Duration;
use vipsec_cluster::store::Change;
use vipsec_node::{Output, StoreReply};
use vipsec_path::{Command, Report, Role};
use vipsec_wire::cluster::{Heartbeat, Message};
use vipsec_wire::esp::{NAT_T_PORT, NON_ESP_MARKER};
use vipsec_wire::id::{Epoch, Vip};

/// How long switches and neighbours take to learn from an announcement.
const LEARNING: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(3));

impl World {
    pub(super) fn output(&mut self, process: &mut Process, output: Output) {
        let host = process.actor.host;
        match output {
            Output::Worker { worker, command } => self.command(process, worker, &command),
            Output::Ike { local, remote, message } => {
                self.mail_ike(process, local, remote, message);
            }
            Output::Peer { to, content } => {
                if let Some(to) = HostId::of(&to) {
                    let input = Input::Message(host, content.expose().to_vec());
                    self.send_on_link(host, to, input);
                }
            }
            Output::Store(request) => self.ask_store(process, request),
            Output::Announce { vip } => self.announce(host, vip),
            Output::Withdraw { .. } => {}
            Output::Floor { vip, floor } => {
                if let Some(host) = self.hosts.get_mut(&host) {
                    host.disk.floors.insert(vip, floor);
                }
            }
            Output::Probe { probe, address, .. } => {
                let serves = self.hosts.get(&host).is_some_and(|host| host.apps.serves(address));
                self.later(Duration::from_micros(300), process, Input::Probe(probe, serves));
            }
            Output::Event(event) => self.said(process.actor, &event),
            // Nobody asks here, and peers have addresses.
            Output::Connections { .. } | Output::Resolve { .. } => {}
        }
    }

    fn command(&mut self, process: &mut Process, worker: Option<u16>, command: &Command) {
        let deaf = self.plan.sabotage == Some(Sabotage::DeafWorkers);
        let deposed = matches!(command, Command::SetRole { role: Role::Member { .. }, .. });
        if deaf && deposed && process.workers.iter().any(|worker| worker.role.1) {
            return;
        }
        let all = 0..u16::try_from(process.workers.len()).unwrap_or(0);
        for number in all.filter(|number| worker.is_none_or(|one| one == *number)) {
            let delay = self.thread_delay();
            let input = Input::Command(number, Box::new(command.clone()));
            self.enqueue(delay, process, Channel::Commands(number), input);
        }
    }

    /// An IKE message leaves when every worker has done all that it was told before.
    fn mail_ike(
        &mut self,
        process: &mut Process,
        local: SocketAddr,
        remote: SocketAddr,
        message: Vec<u8>,
    ) {
        let mut last = self.now;
        for worker in 0..u16::try_from(process.workers.len()).unwrap_or(0) {
            let at = self.now + self.thread_delay();
            last = last.max(process.in_order(Channel::Commands(worker), at));
        }
        let actor = process.actor;
        let input = Input::Ike(local, remote, message);
        self.queue.push(last, Event::Process(actor.host, actor.process, input));
    }

    pub(super) fn send_ike(
        &mut self,
        process: &Process,
        local: SocketAddr,
        remote: SocketAddr,
        message: &[u8],
    ) {
        let mut payload = Vec::with_capacity(message.len() + 4);
        if local.port() == NAT_T_PORT {
            payload.extend_from_slice(&NON_ESP_MARKER);
        }
        payload.extend_from_slice(message);
        let packet = Outer { source: local, destination: remote, tos: 0, esp: false, payload };
        self.send_outside(process.actor, None, None, packet);
    }

    fn announce(&mut self, host: HostId, vip: Vip) {
        if vip != addresses::VIP {
            return;
        }
        let moved = [(Wire::Outside, vip.0), (Wire::Inside, addresses::INNER_VIP)];
        for (wire, address) in moved {
            let after = self.random.span(LEARNING.0, LEARNING.1);
            self.queue.push(self.now + after, Event::Learn(wire, address, host));
        }
    }

    fn said(&mut self, by: Actor, event: &vipsec_node::Event) {
        use vipsec_cluster::Event as C;
        use vipsec_ike::Event as I;
        let own = crate::blueprint::vip_of(by.host);
        let (vip, said) = match event {
            vipsec_node::Event::Cluster(event) => match event {
                C::Claiming { vip, epoch } => (*vip, Said::Claiming(*epoch)),
                C::Owned { vip, epoch } => (*vip, Said::Owned(*epoch)),
                C::TransferBegun { vip, .. } => (*vip, Said::TransferBegun),
                C::TransferAborted { vip, .. } => (*vip, Said::TransferAborted),
                C::TransferDone { vip, epoch, .. } => (*vip, Said::TransferDone(*epoch)),
                _ => (own, Said::Other(event_text(event))),
            },
            vipsec_node::Event::Ike(vip, event) => match event {
                I::Established { id, .. } => (*vip, Said::Established(id.0)),
                I::ChildUp { spi_in, spi_out, .. } => (*vip, Said::ChildUp(spi_in.0, spi_out.0)),
                I::ChildRekeyed { old, new, .. } => (*vip, Said::ChildRekeyed(old.0, new.0)),
                I::Closed { .. } | I::Failed { .. } | I::ChildFailed { .. } => {
                    (*vip, Said::Ended(format!("{event:?}")))
                }
                other => (*vip, Said::Other(format!("{other:?}"))),
            },
            vipsec_node::Event::Unprotected(vip, _) => (*vip, Said::Unprotected),
            vipsec_node::Event::Protected(vip) => (*vip, Said::Protected),
            other => (own, Said::Other(other.to_string())),
        };
        self.note(Observation::Said(by, vip, said));
    }

    /// What a node hears about epochs from other nodes' heartbeats.
    pub(super) fn note_report(&mut self, process: &Process, report: &Report) {
        let Report::Heartbeat { payload, .. } = report else { return };
        let Ok(beat) = Heartbeat::decode(payload) else { return };
        for standing in beat.vips {
            self.told(process.actor, standing.vip, standing.epoch);
        }
    }

    /// What a node hears about epochs in messages.
    pub(super) fn note_message(&mut self, process: &Process, content: &[u8]) {
        if let Ok(Message::Ownership(message)) = Message::decode(content) {
            self.told(process.actor, message.vip, message.epoch);
        }
    }

    /// What a node learns about epochs from the store.
    pub(super) fn note_reply(&mut self, process: &Process, reply: &StoreReply) {
        let host = process.actor.host;
        let Some(store) = self.stores.get(&self.store_of(host)) else { return };
        let key = store.key();
        let epochs: Vec<Epoch> = match reply {
            StoreReply::Loaded { entries, .. } => {
                entries.iter().filter_map(|entry| tap::epoch_of(&key, entry)).collect()
            }
            StoreReply::Changed { changes, .. } => {
                let entries = changes.iter().filter_map(|change| match change {
                    Change::Put(entry) => Some(entry),
                    Change::Deleted { .. } => None,
                });
                entries.filter_map(|entry| tap::epoch_of(&key, entry)).collect()
            }
            _ => Vec::new(),
        };
        let vip = crate::blueprint::vip_of(host);
        for epoch in epochs {
            self.told(process.actor, vip, epoch);
        }
    }

    fn told(&mut self, by: Actor, vip: Vip, epoch: Epoch) {
        let known = self.told.entry(by).or_default();
        if by.host.is_candidate() && epoch > *known {
            *known = epoch;
            self.note(Observation::Told(by, vip, epoch));
        }
    }
}

fn event_text(event: &vipsec_cluster::Event) -> String {
    vipsec_node::Event::Cluster(event.clone()).to_string()
}
