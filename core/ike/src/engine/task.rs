//! What an IKE SA wants to do next, and when it has to be looked at. Both follow from its state
//! alone, so that a new owner finds the same.

use crate::config::Dpd;
use crate::output::CloseReason;
use crate::sa::IkeSa;
use core::time::Duration;
use vipsec_wire::id::{Epoch, EspSpi};
use vipsec_wire::record::v1::{ChildPhase, IkePhase};
use vipsec_wire::time::Timestamp;

/// How long the peer may take to delete what it has replaced, before we do.
const GRACE: Duration = Duration::from_secs(30);

/// How long it may take to decide a collision: more than the repetitions of a request.
const DECISION: Duration = Duration::from_secs(300);

/// Takeovers for which there must be room in the terms of the IKE SA's keys; with less it is
/// rekeyed.
const TAKEOVER_RESERVE: u16 = 32;

/// What an engine's SAs have in common when they are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    /// How the connection looks into the peer's silence.
    pub(super) dpd: Option<Dpd>,
    /// From when on silence counts: this node has become the owner, or the store has come back.
    pub(super) since: Timestamp,
    /// The store is down: what can wait does. The end of an SA does not, it stands first in line.
    pub(super) holding: bool,
}

/// A request to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    CloseIke,
    DeleteChildren(Vec<EspSpi>),
    RekeyIke,
    RekeyChild(EspSpi),
    CreateChild(String),
    /// As a new owner: agrees with the peer on message IDs and sequence numbers.
    Synchronise,
    /// As MOBIKE's initiator: tells the responder of other addresses.
    UpdateAddresses,
    /// As its responder: looks whether the peer is where it says.
    Routability,
    Liveness,
}

/// What an SA wants to do now, if anything. One request at a time (RFC 7296 section 2.3).
//= RFC 7296 section 2.3 #2: one request after the other
//= RFC 7296 section 2.3 #4: whatever the peer would allow
pub(super) fn next(sa: &IkeSa, now: Timestamp, holding: bool) -> Option<Task> {
    let waits = sa.live.pending.is_some() || sa.live.refused_until.is_some();
    if sa.outstanding.is_some() || waits || !sa.live.complete {
        return None;
    }
    if sa.live.wanted.close.is_some() || phase_is_over(sa, now) {
        //= RFC 7296 section 2.8 #3: a replaced IKE SA asks for nothing but its end
        return Some(Task::CloseIke);
    }
    if sa.phase != IkePhase::Established {
        return None;
    }
    // The Child SAs are about to move to another IKE SA (RFC 7296 section 2.25.2).
    if sa.is_being_replaced() && now < sa.live.not_before {
        return None;
    }
    let gone = children_to_delete(sa, now);
    if !gone.is_empty() {
        return Some(Task::DeleteChildren(gone));
    }
    if holding {
        return None;
    }
    if sa.live.wanted.synchronise {
        // The peer takes no second synchronisation for the same message ID.
        let again = sa.synchronisation.sent == Some(sa.window.next_request);
        return Some(if again { Task::Liveness } else { Task::Synchronise });
    }
    if now >= sa.live.not_before {
        if sa.mobility.update {
            return Some(Task::UpdateAddresses);
        }
        if sa.mobility.esp.is_some() {
            return Some(Task::Routability);
        }
        let wanted = &sa.live.wanted;
        if wanted.rekey_ike {
            return Some(Task::RekeyIke);
        }
        if let Some(spi) = wanted.rekey.first() {
            return Some(Task::RekeyChild(*spi));
        }
        if let Some(name) = wanted.create.first() {
            return Some(Task::CreateChild(name.clone()));
        }
    }
    sa.live.wanted.liveness.then_some(Task::Liveness)
}

