//! Changes of owner: freezing, thawing, handing over, taking over. Nothing here looks at every SA,
//! but for the export of a transfer.

use crate::command::Role;
use crate::counters::DropReason;
use crate::freeze::{HeldKind, HeldPacket};
use crate::path::Path;
use crate::report::Report;
use crate::sink::Sink;
use vipsec_esp::Replay;
use vipsec_wire::fabric::{Header, Kind};
use vipsec_wire::handover::Handover;
use vipsec_wire::id::{Epoch, Vip};
use vipsec_wire::time::Timestamp;

/// Bytes of a hand-over that are neither SA nor connection, at most.
const HANDOVER_FRAME: usize = 16;

impl Path {
    pub(crate) fn set_role(
        &mut self,
        now: Timestamp,
        vip: Vip,
        role: &Role,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
        let owner = match role {
            Role::Owner { .. } => None,
            Role::Member { owner, .. } => owner.as_ref().and_then(|node| self.member(node)),
        };
        let owner = owner.filter(|&node| node != self.own);
        let (reconcile, limits) = (self.config.limits.reconcile, self.config.limits.clone());
        let (own, several) = (self.own, self.config.workers > 1);
        let state = self.vip(index)?;
        let Some(changed) = state.set_role(now, role, owner, &limits) else { return Ok(()) };
        if changed {
            state.distributor.begin_generation(state.is_owner());
        }
        // After an exact hand-over there is nothing to be learnt.
        let known = state.handed == Some(role.epoch());
        let begins = changed && state.is_owner();
        if begins {
            let mut pending = if known { Vec::new() } else { state.distributor.other_targets() };
            // The other workers, too, may have something to say.
            pending.extend((several && !known).then_some(own));
            state.reconcile.begin(pending, now + reconcile);
            self.timers.inherited = Some(0);
            self.timers.arm(now, limits.edge_interval);
        }
        self.release_held(now, index, out);
        self.release_waiting(now, index, out);
        self.retry_trapped(now, index, out);
        if begins {
            self.give_strays(now, index);
        }
        Ok(())
    }

    pub(crate) fn freeze(&mut self, now: Timestamp, vip: Vip) -> Result<(), DropReason> {
        let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
        let state = self.vip(index)?;
        if !state.is_owner() {
            return Ok(());
        }
        state.frozen = true;
        let mut handover = Handover::default();
        let workers = usize::from(self.config.workers.max(1));
        let whole = self.config.limits.handover_bytes.saturating_sub(HANDOVER_FRAME);
        let mut room = whole / workers;
        self.hand_over_sas(index, &mut room, &mut handover);
        let first = self.config.worker == 0;
        let state = self.vip(index)?;
        // All workers keep the same of those that have no SA.
        let unplaced = state.unplaced.all(now).filter(|_| first);
        for connection in state.distributor.connections(now, false).chain(unplaced) {
            let Some(left) = room.checked_sub(connection.encoded_length()) else {
                handover.partial = true;
                break;
            };
            room = left;
            handover.connections.push(connection);
        }
        self.reports.push_back(Report::Frozen { vip, handover: Box::new(handover) });
        Ok(())
    }

    /// The SAs of a VIP that had traffic, as many as there is room for. Of the others the backups
    /// learn what they would before a takeover.
    fn hand_over_sas(&mut self, index: usize, room: &mut usize, handover: &mut Handover) {
        let Some(state) = self.vips.get(index).and_then(Option::as_ref) else { return };
        let (vip, epoch, replay) = (state.vip, state.epoch(), state.replay);
        let (mut edges, mut marks) = (Vec::new(), Vec::new());
        for slot in 0..self.sad.slots() {
            let Some(sa) = self.sad.get_mut(slot).filter(|sa| sa.vip == index && !sa.lingers)
            else {
                continue;
            };
            let spi_in = sa.spi();
            let Some(live) = sa.live.as_deref_mut() else { continue };
            if replay == Replay::Strict {
                // An SA of this epoch without traffic has an exact window, too: an empty one.
                // Without it the successor would have it rekeyed.
                let _ = live.enter_inbound(epoch, replay);
            }
            let Some(image) = live.image(spi_in, epoch) else { continue };
            if let Some(left) = room.checked_sub(image.encoded_length()) {
                *room = left;
                handover.sas.push(image);
            } else {
                edges.push((spi_in, live.edge()));
                marks.extend(live.outbound.high_water().map(|mark| (spi_in, mark)));
            }
        }
        let size = self.config.limits.edges.max(1);
        let edges = edges.chunks(size).map(|edges| Report::Edges { vip, edges: edges.to_vec() });
        self.reports.extend(edges);
        let marks =
            marks.chunks(size).map(|marks| Report::HighWater { vip, marks: marks.to_vec() });
        self.reports.extend(marks);
    }

