//! IKE_INTERMEDIATE (RFC 9242) with an additional key exchange each (RFC 9370 section 2.2.2): as
//! responder, and what both roles have in common. After each exchange the half-open IKE SA has new
//! keys; the AUTH payloads cover all of them.
//!
//! Its peer is not authenticated yet. The state is one half-open entry, which is mirrored to the
//! backups before the answer leaves, answer included.

use crate::context::Context;
use crate::error::Drop;
use crate::exchange::contents::Contents;
use crate::exchange::ike_auth::{fail, header, nonces, refusal};
use crate::exchange::ike_sa_init::{LONGEST_REQUEST, mirror};
use crate::fragmentation::{self, Opened};
use crate::half_open::Responder;
use crate::keys::{answer, crypto_prf, derive_rekeyed_ike};
use crate::proposals::methods;
use crate::protect::{IvSequence, OpenFailure};
use crate::sa::Datagram;
use crate::tables::Tables;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::ike::message::{emit_chain, encrypted_header_length};
use vipsec_wire::ike::{
    ExchangeType, Group, HEADER_LENGTH, KeyExchange, Message, Notify, NotifyType, Payload,
    PayloadType,
};
use vipsec_wire::record::v1::{
    HalfOpenResponder, IkeAlgorithms, IkeKeys, Intermediate, IntermediateProof,
};
use vipsec_wire::secret::SecretBytes;

/// Where the IKE header says what the first payload is.
const NEXT_PAYLOAD: usize = 16;

/// Exchanges that are done.
pub(crate) fn done(state: &HalfOpenResponder) -> u32 {
    state.intermediate.as_ref().map_or(0, |intermediate| intermediate.count)
}

/// The method of the exchange after so many; `None` when all are done.
pub(crate) fn method_after(algorithms: &IkeAlgorithms, done: u32) -> Option<Group> {
    methods(&algorithms.additional).nth(usize::try_from(done).ok()?)
}

/// The method of the next exchange; `None` when it is the IKE_AUTH's turn.
pub(crate) fn next_method(state: &HalfOpenResponder) -> Option<Group> {
    method_after(&state.algorithms, done(state))
}

/// IntAuth of a half-open IKE SA, to be covered by the AUTH payloads.
pub(crate) fn proof(state: &HalfOpenResponder) -> Vec<u8> {
    let intermediate = state.intermediate.as_ref();
    intermediate.map_or_else(Vec::new, |done| int_auth(&done.proof, done.count + 1))
}

/// IntAuth (RFC 9242 section 3.3.2), with the message ID of the IKE_AUTH; empty without exchanges.
pub(crate) fn int_auth(proof: &IntermediateProof, auth_message_id: u32) -> Vec<u8> {
    match proof.initiator.is_empty() {
        true => Vec::new(),
        false => [&proof.initiator[..], &proof.responder, &auth_message_id.to_be_bytes()].concat(),
    }
}

/// `IntAuth_N` of one side: a PRF over the one before, the message up to and with the header of its
/// Encrypted payload, and the inner payloads. The lengths in both headers are those without IV,
/// padding and integrity check value, that a fragmented message is covered alike.
pub(crate) fn chain(
    algorithms: &IkeAlgorithms,
    key: &SecretBytes,
    before: &[u8],
    message: &[u8],
    content: &[u8],
) -> Option<Vec<u8>> {
    let mut head = unfragmented_head(message)?;
    let body_at = head.len();
    let length = u32::try_from(body_at + content.len()).ok()?;
    head.get_mut(24..HEADER_LENGTH)?.copy_from_slice(&length.to_be_bytes());
    let payload_length = u16::try_from(4 + content.len()).ok()?;
    head.get_mut(body_at - 2..)?.copy_from_slice(&payload_length.to_be_bytes());
    let prf = crypto_prf(algorithms.prf)?;
    Some(prf.prf(key.expose(), &[before, &head, content]).into_vec())
}

/// A message up to and with the header of its Encrypted payload; from the first fragment of one, as
/// if it had not been fragmented.
fn unfragmented_head(message: &[u8]) -> Option<Vec<u8>> {
    let encrypted = Message::parse(message).ok()?.encrypted?;
    let body_at = encrypted
        .body_at
        .checked_sub(encrypted_header_length(true) - encrypted_header_length(false));
    let body_at = if encrypted.fragment.is_some() { body_at? } else { encrypted.body_at };
    let mut head = message.get(..body_at)?.to_vec();
    let next = head.get_mut(NEXT_PAYLOAD)?;
    if *next == PayloadType::ENCRYPTED_FRAGMENT.0 {
        *next = PayloadType::ENCRYPTED.0;
    }
    (body_at >= HEADER_LENGTH + 4).then_some(head)
}

/// The inner payloads of a message, as they were sent and read.
pub(crate) fn sorted(opened: Opened) -> Result<(Vec<u8>, Contents), OpenFailure> {
    let content = opened.content.clone();
    Ok((content, Contents::sort(opened.payloads()?)))
}

