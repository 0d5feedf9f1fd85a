//! When a new owner synchronises with the peers that have offered it (RFC 6311): little by little,
//! for each costs a write, and nothing waits for it. And the way of such a request to its answer,
//! which is beside the window.

use crate::engine::Engine;
use crate::engine::receive::Opened;
use crate::error::Drop;
use crate::exchange::contents::Contents;
use crate::exchange::synchronise;
use crate::ledger::Transaction;
use crate::output::Output;
use crate::sa::{Datagram, IkeSa};
use crate::timers::Alarm;
use core::time::Duration;
use vipsec_crypto::Random;
use vipsec_crypto::digest::sha256;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::record::v1::Continuation;
use vipsec_wire::time::Timestamp;

/// After a takeover, when traffic flows again.
const FIRST: Duration = Duration::from_secs(1);
/// Between two lots.
const INTERVAL: Duration = Duration::from_millis(250);
/// IKE SAs that are synchronised in one lot, and that are looked at for it.
const LOT: usize = 64;
const LOOKED_AT: usize = 4096;

/// How far a new owner has got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    after: Option<IkeSaId>,
    armed: Option<Timestamp>,
}

impl Engine {
    /// This node is the owner now.
    pub(super) fn arm_synchronisation(&mut self, now: Timestamp) {
        self.synchronised.after = None;
        self.timers.arm(Alarm::Synchronise, &mut self.synchronised.armed, Some(now + FIRST));
    }

    /// The next lot of IKE SAs.
    pub(super) fn look_at_synchronisation(&mut self, now: Timestamp, rng: &mut dyn Random) {
        self.synchronised.armed = None;
        let looked_at = self.tables.sas_after(self.synchronised.after).take(LOOKED_AT);
        let mut due = Vec::new();
        let mut last = None;
        for sa in looked_at {
            last = Some(sa.id());
            if sa.live.inherited && sa.about.extensions.message_id_sync && sa.is_established() {
                due.push(sa.id());
            }
            if due.len() >= LOT {
                break;
            }
        }
        for id in due {
            if let Some(sa) = self.tables.get_mut(id) {
                sa.live.wanted.synchronise = true;
            }
            self.settle(now, id, rng);
        }
        self.synchronised.after = last;
        let next = last.map(|_| now + INTERVAL);
        self.timers.arm(Alarm::Synchronise, &mut self.synchronised.armed, next);
    }

    pub(super) fn is_synchronising(&self, id: IkeSaId) -> bool {
        let sent = self.tables.get(id).and_then(|sa| sa.outstanding.as_ref());
        sent.is_some_and(|request| matches!(request.continuation, Continuation::Synchronise(_)))
    }

    /// The peer does not answer, though it has said that it would. That is no reason to give it up.
    pub(super) fn synchronise_no_more(
        &mut self,
        now: Timestamp,
        id: IkeSaId,
        rng: &mut dyn Random,
    ) {
        let Some(sa) = self.tables.get_mut(id) else { return };
        let mut tx = Transaction::default();
        tx.begin(sa);
        sa.outstanding = None;
        tx.touch(id);
        self.commit(tx);
        self.settle(now, id, rng);
    }

    /// The peer's cluster synchronises. A repetition gets the very same answer.
    pub(super) fn receive_synchronisation(
        &mut self,
        now: Timestamp,
        id: IkeSaId,
        datagram: &Datagram,
        opened: Opened,
        rng: &mut dyn Random,
    ) {
        let Some(mut sa) = self.tables.take(id) else { return };
        let (local, remote) = (datagram.local, datagram.remote);
        let request = sha256(&[&datagram.message]);
        if let Some(response) = repeated(&sa, &request) {
            self.outbox.outputs.extend(synchronise::jump(&mut sa));
            let output = Output::Transmit { after: None, local, remote, message: response };
            self.outbox.outputs.push_back(output);
            return self.tables.insert(sa);
        }
        let mut tx = Transaction::default();
        tx.begin(&sa);
        let contents = Contents::sort(opened.unwrap_or_default());
        let Some(mut cx) = self.context(now, rng) else { return self.tables.insert(sa) };
        match synchronise::respond(&mut cx, &mut sa, request, &contents, &mut tx) {
            Some(message) => {
                sa.live.last_heard = now;
                tx.touch(id);
                tx.effects.push(Output::Transmit { after: None, local, remote, message });
                cx.tables.insert(sa);
                self.commit(tx);
            }
            None => {
                cx.drop(Drop::OutOfWindow);
                cx.tables.insert(sa);
            }
        }
    }
}

fn repeated(sa: &IkeSa, request: &[u8; 32]) -> Option<Vec<u8>> {
    let seen = sa.synchronisation.seen.as_ref().filter(|seen| seen.request == *request);
    seen.map(|seen| seen.response.clone())
}
