//! IKE_INTERMEDIATE as initiator (RFC 9242, RFC 9370 section 2.2.2): one exchange after another until
//! all additional key exchanges are done, then the IKE_AUTH.

use crate::config::Connection;
use crate::context::Context;
use crate::error::Drop;
use crate::exchange::ike_auth_initiator::{self, fail, header, message_id};
use crate::exchange::ike_intermediate::{chain, method_after, next_keys, public_value, sorted};
use crate::exchange::ike_sa_init_initiator::{AgreedKeys, send};
use crate::fragmentation;
use crate::half_open::Initiator;
use crate::keys::{Nonces, agree, draw_private};
use crate::output::CloseReason;
use crate::protect::{IvSequence, OpenFailure, Protection};
use crate::retransmit::Retransmission;
use crate::sa::{Datagram, may_move};
use crate::tables::Tables;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::ike::message::emit_chain;
use vipsec_wire::ike::{ExchangeType, Header, KeyExchange, Message, Payload};
use vipsec_wire::record::v1::{HalfOpenAuth, HalfOpenStep, IntermediateProof};

/// Makes the next request; `None` if that is impossible.
pub(crate) fn advance(
    cx: &mut Context<'_>,
    half: &mut Initiator,
    connection: &Connection,
    mut agreed: AgreedKeys,
) -> Option<()> {
    let Some(method) = method_after(&agreed.algorithms, agreed.intermediates) else {
        return ike_auth_initiator::begin(cx, half, connection, agreed);
    };
    let (private, public) = draw_private(method, cx.rng).ok()?;
    let payloads = [Payload::KeyExchange(KeyExchange { group: method, public })];
    let mut iv = IvSequence::new(cx.epoch, half.state.born);
    let header = header(agreed.spis, ExchangeType::IkeIntermediate, 1 + agreed.intermediates);
    let limit = cx.sealing().limit(&half.state.addresses, agreed.fragmentation);
    let datagrams = agreed.protection.seal(&header, &payloads, limit, &mut iv, cx.rng).ok()?;
    let (_, content) = emit_chain(&payloads);
    let (key, before) = (&agreed.keys.pi, &agreed.proof.initiator);
    agreed.proof.initiator = chain(&agreed.algorithms, key, before, datagrams.first()?, &content)?;
    half.iv = Some(iv);
    half.await_answer(agreed, datagrams, HalfOpenStep::Intermediate(private));
    Some(())
}

/// Handles a response.
pub(crate) fn complete(
    cx: &mut Context<'_>,
    id: IkeSaId,
    datagram: &mut Datagram,
    message: &Message,
) {
    let Tables { half_open, reassembly, .. } = &mut *cx.tables;
    let Some(half) = half_open.initiator(id) else { return };
    let expected = |auth: &&HalfOpenAuth| {
        let Header { message_id: number, spis, .. } = message.header;
        auth.offer().is_none() && number == message_id(auth) && spis == auth.spis
    };
    let awaited = half.state.auth.as_ref().filter(expected);
    let (Some(awaited), Some(protection)) = (awaited, &half.protection) else {
        return cx.drop(Drop::UnexpectedResponse);
    };
    let fragments = awaited.fragmentation.then_some(reassembly);
    let opened = fragmentation::open(protection, fragments, cx.now, id, datagram, message);
    let opened = opened.and_then(|opened| opened.map(sorted).transpose()).transpose();
    let Some(opened) = opened else { return };
    if opened.as_ref().is_err_and(|error| *error == OpenFailure::Unauthentic) {
        return cx.drop(Drop::Unauthentic);
    }
    let Some(mut half) = cx.tables.half_open.remove_initiator(id) else { return };
    let broken = CloseReason::ProtocolViolation("IKE_INTERMEDIATE response");
    let refused = match &opened {
        Ok((_, contents)) => {
            contents.error().map(|error| CloseReason::PeerRefused(error.kind)).unwrap_or(broken)
        }
        Err(_) => broken,
    };
    let agreed = opened.ok().and_then(|(content, contents)| {
        let auth = half.state.auth.take()?;
        let HalfOpenStep::Intermediate(private) = &auth.step else { return None };
        let exchange = public_value(&contents, private.group)?;
        let shared = agree(private, &exchange.public).ok()?;
        derive(&half, auth, datagram, &content, shared)
    });
    let connection = cx.connection(&half.state.connection);
    if may_move(&half.state.addresses) {
        half.state.addresses.remote = datagram.remote;
    }
    half.retransmission = Retransmission::begin(cx.now, &cx.config.retransmit);
    let next = agreed.zip(connection);
    match next.and_then(|(agreed, connection)| advance(cx, &mut half, connection, agreed)) {
        Some(()) => {
            send(cx, &half);
            cx.tables.half_open.insert_initiator(half);
        }
        None => fail(cx, &mut half, refused),
    }
}

/// The keys after the exchange.
fn derive(
    half: &Initiator,
    auth: HalfOpenAuth,
    datagram: &Datagram,
    content: &[u8],
    shared: vipsec_crypto::Secret,
) -> Option<AgreedKeys> {
    let HalfOpenAuth { spis, algorithms, proof, responder_nonce, response, .. } = auth;
    let responder =
        chain(&algorithms, &auth.keys.pr, &proof.responder, &datagram.message, content)?;
    let nonces = Nonces { initiator: &half.state.nonce, responder: &responder_nonce };
    let keys = next_keys(&algorithms, &auth.keys, shared, nonces, spis)?;
    let protection = Protection::new(&algorithms, &keys, true).ok()?;
    Some(AgreedKeys {
        spis,
        algorithms,
        keys,
        responder_nonce,
        response,
        intermediates: auth.intermediates + 1,
        proof: IntermediateProof { responder, ..proof },
        protection,
        fragmentation: auth.fragmentation,
    })
}