/// The peer's public value for a method.
pub(crate) fn public_value(contents: &Contents, method: Group) -> Option<&KeyExchange> {
    contents.key_exchange.as_ref().filter(|exchange| exchange.group == method)
}

/// Handles a request for the half-open IKE SA `id`.
pub(crate) fn respond(
    cx: &mut Context<'_>,
    id: IkeSaId,
    datagram: &mut Datagram,
    message: &Message,
) {
    let Tables { half_open, reassembly, .. } = &mut *cx.tables;
    let Some(half) = half_open.responder(id) else { return };
    if let Some(answer) = half.repeated(&datagram.message) {
        return cx.transmit_all(datagram.local, datagram.remote, answer);
    }
    let expected = half.failed.is_none()
        && message.header.message_id == done(&half.state) + 1
        && datagram.message.len() <= LONGEST_REQUEST;
    let method = next_method(&half.state).filter(|_| expected);
    let Some(method) = method else {
        return cx.drop(Drop::UnexpectedExchange);
    };
    let fragments = half.state.fragmentation.then_some(reassembly);
    let opened = half.derive().ok_or(OpenFailure::Unauthentic);
    let opened = opened
        .and_then(|keys| fragmentation::open(keys, fragments, cx.now, id, datagram, message))
        .and_then(|opened| opened.map(sorted).transpose());
    let opened = match opened {
        Err(OpenFailure::Unauthentic) => return cx.drop(Drop::Unauthentic),
        Err(OpenFailure::Content(error)) => Err(refusal(error)),
        Ok(None) => return,
        Ok(Some(opened)) => Ok(opened),
    };
    let Some(half) = cx.tables.half_open.remove_responder(id) else { return };
    let made = opened.and_then(|(content, contents)| {
        let wrong = || Notify::new(NotifyType::INVALID_SYNTAX, Vec::new());
        let exchange = public_value(&contents, method).ok_or_else(wrong)?;
        advance(cx, &half, datagram, &content, exchange).ok_or_else(wrong)
    });
    match made {
        Ok(intermediate) => go_on(cx, half, datagram, intermediate),
        Err(error) => fail(cx, half, datagram, ExchangeType::IkeIntermediate, error),
    }
}

/// Answers a key exchange; what the half-open SA is then.
fn advance(
    cx: &mut Context<'_>,
    half: &Responder,
    datagram: &Datagram,
    content: &[u8],
    exchange: &KeyExchange,
) -> Option<Intermediate> {
    let state = &half.state;
    let (protection, keys) = half.keys.as_ref()?;
    let (public, shared) = answer(exchange.group, &exchange.public, cx.rng).ok()?;
    let payloads = [Payload::KeyExchange(KeyExchange { group: exchange.group, public })];
    let mut iv = IvSequence::new(cx.epoch, state.born);
    let header = header(state, ExchangeType::IkeIntermediate);
    let limit = cx.sealing().limit(&state.addresses, state.fragmentation);
    let response = protection.seal(&header, &payloads, limit, &mut iv, cx.rng).ok()?;
    let (_, answered) = emit_chain(&payloads);
    let before = state.intermediate.as_ref().map(|done| done.proof.clone()).unwrap_or_default();
    let algorithms = &state.algorithms;
    let proof = IntermediateProof {
        initiator: chain(algorithms, &keys.pi, &before.initiator, &datagram.message, content)?,
        responder: chain(algorithms, &keys.pr, &before.responder, response.first()?, &answered)?,
    };
    let keys = next_keys(algorithms, keys, shared, nonces(state), state.spis)?;
    let count = done(state) + 1;
    Some(Intermediate { count, keys, proof, request: datagram.message.clone(), response })
}

/// The keys after an additional key exchange.
pub(crate) fn next_keys(
    algorithms: &IkeAlgorithms,
    keys: &IkeKeys,
    shared: vipsec_crypto::Secret,
    nonces: crate::keys::Nonces<'_>,
    spis: vipsec_wire::ike::IkeSpis,
) -> Option<IkeKeys> {
    derive_rekeyed_ike((algorithms, keys), algorithms, &[shared], nonces, spis).ok()
}

fn go_on(cx: &mut Context<'_>, half: Responder, datagram: &Datagram, intermediate: Intermediate) {
    let mut state = half.state;
    let response = intermediate.response.clone();
    (state.addresses.local, state.addresses.remote) = (datagram.local, datagram.remote);
    state.intermediate = Some(Box::new(intermediate));
    mirror(cx, state);
    cx.transmit_all(datagram.local, datagram.remote, response);
}

impl Responder {
    /// The answer to the last request, if this is it again.
    fn repeated(&self, request: &[u8]) -> Option<Vec<Vec<u8>>> {
        let last = self.state.intermediate.as_ref();
        let last = last.map(|last| (&last.request, &last.response));
        let failed = self.failed.as_ref().map(|(request, answer)| (request, answer));
        let mut known = failed.into_iter().chain(last);
        known.find(|(known, _)| known.as_slice() == request).map(|(_, answer)| answer.clone())
    }
}
