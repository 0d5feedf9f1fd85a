//! Rekeying a Child SA (RFC 7296 sections 1.3.3, 2.8 and 2.25.1), both roles, with the
//! collisions: both sides rekeying the same Child SA (2.8.1), and one rekeying what the other
//! deletes or does not know of yet.
//!
//! Of two SAs that replace the same one, that whose exchange had the lowest of the four nonces is
//! deleted by the side that made it. As responder we receive on the new SA at once, and send on it
//! when the peer has shown that it has it: by its first packet, which the data path sees, or by its
//! delete of the old one.

use crate::context::Context;
use crate::exchange::child;
use crate::exchange::contents::Contents;
use crate::exchange::create_child_sa::{Answer, Made, answer, ask, retry, wait_long};
use crate::exchange::ike_auth::{add_child, link_child};
use crate::exchange::{Reply, Request, ike_followup_ke};
use crate::ledger::Transaction;
use crate::output::Event;
use crate::sa::IkeSa;
use vipsec_esp::ChildSa;
use vipsec_wire::id::EspSpi;
use vipsec_wire::ike::{Notify, NotifyType, Payload, Protocol};
use vipsec_wire::record::v1::{ChildCollision, ChildPhase, Continuation, CreateChild, Product};

/// REKEY_SA for the Child SA at whose SPI we receive.
pub(crate) fn notification(spi: EspSpi) -> Payload {
    Payload::Notify(about(NotifyType::REKEY_SA, spi))
}

fn about(kind: NotifyType, spi: EspSpi) -> Notify {
    let sa = Some((Protocol::Esp, spi.0.to_be_bytes().to_vec()));
    Notify { sa, kind, data: Vec::new() }
}

/// The request for a successor of a Child SA.
pub(crate) fn request(cx: &mut Context<'_>, sa: &mut IkeSa, spi: EspSpi) -> Option<Request> {
    let current = &cx.tables.child(spi)?.sa;
    let config = child::config_of(cx, current);
    ask(cx, sa, &config, Some(spi))
}

/// Our own request for a successor of this Child SA, if it is in flight.
fn own_rekey(sa: &mut IkeSa, spi: EspSpi) -> Option<&mut CreateChild> {
    match sa.outstanding.as_mut().map(|outstanding| &mut outstanding.continuation) {
        Some(Continuation::CreateChild(create)) if create.rekeys == Some(spi) => Some(create),
        _ => None,
    }
}

/// Whether a request of ours for a Child SA is in flight.
fn is_creating(sa: &IkeSa) -> bool {
    let continuation = sa.outstanding.as_ref().map(|outstanding| &outstanding.continuation);
    matches!(continuation, Some(Continuation::CreateChild(_)))
}

/// Whether our delete of a Child SA is in flight or decided.
fn is_being_deleted(sa: &IkeSa, spi: EspSpi) -> bool {
    let in_flight = match sa.outstanding.as_ref().map(|outstanding| &outstanding.continuation) {
        Some(Continuation::DeleteChildren(spis)) => spis.contains(&spi),
        _ => false,
    };
    in_flight || sa.live.wanted.delete.contains(&spi)
}

/// Answers a request for a successor.
pub(crate) fn respond(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    contents: &Contents,
    notify: &Notify,
    tx: &mut Transaction,
) -> Reply {
    let Some((Protocol::Esp, spi)) = &notify.sa else {
        return Reply::error(NotifyType::INVALID_SYNTAX);
    };
    let Ok(bytes) = <[u8; 4]>::try_from(spi.as_slice()) else {
        return Reply::error(NotifyType::INVALID_SYNTAX);
    };
    let peer_spi = EspSpi(u32::from_be_bytes(bytes));
    let Some(old) = cx.tables.child_by_peer_spi(sa, peer_spi) else {
        // The peer may have made it in answer to the request of ours that is in flight: were we to
        // deny it, the peer would drop what we install when that answer comes.
        if is_creating(sa) {
            return Reply::error(NotifyType::TEMPORARY_FAILURE);
        }
        let error = about(NotifyType::CHILD_SA_NOT_FOUND, peer_spi);
        return Reply::new(vec![Payload::Notify(error)]);
    };
    let (old, name) = (old.sa.inbound.spi, old.sa.child.clone());
    let collided = own_rekey(sa, old).is_some_and(|create| create.collision.is_some());
    if !sa.has_active(old) || is_being_deleted(sa, old) || collided {
        return Reply::error(NotifyType::TEMPORARY_FAILURE);
    }
    match answer(cx, sa, contents, Some((old, &name))) {
        Ok(Answer { made, payloads, lower_nonce }) => {
            match made {
                Made::Now(child) => succeed(cx, sa, old, *child, lower_nonce, tx),
                Made::Later(followup) => {
                    if let (Some(create), Product::Child { agreed, .. }) =
                        (own_rekey(sa, old), &followup.product)
                    {
                        let spi = agreed.spi_in;
                        create.collision = Some(ChildCollision { spi, lower_nonce });
                    }
                    ike_followup_ke::wait(cx, sa, followup);
                }
            }
            Reply::new(payloads)
        }
        Err(reply) => reply,
    }
}

