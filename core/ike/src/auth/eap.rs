//! EAP as the gateway's side has it (RFC 7296 section 2.16, RFC 3748): identity, then EAP-MSCHAPv2
//! (draft-kamath-pppext-eap-mschapv2-02). What it leads to is the peer's name and a session key.

use crate::config::Eap;
use vipsec_crypto::Random;
use vipsec_crypto::digest::constant_time_eq;
use vipsec_crypto::mschapv2::{Exchange, PasswordHash};
use vipsec_wire::ike::{EapCode, EapPacket, Identity, MsChapV2, eap_type};
use vipsec_wire::record::v1::EapStep;
use vipsec_wire::secret::SecretBytes;

/// What we call ourselves in a challenge; peers do nothing with it.
const NAME: &[u8] = b"vipsec";

/// Asks who the peer is.
pub(crate) fn begin(rng: &mut dyn Random) -> (EapStep, EapPacket) {
    let mut identifier = [0];
    rng.fill(&mut identifier);
    let [identifier] = identifier;
    (EapStep::Identity { identifier }, request(identifier, eap_type::IDENTITY, Vec::new()))
}

fn request(identifier: u8, kind: u8, data: Vec<u8>) -> EapPacket {
    EapPacket { code: EapCode::Request, identifier, method: Some((kind, data)) }
}

/// What follows a peer's packet; `None` when it has not proven what it should have.
pub(crate) fn advance(
    eap: &Eap,
    step: &EapStep,
    packet: &EapPacket,
    rng: &mut dyn Random,
) -> Option<(EapStep, EapPacket)> {
    let (kind, data) = packet.method.as_ref().filter(|_| packet.code == EapCode::Response)?;
    let (expected, identifier) = match step {
        EapStep::Identity { identifier } => (eap_type::IDENTITY, *identifier),
        EapStep::Challenge { identifier, .. } | EapStep::Success { identifier, .. } => {
            (eap_type::MSCHAPV2, *identifier)
        }
        EapStep::Done { .. } => return None,
    };
    if *kind != expected || packet.identifier != identifier {
        return None;
    }
    let next = identifier.wrapping_add(1);
    match step {
        // Any name gets a challenge: who is known, a stranger does not learn.
        EapStep::Identity { .. } => {
            let mut challenge = [0; 16];
            rng.fill(&mut challenge);
            let said = MsChapV2::Challenge { id: next, challenge, name: NAME.to_vec() };
            let step = EapStep::Challenge { identifier: next, challenge };
            Some((step, request(next, eap_type::MSCHAPV2, said.emit())))
        }
        EapStep::Challenge { challenge, .. } => {
            let (user, msk, message) = check(eap, challenge, data)?;
            let said = MsChapV2::Success { id: identifier, message };
            let step = EapStep::Success { identifier: next, user, msk };
            Some((step, request(next, eap_type::MSCHAPV2, said.emit())))
        }
        EapStep::Success { user, msk, .. } => {
            let believed = MsChapV2::parse_response(data) == Ok(MsChapV2::Acknowledged);
            let step = EapStep::Done { user: user.clone(), msk: msk.clone() };
            let said = EapPacket { code: EapCode::Success, identifier, method: None };
            believed.then_some((step, said))
        }
        EapStep::Done { .. } => None,
    }
}

/// The user who has answered a challenge, the session key, and what proves to the peer that we know
/// its password.
fn check(eap: &Eap, challenge: &[u8; 16], data: &[u8]) -> Option<(String, SecretBytes, Vec<u8>)> {
    let said = MsChapV2::parse_response(data).ok()?;
    let MsChapV2::Response { challenge: peer_challenge, response, name, .. } = said else {
        return None;
    };
    // Windows puts a domain before the name, which is not hashed (RFC 2759 section 4).
    let user = name.rsplit(|octet| *octet == b'\\').next().unwrap_or_default();
    let known = eap.users.iter().find(|(known, _)| known.as_bytes() == user);
    let password = known.map_or(&b""[..], |(_, password)| password.expose());
    let hash = PasswordHash::new(core::str::from_utf8(password).ok()?);
    let authenticator_challenge = challenge;
    let exchange = Exchange { authenticator_challenge, peer_challenge: &peer_challenge, user };
    let right = constant_time_eq(&hash.response(exchange), &response);
    let (user, _) = known.filter(|_| right)?;
    let message = format!("S={} M=OK", hash.authenticator_response(exchange, &response));
    let msk = SecretBytes::new(hash.session_key(&response).into_vec());
    Some((user.clone(), msk, message.into_bytes()))
}

/// What tells a peer that it is not let in.
pub(crate) fn failure(step: &EapStep) -> EapPacket {
    let identifier = match step {
        EapStep::Identity { identifier }
        | EapStep::Challenge { identifier, .. }
        | EapStep::Success { identifier, .. } => *identifier,
        EapStep::Done { .. } => 0,
    };
    EapPacket { code: EapCode::Failure, identifier, method: None }
}

/// Who a user is to the rest: what it has proven, not what it has claimed in its IDi payload.
pub(crate) fn identity(user: &str) -> Identity {
    user.parse().unwrap_or_else(|_| Identity::KeyId(user.as_bytes().to_vec()))
}
