//! What an IKE engine wants: messages that may have to wait for the store, work for the data path,
//! mirrors for the backups.

use crate::io::Output;
use crate::node::Node;
use crate::vip::{Effect, Standing};
use core::net::SocketAddr;
use vipsec_ike::{Change, Output as Intention, Stored, Ticket};
use vipsec_path::Command;
use vipsec_wire::cluster::{HalfOpenMirror, Message};
use vipsec_wire::id::{IkeSaId, NodeName, Vip};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

impl Node {
    /// An IKE message has come in. One for a VIP that this node does not own, or is handing over,
    /// has no effect.
    pub(crate) fn handle_ike(
        &mut self,
        now: Timestamp,
        vip: Vip,
        local: SocketAddr,
        remote: SocketAddr,
        message: &[u8],
    ) {
        let random = self.random.as_mut();
        let Some(state) = self.vips.get_mut(&vip) else { return };
        let owner = matches!(state.standing, Standing::Owner(_));
        let Some(candidate) = state.candidate.as_mut() else { return };
        if owner && candidate.freezing.is_none() {
            candidate.engine.handle_datagram(now, local, remote, message, random);
        }
    }

    pub(crate) fn engine_timeout(&mut self, now: Timestamp, vip: Vip) {
        let random = self.random.as_mut();
        let Some(state) = self.vips.get_mut(&vip) else { return };
        let Some(candidate) = state.candidate.as_mut() else { return };
        let due = candidate.engine.poll_timeout().is_some_and(|at| at <= now);
        if due && candidate.freezing.is_none() {
            candidate.engine.handle_timeout(now, random);
        }
    }

    /// Carries out all that the engine wants.
    pub(crate) fn drain_engine(&mut self, now: Timestamp, vip: Vip) {
        while let Some(intention) = self.candidate(vip).and_then(|c| c.engine.poll_output()) {
            self.intend(now, vip, intention);
        }
    }

    fn intend(&mut self, now: Timestamp, vip: Vip, intention: Intention) {
        match intention {
            Intention::Transmit { after, local, remote, message } => {
                self.effect(vip, after, Effect::Transmit { local, remote, message });
            }
            Intention::Persist { ticket, new_sa, changes } => {
                self.persist(now, vip, ticket, new_sa, &changes);
            }
            Intention::Install { after, sa, outbound, replaces: _ } => {
                let Some(candidate) = self.candidate(vip) else { return };
                let state = candidate.install_state(sa.inbound.spi, outbound);
                self.effect(vip, after, command(Command::Install(sa, state)));
            }
            Intention::ActivateOutbound { after, spi_in } => {
                self.effect(vip, after, command(Command::ActivateOutbound { vip, spi_in }));
            }
            Intention::Remove { after, spi_in, replaced } => {
                self.effect(vip, after, command(Command::Remove { vip, spi_in, replaced }));
            }
            Intention::Jump { after, ike, inbound, outbound } => {
                self.effect(vip, after, Effect::Jump { ike, inbound, outbound });
            }
            Intention::Endpoints { after, ike, endpoints } => {
                self.effect(vip, after, Effect::Endpoints { ike, endpoints });
            }
            Intention::Mirror { id, state } => self.mirror_half_open(vip, id, Some(state)),
            Intention::DropHalfOpen { id } => self.mirror_half_open(vip, id, None),
            Intention::Resolve { name } => self.outputs.push_back(Output::Resolve { name }),
            Intention::Event(event) => self.event(crate::Event::Ike(vip, event)),
        }
    }

    fn endpoints(&mut self, vip: Vip, ike: IkeSaId, endpoints: vipsec_esp::Endpoints) {
        let Some(candidate) = self.candidate(vip) else { return };
        let family = candidate.installed.iter_mut().filter(|(_, sa)| sa.family == ike);
        let mut spis = Vec::new();
        for (spi_in, installed) in family {
            installed.endpoints = endpoints;
            spis.push(*spi_in);
        }
        for spi_in in spis {
            self.command(Command::SetEndpoints { vip, spi_in, endpoints });
        }
    }

