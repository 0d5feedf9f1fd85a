//! INFORMATIONAL (RFC 7296 sections 1.4 and 2.4), both roles: deletes, liveness, errors. What
//! MOBIKE (RFC 4555) adds stands beside.

use crate::context::Context;
use crate::exchange::contents::Contents;
use crate::exchange::{
    Fate, Reply, Request, configuration, mobike, rekey_child, rekey_ike, synchronise,
};
use crate::ledger::Transaction;
use crate::output::CloseReason;
use crate::sa::{Datagram, IkeSa};
use vipsec_wire::id::EspSpi;
use vipsec_wire::ike::{Delete, NotifyType, Payload};
use vipsec_wire::record::v1::{Continuation, IkePhase};

/// A check whether the peer lives.
pub(crate) fn liveness(sa: &IkeSa) -> Request {
    Request { payloads: mobike::look_around(sa), continuation: Continuation::Liveness }
}

/// The delete of the IKE SA.
pub(crate) fn delete_ike() -> Request {
    let payloads = vec![Payload::Delete(Delete::Ike)];
    Request { payloads, continuation: Continuation::DeleteIke }
}

/// The delete of Child SAs, by the SPIs at which we receive.
//= RFC 7296 section 1.4.1 #2: by the SPIs at which we receive
//= RFC 7296 section 2.4 #8: the peer is told
pub(crate) fn delete_children(spis: Vec<EspSpi>) -> Request {
    let payloads = vec![Payload::Delete(Delete::Esp(spis.clone()))];
    Request { payloads, continuation: Continuation::DeleteChildren(spis) }
}

/// Answers a request.
//= RFC 7296 section 1.4 #4: there is an answer to every request
//= RFC 7296 section 2.21.4 #7: notifications of suspicious messages change nothing
//= RFC 7296 section 4 #4: likewise
pub(crate) fn respond(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    datagram: &Datagram,
    contents: &Contents,
    tx: &mut Transaction,
) -> Reply {
    if contents.has(NotifyType::AUTHENTICATION_FAILED) {
        let reason = CloseReason::PeerRefused(NotifyType::AUTHENTICATION_FAILED);
        return Reply { payloads: Vec::new(), fate: Fate::Close(reason) };
    }
    if contents.deletes.contains(&Delete::Ike) {
        rekey_ike::deleted_by_peer(cx, sa, tx);
        let reason = match sa.phase {
            IkePhase::Established => CloseReason::DeletedByPeer,
            IkePhase::Superseded { .. } | IkePhase::Undecided => CloseReason::Rekeyed,
        };
        return Reply { payloads: Vec::new(), fate: Fate::Close(reason) };
    }
    let mut answered = Vec::new();
    for delete in &contents.deletes {
        if let Delete::Esp(spis) = delete {
            answered.extend(spis.iter().filter_map(|spi| delete_child(cx, sa, *spi, tx)));
        }
    }
    let mut payloads = mobike::respond(cx, sa, datagram, contents, tx);
    let connection = cx.connection(&sa.about.connection);
    let told = configuration::answer(connection, contents.configuration.as_ref());
    payloads.extend(told.map(Payload::Configuration));
    if !answered.is_empty() {
        payloads.push(Payload::Delete(Delete::Esp(answered)));
    }
    Reply::new(payloads)
}

/// Ends the Child SA that the peer deletes, by its SPI. Gives our SPI for the answer, but not for
/// one that we are deleting ourselves (RFC 7296 section 1.4.1).
fn delete_child(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    peer_spi: EspSpi,
    tx: &mut Transaction,
) -> Option<EspSpi> {
    //= RFC 7296 section 1.4.1 #3: what the peer names is closed
    //= RFC 7296 section 1.4.1 #1: both halves of it
    let gone = cx.tables.child_by_peer_spi(sa, peer_spi)?.sa.clone();
    let spi = gone.inbound.spi;
    let own = match sa.outstanding.as_ref().map(|outstanding| &outstanding.continuation) {
        Some(Continuation::DeleteChildren(spis)) => spis.contains(&spi),
        _ => false,
    };
    rekey_child::deleted_by_peer(cx, sa, &gone, tx);
    cx.end_child(sa, spi, tx);
    //= RFC 7296 section 1.4.1 #5: not those that our own delete names
    (!own).then_some(spi)
}

/// The peer has answered one of our deletes or checks.
pub(crate) fn complete(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    continuation: &Continuation,
    datagram: &Datagram,
    contents: &Contents,
    tx: &mut Transaction,
) -> Fate {
    match continuation {
        Continuation::UpdateAddresses(check) => {
            mobike::updated(cx, sa, check, datagram, contents, tx)
        }
        Continuation::Synchronise(asked) => synchronise::complete(sa, asked, contents, tx),
        Continuation::Routability(check) => mobike::proven(cx, sa, check, datagram, contents, tx),
        Continuation::DeleteIke => {
            let reason = sa.live.wanted.close.take();
            Fate::Close(reason.unwrap_or(match sa.phase {
                IkePhase::Superseded { .. } | IkePhase::Undecided => CloseReason::Rekeyed,
                IkePhase::Established => CloseReason::Requested,
            }))
        }
        //= RFC 7296 section 1.4.1 #6: a pair goes when the peer has answered for it
        Continuation::DeleteChildren(spis) => {
            for spi in spis {
                if let Some(gone) = cx.tables.child(*spi).map(|child| child.sa.clone()) {
                    rekey_child::send_on_successor(cx, sa, &gone, tx);
                }
                cx.end_child(sa, *spi, tx);
            }
            Fate::Keep
        }
        Continuation::Liveness => {
            mobike::looked_around(sa, contents, tx);
            Fate::Keep
        }
        Continuation::CreateChild(_) | Continuation::RekeyIke(_) => Fate::Keep,
    }
}
