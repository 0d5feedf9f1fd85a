//! Writes: what is asked to be stored, and what follows when it is, or is not.

use crate::engine::Engine;
use crate::ledger::{Pending, Transaction};
use crate::output::{Change, CloseReason, Event, Output, Stored, Ticket};
use crate::retransmit::Retransmission;
use crate::sa::IkeSa;
use crate::snapshot;
use crate::timers::Alarm;
use core::time::Duration;
use std::collections::BTreeSet;
use vipsec_crypto::Random;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::record;
use vipsec_wire::record::v1::Mirrored;
use vipsec_wire::time::Timestamp;

/// How long an SA keeps still whose write the store has refused.
const REFUSED_WAIT: Duration = Duration::from_secs(1);

impl Engine {
    /// Asks for the changes of a step to be written, and holds what depends on it; a step without
    /// changes takes effect at once.
    pub(super) fn commit(&mut self, mut tx: Transaction) {
        for id in core::mem::take(&mut tx.touched) {
            self.gather(id, &mut tx);
        }
        if tx.is_empty() {
            let (effects, pending) = tx.finish(None);
            self.outbox.outputs.extend(effects);
            return self.say(pending.events);
        }
        let ticket = self.ledger.issue();
        let (new_sa, changes) = (tx.new_sa, core::mem::take(&mut tx.changes));
        let (effects, pending) = tx.finish(Some(ticket));
        for id in &pending.sas {
            if let Some(sa) = self.tables.get_mut(*id) {
                sa.live.pending = Some(ticket);
            }
        }
        self.outbox.outputs.push_back(Output::Persist { ticket, new_sa, changes });
        self.outbox.outputs.extend(effects);
        self.ledger.enter(ticket, pending);
    }

    /// Adds the changing part of an SA to what is written; all of it, if it is not in the store.
    fn gather(&mut self, id: IkeSaId, tx: &mut Transaction) {
        if let Some(sa) = self.tables.get_mut(id) {
            sa.live.unwritten = false;
        }
        let Some(sa) = self.tables.get(id) else { return };
        if sa.live.unprotected.is_some() {
            tx.new_sa = true;
            let known = |change: &Change| matches!(change, Change::IkeConstant(c) if c.id == id);
            if !tx.changes.iter().any(known) {
                let constant = snapshot::constant(self.config.vip, &sa.about);
                tx.changes.push(Change::IkeConstant(Box::new(constant)));
            }
            for child in sa.children.iter().filter_map(|link| self.tables.child(link.spi)) {
                let constant = snapshot::child_constant(&child.sa);
                tx.changes.push(Change::ChildConstant(Box::new(constant)));
            }
        }
        let state = Box::new(snapshot::mutable(sa));
        tx.changes.push(Change::IkeMutable { id, state });
    }

    /// The store has failed, or is there again. While it is down, nothing is begun that would only
    /// wait for it: rekeys, new Child SAs, liveness checks. What has fallen due meanwhile is begun
    /// when it is back; silence counts from then. The end of an SA is not put off: it waits for the
    /// store like every change, and the data path ends by itself at the hard limits.
    pub fn handle_store_health(&mut self, now: Timestamp, up: bool) {
        if self.holding != up {
            return;
        }
        self.holding = !up;
        if up {
            self.resumed = now;
            let ids: Vec<IkeSaId> = self.tables.sas().map(IkeSa::id).collect();
            for id in ids {
                self.rearm(id);
            }
        }
    }

    fn say(&mut self, events: Vec<Event>) {
        for event in &events {
            self.note_for_starts(event);
        }
        self.outbox.outputs.extend(events.into_iter().map(Output::Event));
    }