/// The peer's rekey goes through, or collides with ours and waits for its end.
pub(crate) fn succeed(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    old: EspSpi,
    child: ChildSa,
    lower_nonce: Vec<u8>,
    tx: &mut Transaction,
) {
    let spi = child.inbound.spi;
    match own_rekey(sa, old) {
        Some(create) => create.collision = Some(ChildCollision { spi, lower_nonce }),
        None => supersede(cx, sa, old, false),
    }
    add_child(cx, sa, child, ChildPhase::Active, false, Some(old), tx);
}

/// Our rekey has lost against the peer's, whose product, at this SPI, is there or will be.
pub(crate) fn give_way(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    old: EspSpi,
    spi: EspSpi,
    tx: &mut Transaction,
) {
    if sa.link(spi).is_some() {
        retire(cx, sa, old, false);
        return adopt(sa, spi, tx);
    }
    sa.live.wanted.rekey.insert(old);
    sa.live.not_before = sa.live.not_before.max(cx.now + ike_followup_ke::PATIENCE);
}

/// A Child SA has a successor and waits for its delete. It is sent on until the successor is.
fn supersede(cx: &Context<'_>, sa: &mut IkeSa, spi: EspSpi, by_us: bool) {
    sa.live.wanted.rekey.remove(&spi);
    if let Some(link) = sa.link(spi) {
        link.phase = ChildPhase::Superseded { by_us, since: cx.now };
    }
}

/// As [`supersede`], when the successor is sent on.
fn retire(cx: &Context<'_>, sa: &mut IkeSa, spi: EspSpi, by_us: bool) {
    supersede(cx, sa, spi, by_us);
    if let Some(link) = sa.link(spi) {
        link.outbound = false;
    }
}

/// The peer's successor is the one that stays.
fn adopt(sa: &mut IkeSa, spi: EspSpi, tx: &mut Transaction) {
    if let Some(link) = sa.link(spi)
        && !link.outbound
    {
        link.outbound = true;
        tx.activate(spi);
    }
}

/// The peer has answered our request for a successor with one.
pub(crate) fn complete(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    create: &CreateChild,
    old: EspSpi,
    made: ChildSa,
    lower_nonce: &[u8],
    tx: &mut Transaction,
) {
    let superseded = ChildPhase::Superseded { by_us: true, since: cx.now };
    match &create.collision {
        Some(collision) if lower_nonce < collision.lower_nonce.as_slice() => {
            retire(cx, sa, old, false);
            adopt(sa, collision.spi, tx);
            // That the old one was replaced was said when the peer's was made.
            link_child(cx, sa, made, superseded, false, Some(old), tx);
        }
        collision => {
            retire(cx, sa, old, true);
            if let Some(collision) = collision {
                retire(cx, sa, collision.spi, false);
            }
            add_child(cx, sa, made, ChildPhase::Active, true, Some(old), tx);
        }
    }
}

/// The peer has refused our request for a successor.
pub(crate) fn refused(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    create: &CreateChild,
    old: EspSpi,
    error: &Notify,
    tx: &mut Transaction,
) {
    // What the peer has made of the collision stands.
    if let Some(collision) = &create.collision {
        return give_way(cx, sa, old, collision.spi, tx);
    }
    let present = sa.has_active(old);
    if error.kind == NotifyType::CHILD_SA_NOT_FOUND {
        // RFC 7296 section 2.25: it goes silently, and a new one is made, unless the peer has
        // deleted it in the meantime and so does not want it.
        if present {
            cx.end_child(sa, old, tx);
            sa.live.wanted.create.insert(create.offer.child.clone());
        }
        return;
    }
    if !present {
        return;
    }
    sa.live.wanted.rekey.insert(old);
    if !retry(cx, sa, error, create.private.as_ref(), &create.offer.proposals) {
        wait_long(cx, sa);
        let child = Some(create.offer.child.clone());
        tx.events.push(Event::ChildFailed { ike: sa.id(), child, error: error.kind });
    }
}

/// The peer has deleted a Child SA: if it was its product of a collision, ours is alone again; if
/// it was the predecessor of one on which we do not send yet, we do now.
pub(crate) fn deleted_by_peer(
    cx: &Context<'_>,
    sa: &mut IkeSa,
    gone: &ChildSa,
    tx: &mut Transaction,
) {
    let spi = gone.inbound.spi;
    if let Some(outstanding) = &mut sa.outstanding
        && let Continuation::CreateChild(create) = &mut outstanding.continuation
        && create.collision.as_ref().is_some_and(|collision| collision.spi == spi)
    {
        create.collision = None;
        return;
    }
    send_on_successor(cx, sa, gone, tx);
}

/// A Child SA goes: its successor, if we do not send on it yet, is sent on.
pub(crate) fn send_on_successor(
    cx: &Context<'_>,
    sa: &mut IkeSa,
    gone: &ChildSa,
    tx: &mut Transaction,
) {
    for link in &mut sa.children {
        let successor = |child: &crate::child::Child| child.sa.child == gone.child;
        let waits = link.phase == ChildPhase::Active && !link.outbound;
        if waits && cx.tables.child(link.spi).is_some_and(successor) {
            link.outbound = true;
            tx.activate(link.spi);
        }
    }
}