    fn jump(&mut self, vip: Vip, ike: IkeSaId, inbound: u64, outbound: u64) {
        let Some(candidate) = self.candidate(vip) else { return };
        let family = candidate.installed.iter().filter(|(_, sa)| sa.family == ike);
        let spis: Vec<_> = family.map(|(spi_in, _)| *spi_in).collect();
        for spi_in in spis {
            self.command(Command::Jump { vip, spi_in, inbound, outbound });
        }
    }

    fn mirror_half_open(&mut self, vip: Vip, id: IkeSaId, state: Option<SecretBytes>) {
        let Some(Standing::Owner(epoch)) = self.vips.get(&vip).map(|v| v.standing.clone()) else {
            return;
        };
        let message = Message::HalfOpen(HalfOpenMirror { vip, epoch, id, state });
        for node in self.other_candidates(vip) {
            self.send(&node, &message);
        }
    }

    /// Tells a backup that joins what is half-open.
    pub(crate) fn mirror_all_half_open(&mut self, vip: Vip, backup: &NodeName) {
        let Some(state) = self.vips.get(&vip) else { return };
        let (Standing::Owner(epoch), Some(candidate)) = (&state.standing, &state.candidate) else {
            return;
        };
        let (epoch, all) = (*epoch, candidate.engine.half_open().collect::<Vec<_>>());
        for (id, state) in all {
            let message = Message::HalfOpen(HalfOpenMirror { vip, epoch, id, state: Some(state) });
            self.send(backup, &message);
        }
    }

    /// Lets an effect happen, now or when its write is confirmed.
    fn effect(&mut self, vip: Vip, after: Option<Ticket>, effect: Effect) {
        let Some(candidate) = self.candidate(vip) else { return };
        if let Some(effect) = candidate.held.pass(after, effect) {
            self.happen(vip, effect);
        }
    }

    fn happen(&mut self, vip: Vip, effect: Effect) {
        match effect {
            Effect::Transmit { local, remote, message } => {
                self.outputs.push_back(Output::Ike { local, remote, message });
            }
            Effect::Jump { ike, inbound, outbound } => self.jump(vip, ike, inbound, outbound),
            Effect::Endpoints { ike, endpoints } => self.endpoints(vip, ike, endpoints),
            Effect::Command(command) => {
                if let Some(candidate) = self.candidate(vip) {
                    candidate.note_command(&command);
                }
                self.outputs.push_back(Output::Worker { worker: None, command });
            }
        }
    }

    /// A write of the engine's is settled.
    pub(crate) fn settle_ticket(&mut self, now: Timestamp, vip: Vip, ticket: Ticket, how: Stored) {
        let random = self.random.as_mut();
        let state = self.vips.get_mut(&vip).and_then(|state| state.candidate.as_mut());
        let Some(candidate) = state else { return };
        let sas = candidate.tickets.get(&ticket).cloned().unwrap_or_default();
        let mut repaired = false;
        match how {
            Stored::Unprotected => {
                candidate.unprotected.insert(ticket, sas.clone());
            }
            Stored::Confirmed | Stored::Refused => {
                candidate.tickets.remove(&ticket);
                repaired = candidate.unprotected.remove(&ticket).is_some()
                    && candidate.unprotected.is_empty();
            }
        }
        let effects = candidate.held.settle(ticket, how);
        candidate.engine.handle_stored(now, ticket, how, random);
        for effect in effects {
            self.happen(vip, effect);
        }
        match how {
            Stored::Unprotected => self.event(crate::Event::Unprotected(vip, sas)),
            Stored::Confirmed if repaired => self.event(crate::Event::Protected(vip)),
            _ => {}
        }
        self.drain_engine(now, vip);
    }
}

fn command(command: Command) -> Effect {
    Effect::Command(Box::new(command))
}

/// The IKE SAs that changes are about.
pub(crate) fn subjects(changes: &[Change]) -> Vec<IkeSaId> {
    let mut ids: Vec<IkeSaId> = changes
        .iter()
        .filter_map(|change| match change {
            Change::IkeConstant(constant) => Some(constant.id),
            Change::IkeMutable { id, .. } | Change::IkeGone(id) => Some(*id),
            Change::ChildConstant(_)
            | Change::ChildGone { .. }
            | Change::Lease(_)
            | Change::LeaseGone(_) => None,
        })
        .collect();
    ids.dedup();
    ids
}
