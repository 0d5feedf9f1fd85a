//! Synchronisation after a failover (RFC 6311), both roles: as a new owner of an SA whose peer has
//! offered it, and as the peer of somebody else's cluster.
//!
//! An addition, never a condition: our own message IDs are exact whoever owns the SA, for every
//! request is stored before it is sent, and what a peer has sent beyond the stored ID is accepted
//! without. What it brings is that nothing recorded before the failover is accepted any more:
//! neither an empty request, once both agree on the IDs, nor ESP, once the peer's sequence numbers
//! have jumped beyond all that was sent before. A peer that does not answer is left alone.

use crate::config::Connection;
use crate::context::Context;
use crate::exchange::contents::{Contents, notify};
use crate::exchange::{Fate, Request};
use crate::ledger::Transaction;
use crate::output::Output;
use crate::sa::IkeSa;
use vipsec_wire::ParseError;
use vipsec_wire::ike::{
    ExchangeType, Header, MessageIdSync, Notify, NotifyType, Payload, emit_counter_sync,
    parse_counter_sync,
};
use vipsec_wire::record::v1::{Continuation, Extensions, Synchronise, Synchronised};

/// Packets that a peer may have sent since the last edge that we know, and far more.
const JUMP: u32 = 1 << 22;
/// The farthest that a cluster can make our sequence numbers jump: a receiver with ESN must not take
/// it for a step back (RFC 4303 appendix A2.2).
const FARTHEST: u64 = 1 << 30;

/// What we say in IKE_AUTH.
pub(crate) fn offer(connection: &Connection) -> Vec<Payload> {
    let kinds = [
        NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED,
        NotifyType::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED,
    ];
    kinds.into_iter().filter(|_| connection.synchronise).map(notify).collect()
}

/// Notes what the peer has said in IKE_AUTH.
pub(crate) fn agree(connection: &Connection, contents: &Contents, extensions: &mut Extensions) {
    let said = |kind| connection.synchronise && contents.has(kind);
    extensions.message_id_sync = said(NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED);
    extensions.replay_counter_sync = said(NotifyType::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED);
}

/// The request of a new owner. It has message ID 0, whatever the next one is (section 5.1).
pub(crate) fn request(cx: &mut Context<'_>, sa: &mut IkeSa) -> Request {
    let mut nonce = [0; 4];
    cx.rng.fill(&mut nonce);
    let (send, receive) = (sa.window.next_request, sa.window.expected_request);
    sa.synchronisation.sent = Some(send);
    let sync = MessageIdSync { nonce, send, receive };
    let mut payloads = vec![message_ids(sync)];
    let jumps = sa.about.extensions.replay_counter_sync && !sa.children.is_empty();
    let jump = if jumps { JUMP } else { 0 };
    if jumps {
        let mut children = sa.children.iter().filter_map(|link| cx.tables.child(link.spi));
        let extended = children.any(|child| child.sa.esn);
        let data = emit_counter_sync(jump, extended);
        payloads.push(Payload::Notify(Notify::new(NotifyType::IPSEC_REPLAY_COUNTER_SYNC, data)));
    }
    let continuation = Continuation::Synchronise(Synchronise { nonce, jump });
    Request { payloads, continuation }
}

fn message_ids(sync: MessageIdSync) -> Payload {
    Payload::Notify(Notify::new(NotifyType::IKEV2_MESSAGE_ID_SYNC, sync.emit()))
}

fn said(contents: &Contents) -> Option<MessageIdSync> {
    let notify = contents.notify(NotifyType::IKEV2_MESSAGE_ID_SYNC)?;
    MessageIdSync::parse(&notify.data).ok()
}

/// The first synchronisation among payloads.
fn find(opened: &Result<Vec<Payload>, ParseError>) -> Option<MessageIdSync> {
    let payloads = opened.as_ref().ok()?;
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind == NotifyType::IKEV2_MESSAGE_ID_SYNC => {
            MessageIdSync::parse(&notify.data).ok()
        }
        _ => None,
    })
}