    /// The store has answered a [`Output::Persist`].
    pub fn handle_stored(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        outcome: Stored,
        rng: &mut dyn Random,
    ) {
        let Some(pending) = self.ledger.settle(ticket) else {
            return self.repaired(ticket, outcome);
        };
        let sas = pending.sas.clone();
        match outcome {
            Stored::Refused => {
                // A write may be refused before what depends on it has been polled.
                self.outbox.outputs.retain(|output| output.after() != Some(ticket));
                self.roll_back(now, pending);
            }
            Stored::Confirmed | Stored::Unprotected => {
                for id in &sas {
                    self.stored(now, *id, ticket, outcome);
                }
                self.say(pending.events);
                if let Some(ended) = pending.last_words {
                    let (id, ended) = (ended.id, Box::new(ended));
                    self.tables.bury((*ended).clone());
                    let state = record::encode(&Mirrored::Ended(ended));
                    self.outbox.outputs.push_back(Output::Mirror { id, state });
                }
                if outcome == Stored::Unprotected {
                    self.ledger.remember_unprotected(ticket, sas.clone());
                }
            }
        }
        self.resume(now, &sas, rng);
    }

    fn repaired(&mut self, ticket: Ticket, outcome: Stored) {
        if outcome == Stored::Confirmed {
            for id in self.ledger.repaired(ticket) {
                if let Some(sa) = self.tables.get_mut(id) {
                    sa.live.unprotected.take_if(|last| *last <= ticket);
                }
            }
        }
    }

    /// A write about an SA is done: what waited for it has left by now.
    fn stored(&mut self, now: Timestamp, id: IkeSaId, ticket: Ticket, outcome: Stored) {
        let Some(sa) = self.tables.get_mut(id) else { return };
        sa.live.unprotected = (outcome == Stored::Unprotected).then_some(ticket);
        // The end of a collision may have begun a later write about it.
        if sa.live.pending.take_if(|pending| *pending <= ticket).is_none() {
            return;
        }
        if let Some(request) = &mut sa.outstanding
            && request.retransmission.is_none()
        {
            request.retransmission = Some(Retransmission::begin(now, &self.config.retransmit));
        }
    }

    /// What came for these SAs meanwhile, and what they wanted to do.
    fn resume(&mut self, now: Timestamp, sas: &BTreeSet<IkeSaId>, rng: &mut dyn Random) {
        for id in sas {
            let deferred =
                self.tables.get_mut(*id).map(|sa| core::mem::take(&mut sa.live.deferred));
            for datagram in deferred.into_iter().flatten() {
                self.receive(now, datagram, rng);
            }
            self.settle(now, *id, rng);
        }
    }

    /// Takes back what was not written. A new SA is gone with it; an old one stands where it stood,
    /// and the peer's repetition finds it so.
    pub(super) fn roll_back(&mut self, now: Timestamp, pending: Pending) {
        let owner = self.ownership.is_some();
        for mut sa in pending.ended {
            self.timers.arm(Alarm::Sa(sa.id()), &mut sa.live.armed, None);
            self.tables.insert(Box::new(sa));
        }
        for change in pending.undo {
            if let Change::IkeGone(id) = &change
                && let Some(sa) = self.tables.get(*id)
            {
                let (id, connection) = (sa.id(), sa.about.connection.clone());
                let reason = CloseReason::NotStored;
                self.say(vec![Event::Closed { id, connection, reason }]);
            }
            let id = match &change {
                Change::IkeMutable { id, .. } => Some(*id),
                _ => None,
            };
            let here = id.and_then(|id| self.tables.get(id)).map(|sa| sa.addresses);
            // What is taken back was made of live values, so it can be made live again.
            let _ = self.restore(now, change, false);
            if let Some(sa) = id.and_then(|id| self.tables.get_mut(id)) {
                sa.live.not_before = now + REFUSED_WAIT;
                // Where the peer is remains so, and is written later, unless by another owner.
                // With MOBIKE the peer has not been answered, and says it again.
                let Some(here) = here.filter(|here| owner && *here != sa.addresses) else {
                    continue;
                };
                if sa.about.extensions.mobike.is_none() {
                    (sa.addresses, sa.live.unwritten) = (here, true);
                } else {
                    let (ike, endpoints) = (sa.about.family, sa.endpoints());
                    let output = Output::Endpoints { after: None, ike, endpoints };
                    self.outbox.outputs.push_back(output);
                }
            }
        }
        for (id, before) in pending.before {
            if let Some(sa) = self.tables.get_mut(id) {
                sa.live.wanted.again(before.wanted);
                sa.live.unwritten |= before.unwritten && owner;
                sa.live.refused_until = Some(now + REFUSED_WAIT);
            }
        }
    }
}
