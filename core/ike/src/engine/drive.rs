//! What happens without a message: time-outs, repetitions, and requests of our own.

use crate::engine::task::{self, Outlook, Task};
use crate::engine::{Engine, Ownership};
use crate::exchange::{
    Request, create_child_sa, ike_sa_init_initiator, informational, mobike, rekey_child, rekey_ike,
    synchronise,
};
use crate::ledger::Transaction;
use crate::output::{CloseReason, Event, Output};
use crate::protect::NoIv;
use crate::retransmit::{GiveUp, Retransmission};
use crate::sa::{IkeSa, Outstanding};
use crate::snapshot::exchange_of;
use crate::timers::Alarm;
use vipsec_crypto::Random;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::record::v1::{Continuation, IkeAddresses, IkePhase};
use vipsec_wire::time::Timestamp;

/// Alarms that are handled in one call, so that a takeover of very many SAs does not stall: the
/// rest is due at once.
const ALARMS: usize = 256;

/// Repetitions of a synchronisation, which all other requests wait for.
const SYNCHRONISE_TRIES: u32 = 3;

impl Engine {
    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp, rng: &mut dyn Random) {
        if self.ownership.is_none() {
            return;
        }
        self.expire_half_open(now);
        self.tables.reassembly.expire(now);
        self.expire_leases(now);
        for _ in 0..ALARMS {
            match self.timers.pop(now) {
                Some(Alarm::Sa(id)) => self.look_at(now, id, rng),
                Some(Alarm::HalfOpen(id)) => self.look_at_half_open(now, id, rng),
                Some(Alarm::Synchronise) => self.look_at_synchronisation(now, rng),
                Some(Alarm::Start(place)) => self.look_at_start(now, place, rng),
                Some(Alarm::Names) => self.look_at_names(now),
                None => return,
            }
        }
    }

    fn look_at(&mut self, now: Timestamp, id: IkeSaId, rng: &mut dyn Random) {
        let settings = self.config.retransmit;
        let Some(sa) = self.tables.get_mut(id) else { return };
        sa.live.armed = None;
        if sa.live.pending.is_some() {
            return;
        }
        match repeat(sa, now, &settings) {
            Ok((datagrams, repeated)) => {
                let (local, remote) = (sa.addresses.local, mobike::another_way(sa, repeated));
                //= RFC 7296 section 2.1 #7: the very bytes of the request
                //= RFC 7296 section 2.2 #1: with its message ID
                self.outbox.outputs.extend(Output::transmits(local, remote, datagrams));
            }
            Err(GiveUp) => return self.give_up(now, id, rng),
        }
        self.settle(now, id, rng);
    }

    /// The peer does not answer: the SA is gone.
    //= RFC 7296 section 2.1 #6: given up with all its Child SAs
    //= RFC 7296 section 2.4 #4: after repeated silence alone
    fn give_up(&mut self, now: Timestamp, id: IkeSaId, rng: &mut dyn Random) {
        if self.is_synchronising(id) {
            return self.synchronise_no_more(now, id, rng);
        }
        let Some(sa) = self.tables.get(id) else { return };
        let reason = match (&sa.live.wanted.close, sa.phase) {
            (Some(reason), _) => reason.clone(),
            (None, IkePhase::Superseded { .. } | IkePhase::Undecided) => CloseReason::Rekeyed,
            (None, _) => CloseReason::PeerDead,
        };
        let mut tx = Transaction::default();
        let Some(mut cx) = self.context(now, rng) else { return };
        if let Some(sa) = cx.tables.take(id) {
            cx.end_sa(sa, reason, &mut tx);
        }
        self.commit(tx);
    }

    /// Lets an SA do what it wants, and sets its alarm.
    pub(super) fn settle(&mut self, now: Timestamp, id: IkeSaId, rng: &mut dyn Random) {
        self.write_rest(now, id);
        if let Some(Ownership { epoch, .. }) = self.ownership
            && let Some(outlook) = self.tables.get(id).map(|sa| self.outlook(sa))
        {
            if let Some(sa) = self.tables.get_mut(id) {
                task::note_due(sa, now, epoch, outlook);
            }
            let holding = self.holding;
            while let Some(task) = self.tables.get(id).and_then(|sa| task::next(sa, now, holding)) {
                self.begin_task(now, id, &task, rng);
            }
        }
        self.rearm(id);
    }

    /// What nothing waits for gets written as soon as nothing else is being written about the SA.
    pub(super) fn write_rest(&mut self, now: Timestamp, id: IkeSaId) {
        let holding = self.holding;
        let may = |sa: &&IkeSa| sa.live.unwritten && sa.live.pending.is_none() && !holding;
        let due = |sa: &&IkeSa| now >= sa.live.not_before && sa.live.complete;
        if let Some(sa) = self.tables.get(id).filter(may).filter(due) {
            let mut tx = Transaction::default();
            tx.begin(sa);
            tx.touch(id);
            self.commit(tx);
        }
    }

    fn outlook(&self, sa: &IkeSa) -> Outlook {
        let connections = &self.config.connections;
        let connection = connections.iter().find(|c| c.name == sa.about.connection);
        let since = self.ownership.map_or(Timestamp(0), |ownership| ownership.since);
        Outlook {
            dpd: connection.and_then(|connection| connection.dpd),
            since: since.max(self.resumed),
            holding: self.holding,
        }
    }

    pub(super) fn rearm(&mut self, id: IkeSaId) {
        let Some(sa) = self.tables.get(id) else { return };
        let due = task::due(sa, self.outlook(sa));
        if let Some(sa) = self.tables.get_mut(id) {
            let mut armed = sa.live.armed;
            self.timers.arm(Alarm::Sa(id), &mut armed, due);
            sa.live.armed = armed;
        }
    }

    /// Makes and sends the request of a task, once it is stored. What cannot be made is not wanted
    /// any more.
    fn begin_task(&mut self, now: Timestamp, id: IkeSaId, task: &Task, rng: &mut dyn Random) {
        let Some(mut sa) = self.tables.take(id) else { return };
        let mut tx = Transaction::default();
        tx.begin(&sa);
        let Some(mut cx) = self.context(now, rng) else {
            return self.tables.insert(sa);
        };
        let wanted = &mut sa.live.wanted;
        let request = match task {
            Task::CloseIke => Some(informational::delete_ike()),
            Task::DeleteChildren(spis) => {
                wanted.delete.clear();
                Some(informational::delete_children(spis.clone()))
            }
            Task::RekeyIke => {
                wanted.rekey_ike = false;
                rekey_ike::request(&mut cx, &mut sa)
            }
            Task::RekeyChild(spi) => {
                wanted.rekey.remove(spi);
                rekey_child::request(&mut cx, &mut sa, *spi)
            }
            Task::CreateChild(name) => {
                wanted.create.remove(name);
                create_child_sa::request(&mut cx, &mut sa, name)
            }
            Task::UpdateAddresses => Some(mobike::update_request(&mut cx, &sa)),
            Task::Routability => Some(mobike::routability(&mut cx, &sa)),
            Task::Synchronise => {
                wanted.synchronise = false;
                Some(synchronise::request(&mut cx, &mut sa))
            }
            Task::Liveness => {
                wanted.liveness = false;
                Some(informational::liveness(&sa))
            }
        };
        let Some(request) = request else {
            create_child_sa::wait_long(&mut cx, &mut sa);
            return cx.tables.insert(sa);
        };
        match send(&mut sa, request, &mut cx, &mut tx) {
            Ok(()) => cx.tables.insert(sa),
            // No IV or message ID is left for its keys, so it can only end.
            Err(_) => cx.end_sa(sa, CloseReason::Expired, &mut tx),
        }
        self.commit(tx);
    }

    pub(super) fn arm_half_open(&mut self, id: IkeSaId) {
        if let Some(half) = self.tables.half_open.initiator(id) {
            let due = Some(half.retransmission.due());
            self.timers.arm(Alarm::HalfOpen(id), &mut half.armed, due);
        }
    }

    fn look_at_half_open(&mut self, now: Timestamp, id: IkeSaId, rng: &mut dyn Random) {
        let settings = self.initiation_pace(id);
        let Some(half) = self.tables.half_open.initiator(id) else { return };
        half.armed = None;
        if half.puzzle.is_some() {
            return self.work_on(now, id, rng);
        }
        let given_up = half.suspicion.is_some();
        if !given_up && half.retransmission.repeat(now, &settings).is_ok() {
            let datagrams = ike_sa_init_initiator::datagrams(half);
            let IkeAddresses { local, remote, .. } = half.state.addresses;
            self.outbox.outputs.extend(Output::transmits(local, remote, datagrams));
            return self.arm_half_open(id);
        }
        if let Some(half) = self.tables.half_open.remove_initiator(id) {
            let reason = half.suspicion.unwrap_or(CloseReason::PeerDead);
            let remote = half.state.addresses.remote;
            self.outbox.outputs.push_back(Output::DropHalfOpen { id });
            self.outbox.outputs.push_back(Output::Event(Event::Failed { id, remote, reason }));
        }
    }

    fn work_on(&mut self, now: Timestamp, id: IkeSaId, rng: &mut dyn Random) {
        let Some(mut half) = self.tables.half_open.remove_initiator(id) else { return };
        if let Some(mut cx) = self.context(now, rng) {
            ike_sa_init_initiator::solve(&mut cx, &mut half);
        }
        self.tables.half_open.insert_initiator(half);
        self.arm_half_open(id);
    }

    /// Half-open IKE SAs of peers that have not gone on.
    pub(super) fn expire_half_open(&mut self, now: Timestamp) {
        let timeout = self.config.limits.half_open_timeout;
        while let Some(created) = self.tables.half_open.oldest_created()
            && now >= created + timeout
            && let Some(id) = self.tables.half_open.oldest(created)
        {
            self.tables.half_open.remove_responder(id);
        }
    }
}

