//! What the workers say: IKE messages, lifetimes, edges, counters, connections, heartbeats.

use crate::io::Output;
use crate::node::Node;
use crate::vip::Standing;
use core::time::Duration;
use std::collections::BTreeMap;
use vipsec_ike::Activity;
use vipsec_path::{Command, Report, SaCounters};
use vipsec_wire::cluster::replica::Edges;
use vipsec_wire::cluster::service::TargetState;
use vipsec_wire::cluster::{
    CONNECTIONS_MAX, ConnectionUpdate, Connections, EDGES_MAX, Heartbeat, HighWater, Message,
    TargetHealth,
};
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId, NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// Between two writes of the packed edges.
pub(crate) const EDGE_WRITE_INTERVAL: Duration = Duration::from_secs(1);

impl Node {
    /// A worker has something to say.
    pub fn handle_report(&mut self, now: Timestamp, worker: u16, report: Report) {
        match report {
            Report::Ike { vip, local, remote, message } => {
                self.handle_ike(now, vip, local, remote, &message);
            }
            Report::Expiry { vip, spi_in, expiry } => {
                let random = self.random.as_mut();
                let state = self.vips.get_mut(&vip).and_then(|state| state.candidate.as_mut());
                if let Some(candidate) = state {
                    candidate.engine.handle_child_expiry(now, spi_in, expiry, random);
                }
            }
            Report::Acquire { vip, connection, child } => {
                self.acquire(now, vip, &connection, &child);
            }
            Report::Edges { vip, edges } => self.stream_edges(vip, &edges),
            Report::HighWater { vip, marks } => self.stream_high_water(vip, &marks),
            Report::BlockLow { vip, spi_in, wanted } => self.raise_block(now, vip, spi_in, wanted),
            Report::Counters { vip, counters } => self.count(vip, &counters),
            Report::Connections { vip, updates, complete } => {
                self.tell_connections(vip, &updates, complete);
            }
            Report::Strays { vip, updates, complete } => self.pass_strays(vip, updates, complete),
            Report::Heartbeat { from, payload } => match Heartbeat::decode(&payload) {
                Ok(beat) => self.cluster.handle_heartbeat(now, &from, &beat),
                Err(error) => self.event(crate::Event::BadMessage(from, error)),
            },
            Report::Frozen { vip, handover } => self.frozen(vip, worker, *handover),
            Report::Mapping { vip, ike, remote } => {
                if let Some(candidate) = self.candidate(vip) {
                    candidate.engine.handle_mapping(now, ike, remote);
                }
            }
            Report::NotInstalled { vip, spi_in } => {
                self.event(crate::Event::NotInstalled(vip, spi_in));
            }
            Report::Drops(drops) => {
                self.drops.insert(worker, drops);
            }
            Report::ConnectionList { vip, query, connections } => {
                self.listed(vip, query, &connections);
            }
            Report::FabricConfirmed { node } => self.command(Command::FabricConfirmed { node }),
        }
        self.settle(now);
    }

    fn stream_edges(&mut self, vip: Vip, edges: &[(EspSpi, u64)]) {
        let Some(epoch) = self.owned(vip) else { return };
        if let Some(candidate) = self.candidate(vip) {
            candidate.edges.raise(edges);
        }
        let messages: Vec<Message> = edges
            .chunks(EDGES_MAX)
            .map(|part| Message::Edges(Edges { vip, epoch, edges: part.to_vec() }))
            .collect();
        self.send_to_candidates(vip, &messages);
    }

    fn stream_high_water(&mut self, vip: Vip, marks: &[(EspSpi, u64)]) {
        let mark = |(spi_in, sequence): &(EspSpi, u64)| {
            let (spi_in, sequence) = (*spi_in, *sequence);
            HighWater { vip, spi_in, sequence }
        };
        let parts = marks.chunks(EDGES_MAX);
        let messages: Vec<Message> =
            parts.map(|part| Message::HighWater(part.iter().map(mark).collect())).collect();
        self.send_to_candidates(vip, &messages);
    }

    pub(crate) fn send_to_candidates(&mut self, vip: Vip, messages: &[Message]) {
        for node in self.other_candidates(vip) {
            for message in messages {
                self.send(&node, message);
            }
        }
    }

    /// Totals for `sas`, and for the engine when each family was last heard of.
    fn count(&mut self, vip: Vip, counters: &[SaCounters]) {
        let Some(candidate) = self.candidate(vip) else { return };
        let mut families: BTreeMap<IkeSaId, Activity> = BTreeMap::new();
        for counter in counters {
            // One that has been replaced may still receive.
            let Some(ike) = candidate.installed.get(&counter.spi_in).map(|i| i.family) else {
                continue;
            };
            candidate.usage.insert(counter.spi_in, *counter);
            let never = Timestamp(0);
            let activity = families.entry(ike).or_insert(Activity {
                ike,
                last_inbound: never,
                last_outbound: never,
            });
            activity.last_inbound = activity.last_inbound.max(counter.last_in);
            activity.last_outbound = activity.last_outbound.max(counter.last_out);
        }
        let activities: Vec<Activity> = families.into_values().collect();
        candidate.engine.handle_activity(&activities);
    }