/// Whether a response can be the one to a request of ours: to a synchronisation, only one with its
/// nonce, for an ordinary request may have had message ID 0 too.
pub(crate) fn may_answer(
    continuation: &Continuation,
    opened: &Result<Vec<Payload>, ParseError>,
) -> bool {
    match continuation {
        Continuation::Synchronise(asked) => find(opened).is_some_and(|s| s.nonce == asked.nonce),
        _ => true,
    }
}

/// Whether a request is a synchronisation by the peer's cluster.
pub(crate) fn is_asked(
    sa: &IkeSa,
    header: &Header,
    opened: &Result<Vec<Payload>, ParseError>,
) -> bool {
    let possible = header.message_id == 0 && header.exchange == ExchangeType::Informational;
    possible && sa.about.extensions.message_id_sync && find(opened).is_some()
}

/// The peer has answered.
pub(crate) fn complete(
    sa: &mut IkeSa,
    asked: &Synchronise,
    contents: &Contents,
    tx: &mut Transaction,
) -> Fate {
    if let Some(sync) = said(contents) {
        sa.window.next_request = sa.window.next_request.max(sync.receive);
        // A request of the peer's may be under way to us, with the ID before the one that it names.
        sa.live.inherited &= sync.send != sa.window.expected_request;
    }
    if asked.jump > 0 {
        let (ike, inbound) = (sa.about.family, u64::from(asked.jump));
        tx.effects.push(Output::Jump { after: None, ike, inbound, outbound: 0 });
    }
    Fate::Keep
}

/// The answer to a synchronisation by the peer's cluster; `None`: it is an old one.
pub(crate) fn respond(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    request: [u8; 32],
    contents: &Contents,
    tx: &mut Transaction,
) -> Option<Vec<u8>> {
    let asked = said(contents)?;
    let before = sa.synchronisation.seen.as_ref();
    if asked.send < sa.window.expected_request || before.is_some_and(|b| asked.send <= b.send) {
        return None;
    }
    sa.window.expected_request = asked.send;
    sa.window.next_request = sa.window.next_request.max(asked.receive);
    // What we have asked and got no answer to we go on asking, under its ID.
    let send = sa.outstanding.as_ref().map(|request| request.id).filter(|id| *id >= asked.receive);
    let send = send.unwrap_or(sa.window.next_request);
    let sync = MessageIdSync { nonce: asked.nonce, send, receive: asked.send };
    let header = sa.header(ExchangeType::Informational, 0, true);
    let sealed = sa.seal(&header, &[message_ids(sync)], cx.sealing(), cx.rng).ok()?;
    // It is far too short for a second fragment.
    let response = sealed.into_iter().next()?;
    let jump = contents.notify(NotifyType::IPSEC_REPLAY_COUNTER_SYNC);
    let jump = jump.and_then(|notify| parse_counter_sync(&notify.data).ok());
    let jump = jump.filter(|jump| *jump <= FARTHEST && sa.about.extensions.replay_counter_sync);
    let (jump, send) = (jump.unwrap_or(0), asked.send);
    let seen = Synchronised { request, send, jump, response: response.clone() };
    sa.synchronisation.seen = Some(seen);
    sa.live.jumped = false;
    tx.effects.extend(self::jump(sa));
    Some(response)
}

/// Has our sequence numbers jump as the peer's cluster has asked last. An owner that dies in between
/// may take that along: the next one does it when the request is repeated, and if the answer has
/// arrived, goes on above the high-water mark that it knows.
pub(crate) fn jump(sa: &mut IkeSa) -> Option<Output> {
    let outbound = sa.synchronisation.seen.as_ref()?.jump;
    let wanted = outbound > 0 && !core::mem::replace(&mut sa.live.jumped, true);
    wanted.then_some(Output::Jump { after: None, ike: sa.about.family, inbound: 0, outbound })
}
