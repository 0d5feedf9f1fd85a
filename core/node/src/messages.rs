//! What other nodes say on the control connection, after it has proven who they are. A message of a
//! lower epoch than the one that is known is void.

use crate::node::Node;
use crate::vip::Standing;
use std::collections::BTreeMap;
use vipsec_path::Command;
use vipsec_wire::cluster::replica::{Edges, HalfOpenMirror};
use vipsec_wire::cluster::service::{Connections, TargetHealth};
use vipsec_wire::cluster::{HighWater, Message};
use vipsec_wire::id::{Epoch, EspSpi, NodeName, Vip};
use vipsec_wire::time::Timestamp;

impl Node {
    /// The content of one frame has come from a member.
    pub fn handle_peer_message(&mut self, now: Timestamp, from: &NodeName, content: &[u8]) {
        match Message::decode(content) {
            Ok(message) => self.handle_message(now, from, message),
            Err(error) => self.event(crate::Event::BadMessage(from.clone(), error)),
        }
        self.settle(now);
    }

    fn handle_message(&mut self, now: Timestamp, from: &NodeName, message: Message) {
        match message {
            // Links greet each other before they are reported as up.
            Message::Hello(_) => {}
            Message::Ownership(message) => self.cluster.handle_message(now, from, message),
            Message::Connections(connections) => self.learn_connections(from, connections),
            Message::Edges(edges) => self.learn_edges(from, edges),
            Message::HighWater(marks) => self.learn_high_water(from, &marks),
            Message::HalfOpen(mirror) => self.learn_half_open(now, from, mirror),
            Message::TargetHealth(health) => self.learn_health(from, health),
        }
    }

    /// Whether a message of this epoch still counts.
    fn is_current(&self, vip: Vip, epoch: Epoch) -> bool {
        self.vips.get(&vip).is_some_and(|state| epoch >= state.standing.epoch())
    }

    /// Whether the sender speaks as the owner that this node follows.
    fn is_owner(&self, vip: Vip, from: &NodeName) -> bool {
        let standing = self.vips.get(&vip).map(|state| &state.standing);
        matches!(standing, Some(Standing::Member(_, Some(owner))) if owner == from)
    }

    fn learn_connections(&mut self, from: &NodeName, told: Connections) {
        let Connections { vip, epoch, mut updates, complete } = told;
        if !self.is_current(vip, epoch) {
            return;
        }
        let owning = self.candidate(vip).and_then(|candidate| candidate.owning.as_mut());
        if let Some(owning) = owning.filter(|owning| complete && owning.epoch == epoch) {
            // The workers ask for it when they become owners.
            owning.reported.push(from.clone());
        }
        // A target speaks for itself alone; the owner and a candidate that mirrors it for all.
        if !self.is_owner(vip, from) {
            updates.retain(|update| update.node == *from);
        }
        self.command(Command::Connections { vip, from: from.clone(), updates, complete });
    }

    fn learn_edges(&mut self, from: &NodeName, told: Edges) {
        let Edges { vip, epoch, edges } = told;
        if !self.is_current(vip, epoch) || !self.is_owner(vip, from) {
            return;
        }
        if let Some(candidate) = self.candidate(vip) {
            candidate.edges.raise(&edges);
        }
        self.command(Command::Edges { vip, edges });
    }

    fn learn_high_water(&mut self, from: &NodeName, told: &[HighWater]) {
        let mut marks: BTreeMap<Vip, Vec<(EspSpi, u64)>> = BTreeMap::new();
        for mark in told.iter().filter(|mark| self.is_owner(mark.vip, from)) {
            marks.entry(mark.vip).or_default().push((mark.spi_in, mark.sequence));
        }
        for (vip, marks) in marks {
            if let Some(candidate) = self.candidate(vip) {
                for (spi_in, mark) in &marks {
                    let known = candidate.high_water.entry(*spi_in).or_default();
                    *known = (*known).max(*mark);
                }
            }
            self.command(Command::HighWater { vip, marks });
        }
    }

    fn learn_half_open(&mut self, now: Timestamp, from: &NodeName, told: HalfOpenMirror) {
        let HalfOpenMirror { vip, epoch, id, state } = told;
        if !self.is_current(vip, epoch) || !self.is_owner(vip, from) {
            return;
        }
        let Some(candidate) = self.candidate(vip) else { return };
        match state {
            Some(state) => {
                // One that cannot be read is one handshake that starts over after a takeover.
                let _ = candidate.engine.apply_mirrored(now, state.expose());
            }
            None => candidate.engine.forget_half_open(id),
        }
    }

    /// A target speaks for itself alone.
    fn learn_health(&mut self, from: &NodeName, told: TargetHealth) {
        for target in told.targets.iter().filter(|target| target.node == *from) {
            self.note_health(told.vip, &target.service, from, target.healthy);
        }
    }

    /// What a node that has just linked up must hear from this one.
    pub(crate) fn greet(&mut self, node: &NodeName) {
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            self.tell_health(vip);
            let Some(state) = self.vips.get(&vip) else { continue };
            let asks = match &state.standing {
                // A backup that joins late learns all connections; the news hold changes only.
                Standing::Owner(_) => self.other_candidates(vip).contains(node),
                Standing::Member(_, owner) => owner.as_ref() == Some(node),
            };
            if asks {
                self.ask_connections(vip);
                self.mirror_all_half_open(vip, node);
            }
        }
    }
}