/// It was replaced, and it is our turn to delete it.
fn phase_is_over(sa: &IkeSa, now: Timestamp) -> bool {
    match sa.phase {
        IkePhase::Superseded { by_us, since } => by_us || now >= since + GRACE,
        IkePhase::Undecided => now >= sa.about.created + DECISION,
        IkePhase::Established => false,
    }
}

fn children_to_delete(sa: &IkeSa, now: Timestamp) -> Vec<EspSpi> {
    let over = sa.children.iter().filter(|link| match link.phase {
        ChildPhase::Superseded { by_us, since } => by_us || now >= since + GRACE,
        ChildPhase::Active => false,
    });
    let mut spis: Vec<EspSpi> = over.map(|link| link.spi).collect();
    spis.extend(sa.live.wanted.delete.iter().filter(|spi| !spis.contains(spi)).collect::<Vec<_>>());
    spis
}

/// When the peer's silence is to be looked into.
fn silence(sa: &IkeSa, outlook: Outlook) -> Option<Timestamp> {
    let dpd = outlook.dpd.filter(|_| sa.phase == IkePhase::Established)?;
    Some(sa.live.traffic.due(sa.about.id, dpd, sa.live.last_heard, outlook.since))
}

/// Turns what is due into what is wanted.
pub(super) fn note_due(sa: &mut IkeSa, now: Timestamp, epoch: Epoch, outlook: Outlook) {
    sa.live.refused_until.take_if(|until| now >= *until);
    if sa.phase == IkePhase::Established {
        let few = |term: vipsec_wire::id::Term| term.0 >= u16::MAX - TAKEOVER_RESERVE;
        let worn = epoch.term(sa.about.born).is_none_or(few);
        //= RFC 7296 section 2.2 #2: rekeyed before its message IDs are used up
        let worn = worn || sa.window.is_worn();
        sa.live.wanted.rekey_ike |= now >= sa.about.rekey_at || worn;
        //= RFC 7296 section 2.8 #1: after its life it is closed
        if now >= sa.about.expires_at && sa.live.wanted.close.is_none() {
            sa.live.wanted.close = Some(CloseReason::Expired);
        }
    }
    let silent = silence(sa, outlook).is_some_and(|due| now >= due);
    sa.live.wanted.liveness = silent && sa.outstanding.is_none();
}

/// When an SA has to be looked at next.
pub(super) fn due(sa: &IkeSa, outlook: Outlook) -> Option<Timestamp> {
    if sa.live.pending.is_some() || !sa.live.complete {
        return None;
    }
    let wanted = &sa.live.wanted;
    let established = sa.phase == IkePhase::Established;
    let when = |condition: bool, at: Timestamp| condition.then_some(at);
    let repetition = sa.outstanding.as_ref();
    let repetition = repetition.map(|r| r.retransmission.map_or(Timestamp(0), |r| r.due()));
    let mut times =
        vec![repetition, when(established && wanted.close.is_none(), sa.about.expires_at)];
    times.push(when(sa.live.unwritten && !outlook.holding, sa.live.not_before));
    if sa.outstanding.is_none() {
        if !outlook.holding {
            let waits = sa.mobility.update || sa.mobility.esp.is_some();
            let waits =
                waits || wanted.rekey_ike || !wanted.rekey.is_empty() || !wanted.create.is_empty();
            times.push(when(waits, sa.live.not_before));
            times.push(when(established && !wanted.rekey_ike, sa.about.rekey_at));
            times.push(silence(sa, outlook));
        }
        times.push(match sa.phase {
            IkePhase::Superseded { since, .. } => Some(since + GRACE),
            IkePhase::Undecided => Some(sa.about.created + DECISION),
            IkePhase::Established => None,
        });
        times.extend(sa.children.iter().map(|link| match link.phase {
            ChildPhase::Superseded { since, .. } => Some(since + GRACE),
            ChildPhase::Active => None,
        }));
    }
    let due = times.into_iter().flatten().filter(|due| *due < Timestamp(u64::MAX)).min();
    sa.live.refused_until.or(due)
}
