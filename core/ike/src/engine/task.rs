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

/// Takeovers for which there must be room in the terms of the IKE SA's keys; with less it is
/// rekeyed.
const TAKEOVER_RESERVE: u16 = 32;

/// A request to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    CloseIke,
    DeleteChildren(Vec<EspSpi>),
    RekeyIke,
    RekeyChild(EspSpi),
    CreateChild(String),
    Liveness,
}

/// What an SA wants to do now, if anything. One request at a time (RFC 7296 section 2.3).
pub(super) fn next(sa: &IkeSa, now: Timestamp) -> Option<Task> {
    if sa.outstanding.is_some() || sa.live.pending.is_some() || !sa.live.complete {
        return None;
    }
    if sa.live.wanted.close.is_some() || phase_is_over(sa, now) {
        return Some(Task::CloseIke);
    }
    if sa.phase != IkePhase::Established {
        return None;
    }
    let gone = children_to_delete(sa, now);
    if !gone.is_empty() {
        return Some(Task::DeleteChildren(gone));
    }
    if now >= sa.live.not_before {
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
        IkePhase::Established | IkePhase::Undecided => false,
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

/// When the peer's silence is to be looked into. SAs differ by up to a quarter of the time, so that
/// after a takeover not all silent peers are asked at once.
fn silence(sa: &IkeSa, dpd: Option<Dpd>, since: Timestamp) -> Option<Timestamp> {
    let dpd = dpd.filter(|_| sa.phase == IkePhase::Established)?;
    let heard = sa.live.last_heard.max(since);
    let idle_ms = u64::from(dpd.idle_s) * 1000;
    let spread_ms = idle_ms / 4 * (sa.about.id.0 % 256) / 256;
    Some(heard + Duration::from_millis(idle_ms + spread_ms))
}

/// Turns what is due into what is wanted. `since`: when this node became the owner.
pub(super) fn note_due(
    sa: &mut IkeSa,
    now: Timestamp,
    epoch: Epoch,
    since: Timestamp,
    dpd: Option<Dpd>,
) {
    if sa.phase == IkePhase::Established {
        let few = |term: vipsec_wire::id::Term| term.0 >= u16::MAX - TAKEOVER_RESERVE;
        let worn = epoch.term(sa.about.born).is_none_or(few);
        sa.live.wanted.rekey_ike |= now >= sa.about.rekey_at || worn;
        if now >= sa.about.expires_at && sa.live.wanted.close.is_none() {
            sa.live.wanted.close = Some(CloseReason::Expired);
        }
    }
    let silent = silence(sa, dpd, since).is_some_and(|due| now >= due);
    sa.live.wanted.liveness = silent && sa.outstanding.is_none();
}

/// When an SA has to be looked at next.
pub(super) fn due(sa: &IkeSa, since: Timestamp, dpd: Option<Dpd>) -> Option<Timestamp> {
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
    if sa.outstanding.is_none() {
        let waits = wanted.rekey_ike || !wanted.rekey.is_empty() || !wanted.create.is_empty();
        times.push(when(waits, sa.live.not_before));
        times.push(when(established && !wanted.rekey_ike, sa.about.rekey_at));
        times.push(silence(sa, dpd, since));
        if let IkePhase::Superseded { since, .. } = sa.phase {
            times.push(Some(since + GRACE));
        }
        times.extend(sa.children.iter().map(|link| match link.phase {
            ChildPhase::Superseded { since, .. } => Some(since + GRACE),
            ChildPhase::Active => None,
        }));
    }
    times.into_iter().flatten().filter(|due| *due < Timestamp(u64::MAX)).min()
}