    pub(crate) fn thaw(
        &mut self,
        now: Timestamp,
        vip: Vip,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
        let state = self.vip(index)?;
        if state.frozen {
            state.frozen = false;
            self.release_held(now, index, out);
            self.retry_waiting(now, index, out);
        }
        Ok(())
    }

    /// Takes in what the former owner handed over for `epoch`.
    pub(crate) fn take_over(
        &mut self,
        now: Timestamp,
        vip: Vip,
        epoch: Epoch,
        handover: Handover,
    ) -> Result<(), DropReason> {
        let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
        let own = self.config.node.clone();
        let state = self.vip(index)?;
        if epoch <= state.epoch() {
            return Err(DropReason::LowerEpoch);
        }
        state.handed = (!handover.partial).then_some(epoch);
        for image in handover.sas {
            if let Some(live) = self.sad.live_mut(index, image.spi_in) {
                live.take_over(epoch, image);
            }
        }
        self.import(now, index, &own, &handover.connections)
    }

    /// Packets that waited for an owner: handled if it is this node, forwarded if it is another,
    /// kept on if there is none yet.
    fn release_held(&mut self, now: Timestamp, vip: usize, out: &mut dyn Sink) {
        let Ok(state) = self.vip(vip) else { return };
        let forward = state.owner();
        if state.frozen || (!state.is_owner() && forward.is_none()) {
            return;
        }
        for held in state.held.take() {
            let result = self.release(now, vip, forward, held, out);
            self.count(result);
        }
    }

    fn release(
        &mut self,
        now: Timestamp,
        vip: usize,
        forward: Option<u16>,
        held: HeldPacket,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let HeldPacket { kind, late, mut packet, .. } = held;
        match (kind, forward) {
            (HeldKind::Outer(outer), None) => self.outer(now, vip, outer, late, &mut packet, out),
            (HeldKind::Inner(from), None) => self.inner_of(now, vip, from, late, &packet, out),
            // Forwarded again, even if it was forwarded to here: that takes a change of owner each
            // time, so it is no loop.
            (HeldKind::Outer(outer), Some(node)) => {
                self.forward_outer(now, vip, node, outer, &packet, out)
            }
            (HeldKind::Inner(from), Some(_)) => self.inner_of(now, vip, from, false, &packet, out),
        }
    }

    /// Decrypted packets that found no connection here, and will not: the next owner may know it.
    fn release_waiting(&mut self, now: Timestamp, vip: usize, out: &mut dyn Sink) {
        let Ok(state) = self.vip(vip) else { return };
        if state.is_owner() {
            return;
        }
        let owner = state.owner();
        while let Some((_, packet)) = self.vip(vip).ok().and_then(|state| state.waiting.pop()) {
            let result = match owner {
                Some(node) => self.late_inner(now, vip, node, &packet, out),
                None => Err(DropReason::UnknownConnection),
            };
            self.count(result);
        }
    }

    fn late_inner(
        &mut self,
        now: Timestamp,
        vip: usize,
        node: u16,
        packet: &[u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let state = self.vip(vip)?;
        let header = Header { kind: Kind::LateInner, vip: state.vip, epoch: state.epoch() };
        self.fabric.send(now, node, &header, &[packet], &mut self.ivs, out)
    }
}
