//! IKE_AUTH as responder with EAP (RFC 7296 section 2.16): a request without AUTH begins it, each
//! further one carries a packet, and the last the AUTH payload by the session key.
//!
//! The peer is not authenticated before the end. The state is one half-open entry, mirrored to the
//! backups with its last answer before that leaves, so that whoever owns the VIP then goes on.

use crate::auth::{Agreed, SignedOctets, choose_connection, eap, local_identity, psk};
use crate::config::{Authentication, Connection, Eap};
use crate::context::Context;
use crate::exchange::contents::Contents;
use crate::exchange::ike_auth::{Authenticated, header, prove};
use crate::exchange::ike_intermediate;
use crate::exchange::ike_sa_init::{LONGEST_REQUEST, mirror};
use crate::half_open::Responder;
use crate::protect::IvSequence;
use crate::sa::Datagram;
use vipsec_wire::ike::{
    EapPacket, ExchangeType, Notify, NotifyType, Payload, PayloadType, emit_chain, parse_chain,
};
use vipsec_wire::record::v1::{EapProgress, EapStep, HalfOpenResponder, IkeKeys};

/// IKE_AUTH exchanges that are done.
pub(crate) fn rounds(state: &HalfOpenResponder) -> u32 {
    state.eap.as_ref().map_or(0, |eap| eap.rounds)
}

/// Whether a request with these payloads is to be answered with an EAP packet.
pub(crate) fn goes_on(half: &Responder, payloads: &[Payload]) -> bool {
    let proves = payloads.iter().any(|payload| matches!(payload, Payload::Auth(_)));
    let done = half.state.eap.as_ref().is_some_and(|eap| matches!(eap.step, EapStep::Done { .. }));
    !proves && !done
}

fn failed() -> Notify {
    Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new())
}

fn of(connection: &Connection) -> Result<&Eap, Notify> {
    match &connection.authentication {
        Authentication::Eap(eap) => Ok(eap),
        Authentication::Psk(_) | Authentication::Certificates(_) => Err(failed()),
    }
}

/// What a request leads to: how far EAP is then.
pub(crate) fn advance(
    cx: &mut Context<'_>,
    half: &Responder,
    datagram: &Datagram,
    payloads: &[Payload],
) -> Result<EapProgress, Notify> {
    let contents = Contents::sort(payloads.to_vec());
    let (_, keys) = half.keys.as_ref().ok_or_else(failed)?;
    let (before, said, packet) = match &half.state.eap {
        None => begin(cx, half, keys, datagram, payloads, &contents)?,
        Some(eap) => {
            let (step, packet) = next(cx, eap, &contents).ok_or_else(failed)?;
            (EapProgress { step, ..(**eap).clone() }, Vec::new(), packet)
        }
    };
    let said = [said, vec![Payload::Eap(packet.emit())]].concat();
    let header = header(&half.state, ExchangeType::IkeAuth);
    let (protection, _) = half.keys.as_ref().ok_or_else(failed)?;
    let mut iv = IvSequence::new(cx.epoch, half.state.born);
    let limit = cx.sealing().limit(&half.state.addresses, half.state.fragmentation);
    let response = protection.seal(&header, &said, limit, &mut iv, cx.rng).map_err(|_| failed())?;
    let (rounds, request) = (before.rounds + 1, datagram.message.clone());
    Ok(EapProgress { rounds, request, response, ..before })
}