    /// An owner mirrors its news to the backups; another node answers its owner.
    fn tell_connections(&mut self, vip: Vip, updates: &[ConnectionUpdate], complete: bool) {
        let Some(state) = self.vips.get_mut(&vip) else { return };
        // A report is complete when every worker has said its part of all that were asked for.
        state.unreported = state.unreported.saturating_sub(u32::from(complete));
        let complete = complete && state.unreported == 0;
        let standing = state.standing.clone();
        let epoch = standing.epoch();
        let messages = connection_messages(vip, epoch, updates, complete);
        match standing {
            Standing::Owner(_) => self.send_to_candidates(vip, &messages),
            Standing::Member(_, Some(owner)) if owner != self.name => {
                for message in &messages {
                    self.send(&owner, message);
                }
            }
            Standing::Member(..) => {}
        }
    }

    /// Connections that one worker has found and another has from now on.
    fn pass_strays(&mut self, vip: Vip, updates: Vec<ConnectionUpdate>, complete: bool) {
        let Some(state) = self.vips.get_mut(&vip) else { return };
        state.straying = state.straying.saturating_sub(u16::from(complete));
        let complete = complete && state.straying == 0;
        let from = self.name.clone();
        self.command(Command::Connections { vip, from, updates, complete });
    }

    /// Has the workers report their connections, for the owner or, at the owner, for the backups.
    pub(crate) fn ask_connections(&mut self, vip: Vip) {
        if let Some(state) = self.vips.get_mut(&vip) {
            state.unreported += u32::from(self.workers);
        }
        self.command(vipsec_path::Command::ReportConnections { vip });
    }

    /// The health of a service on this node has changed.
    pub(crate) fn own_health_changed(&mut self, vip: Vip, service: String, healthy: bool) {
        let node = self.name.clone();
        self.note_health(vip, &service, &node, healthy);
        self.tell_health(vip);
    }

    /// A target's health, told by itself.
    pub(crate) fn note_health(&mut self, vip: Vip, service: &str, node: &NodeName, healthy: bool) {
        let Some(state) = self.vips.get_mut(&vip) else { return };
        let name = (service.to_owned(), node.clone());
        let changed =
            if healthy { state.unhealthy.remove(&name) } else { state.unhealthy.insert(name) };
        if changed {
            let (service, node) = (service.to_owned(), node.clone());
            self.command(vipsec_path::Command::SetTargetHealth {
                vip,
                service: Some(service.clone()),
                node: node.clone(),
                usable: healthy,
            });
            self.event(crate::Event::TargetHealth { vip, service, node, healthy });
        }
    }

    /// Tells the candidates how the services on this node are.
    pub(crate) fn tell_health(&mut self, vip: Vip) {
        let Some(state) = self.vips.get(&vip) else { return };
        let targets = state.checks.states().map(|(service, healthy)| TargetState {
            service: service.to_owned(),
            node: self.name.clone(),
            healthy,
        });
        let targets: Vec<TargetState> = targets.collect();
        if targets.is_empty() {
            return;
        }
        let epoch = state.standing.epoch();
        let message = Message::TargetHealth(TargetHealth { vip, epoch, targets });
        self.send_to_candidates(vip, &[message]);
    }

    pub(crate) fn poll_probes(&mut self, now: Timestamp, vip: Vip) {
        loop {
            let probe = self.name_probe();
            let Some(state) = self.vips.get_mut(&vip) else { return };
            let Some(due) = state.checks.poll_probe(now, probe) else { return };
            let crate::health::Probe { address, timeout } = due;
            self.outputs.push_back(Output::Probe { probe, address, timeout });
        }
    }
}

/// Splits a report into messages of allowed length; an empty one still says that it is complete.
pub(crate) fn connection_messages(
    vip: Vip,
    epoch: Epoch,
    updates: &[ConnectionUpdate],
    complete: bool,
) -> Vec<Message> {
    let mut parts: Vec<Vec<ConnectionUpdate>> =
        updates.chunks(CONNECTIONS_MAX).map(<[ConnectionUpdate]>::to_vec).collect();
    if parts.is_empty() && complete {
        parts.push(Vec::new());
    }
    let last = parts.len().saturating_sub(1);
    let message = |(index, updates)| {
        let complete = complete && index == last;
        Message::Connections(Connections { vip, epoch, updates, complete })
    };
    parts.into_iter().enumerate().map(message).collect()
}