/// The message to repeat, or its fragments, and which repetition it is; nothing if that is not due.
fn repeat(
    sa: &mut IkeSa,
    now: Timestamp,
    settings: &crate::config::Retransmit,
) -> Result<(Vec<Vec<u8>>, u32), GiveUp> {
    let Some(request) = &mut sa.outstanding else {
        return Ok((Vec::new(), 0));
    };
    let mut repetition = request.retransmission.unwrap_or(Retransmission::inherited(now));
    if now < repetition.due() {
        return Ok((Vec::new(), 0));
    }
    let beside = matches!(request.continuation, Continuation::Synchronise(_));
    if beside && repetition.repeated() >= SYNCHRONISE_TRIES {
        return Err(GiveUp);
    }
    repetition.repeat(now, settings)?;
    request.retransmission = Some(repetition);
    Ok((request.datagrams.clone(), repetition.repeated()))
}

/// Seals a request; it leaves when it is stored.
//= RFC 7296 section 1.4 #2: under the IKE SA that it concerns
//= RFC 7296 section 2.1 #3: kept until it is answered
pub(super) fn send(
    sa: &mut IkeSa,
    request: Request,
    cx: &mut crate::context::Context<'_>,
    tx: &mut Transaction,
) -> Result<(), NoIv> {
    let Request { payloads, continuation } = request;
    if sa.window.is_used_up() {
        return Err(NoIv);
    }
    // A synchronisation stands beside the window (RFC 6311 section 5.1).
    let beside = matches!(continuation, Continuation::Synchronise(_));
    let id = if beside { 0 } else { sa.window.next_request };
    let exchange = exchange_of(&continuation);
    let header = sa.header(exchange, id, false);
    let datagrams = sa.seal(&header, &payloads, cx.sealing(), cx.rng)?;
    if !beside {
        sa.window.next_request = id.saturating_add(1);
    }
    let IkeAddresses { local, remote, .. } = sa.addresses;
    tx.effects.extend(Output::transmits(local, remote, datagrams.clone()));
    sa.outstanding =
        Some(Outstanding { id, exchange, datagrams, continuation, retransmission: None });
    tx.touch(sa.id());
    Ok(())
}