/// IDr, certificates and AUTH come with the first packet.
fn begin(
    cx: &mut Context<'_>,
    half: &Responder,
    keys: &IkeKeys,
    datagram: &Datagram,
    payloads: &[Payload],
    contents: &Contents,
) -> Result<(EapProgress, Vec<Payload>, EapPacket), Notify> {
    let (algorithms, address) = (&half.state.algorithms, datagram.remote.ip());
    let (first, asked) = emit_chain(payloads);
    let remote = contents.initiator_identity.as_ref().filter(|_| asked.len() <= LONGEST_REQUEST);
    let remote = remote.ok_or_else(|| Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()))?;
    let wanted = contents.responder_identity.as_ref();
    let connection = choose_connection(cx.config, address, remote, wanted, algorithms, None);
    let connection = connection.ok_or_else(failed)?;
    of(connection)?;
    let local = local_identity(cx.config, connection);
    let (remote, keys) = (remote.clone(), keys.clone());
    let peer = Authenticated { connection, local, remote, keys: keys.clone(), ppk: false };
    let proof = prove(&half.state, &peer).ok_or_else(failed)?;
    let (step, packet) = eap::begin(cx.rng);
    let progress = EapProgress {
        rounds: 0,
        keys,
        connection: connection.name.clone(),
        first: first.0,
        asked,
        step,
        request: Vec::new(),
        response: Vec::new(),
    };
    Ok((progress, proof, packet))
}

fn next(
    cx: &mut Context<'_>,
    progress: &EapProgress,
    contents: &Contents,
) -> Option<(EapStep, EapPacket)> {
    let packet = EapPacket::parse(contents.eap.as_ref()?).ok()?;
    let config = of(cx.connection(&progress.connection)?).ok()?;
    eap::advance(config, &progress.step, &packet, cx.rng)
}

/// Keeps how far EAP is and answers.
pub(crate) fn go_on(
    cx: &mut Context<'_>,
    half: Responder,
    datagram: &Datagram,
    progress: EapProgress,
) {
    let mut state = half.state;
    let response = progress.response.clone();
    (state.addresses.local, state.addresses.remote) = (datagram.local, datagram.remote);
    state.eap = Some(Box::new(progress));
    mirror(cx, state);
    cx.transmit_all(datagram.local, datagram.remote, response);
}

/// The contents of the first request, with the AUTH payload of the last.
pub(crate) fn whole(half: &Responder, last: Contents) -> Contents {
    let first = half.state.eap.as_ref().and_then(|eap| {
        let payloads = parse_chain(PayloadType(eap.first), &eap.asked).ok()?;
        Some(Contents::sort(payloads))
    });
    match first {
        Some(first) => Contents { auth: last.auth, ..first },
        None => last,
    }
}

/// Checks the AUTH payload by the session key; who the peer is, and our own AUTH payload.
pub(crate) fn finish<'a>(
    cx: &Context<'a>,
    half: &HalfOpenResponder,
    progress: &EapProgress,
    contents: &Contents,
) -> Result<(Authenticated<'a>, Vec<Payload>), Notify> {
    let EapStep::Done { user, msk } = &progress.step else { return Err(failed()) };
    let connection = cx.connection(&progress.connection).ok_or_else(failed)?;
    of(connection)?;
    let (claimed, auth) = (contents.initiator_identity.as_ref(), contents.auth.as_ref());
    let (claimed, auth) = claimed.zip(auth).ok_or_else(failed)?;
    let intermediate = &ike_intermediate::proof(half);
    let agreed = Agreed { algorithms: &half.algorithms, keys: &progress.keys };
    let theirs = SignedOctets {
        message: &half.request,
        nonce: &half.responder_nonce,
        identity: claimed,
        initiator: true,
        intermediate,
    };
    let Agreed { algorithms, keys } = agreed;
    if !psk::verify_shared_key(algorithms, keys, msk.expose(), theirs, auth) {
        return Err(failed());
    }
    let local = local_identity(cx.config, connection);
    let ours = SignedOctets {
        message: &half.response,
        nonce: &half.initiator_nonce,
        identity: &local,
        initiator: false,
        intermediate,
    };
    let auth = psk::shared_key_auth(algorithms, keys, msk.expose(), ours);
    let (remote, keys) = (eap::identity(user), keys.clone());
    Ok((Authenticated { connection, local, remote, keys, ppk: false }, vec![Payload::Auth(auth)]))
}

/// What tells a peer in the midst of EAP that it has failed.
pub(crate) fn failure(state: &HalfOpenResponder) -> Option<Payload> {
    let progress = state.eap.as_ref()?;
    Some(Payload::Eap(eap::failure(&progress.step).emit()))
}
