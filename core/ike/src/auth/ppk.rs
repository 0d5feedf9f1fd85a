//! Post-quantum pre-shared keys (RFC 8784): a key that both ends have beforehand goes into what
//! protects the Child SAs and proves identities, beside whatever else does that.
//!
//! That both ends can do it, their IKE_SA_INIT messages say; nothing else of it is kept until the
//! IKE_AUTH has changed the keys of the IKE SA.

use crate::auth::{Agreed, SignedOctets, prove};
use crate::config::{Connection, Ppk};
use crate::exchange::contents::{Contents, notify};
use crate::keys::crypto_prf;
use vipsec_wire::ike::{Auth, Message, Notify, NotifyType, Payload};
use vipsec_wire::record::v1::{IkeAlgorithms, IkeKeys};
use vipsec_wire::secret::SecretBytes;

/// PPK_ID_FIXED (RFC 8784 section 5.1).
const FIXED: u8 = 2;

/// Whether both IKE_SA_INIT messages say USE_PPK.
fn is_agreed(request: &[u8], response: &[u8]) -> bool {
    [request, response].into_iter().all(|message| {
        Message::parse(message)
            .is_ok_and(|message| Contents::sort(message.payloads).has(NotifyType::USE_PPK))
    })
}

/// The keys of an IKE SA with the PPK in them (RFC 8784 section 3).
fn mix(algorithms: &IkeAlgorithms, keys: &IkeKeys, ppk: &Ppk) -> Option<IkeKeys> {
    let prf = crypto_prf(algorithms.prf)?;
    let mixed = |key: &SecretBytes| {
        let mixed = prf.prf_plus(ppk.key.expose(), &[key.expose()], key.expose().len()).ok()?;
        Some(SecretBytes::new(mixed.into_vec()))
    };
    let (d, pi, pr) = (mixed(&keys.d)?, mixed(&keys.pi)?, mixed(&keys.pr)?);
    Some(IkeKeys { d, pi, pr, ..keys.clone() })
}

fn identity(ppk: &Ppk) -> Vec<u8> {
    [&[FIXED], ppk.id.as_slice()].concat()
}

/// What a request proves itself with: CERT and AUTH, PPK_IDENTITY and NO_PPK_AUTH. `None` when it
/// cannot, or when the PPK is required and the peer knows of none.
pub(crate) fn request(
    connection: &Connection,
    agreed: Agreed<'_>,
    octets: SignedOctets<'_>,
    response: &[u8],
) -> Option<Vec<Payload>> {
    let plain = || prove(connection, connection.remote_id.as_ref(), agreed, octets, response);
    let Some(ppk) = &connection.ppk else { return plain() };
    if !is_agreed(octets.message, response) {
        return if ppk.required { None } else { plain() };
    }
    let keys = &mix(agreed.algorithms, agreed.keys, ppk)?;
    let remote = connection.remote_id.as_ref();
    let mut payloads = prove(connection, remote, Agreed { keys, ..agreed }, octets, response)?;
    let said = Notify::new(NotifyType::PPK_IDENTITY, identity(ppk));
    payloads.push(Payload::Notify(said));
    if !ppk.required {
        let auth = plain()?.into_iter().find_map(|payload| match payload {
            Payload::Auth(auth) => Some(auth.data),
            _ => None,
        })?;
        payloads.push(Payload::Notify(Notify::new(NotifyType::NO_PPK_AUTH, auth)));
    }
    Some(payloads)
}

/// The keys that a response has been proven with; `None` when it must have used the PPK and has not.
pub(crate) fn after_response(
    connection: &Connection,
    agreed: Agreed<'_>,
    contents: &Contents,
) -> Option<IkeKeys> {
    match (&connection.ppk, contents.has(NotifyType::PPK_IDENTITY)) {
        (Some(ppk), true) => mix(agreed.algorithms, agreed.keys, ppk),
        (Some(ppk), false) if ppk.required => None,
        // What the peer says of a PPK that we have not named proves nothing.
        (Some(_), false) | (None, _) => Some(agreed.keys.clone()),
    }
}

/// What a request is to be verified with, and answered.
pub(crate) struct Asked {
    /// The keys of the IKE SA from now on.
    pub(crate) keys: IkeKeys,
    /// What has been signed with these keys.
    pub(crate) auth: Auth,
    /// The PPK is in them.
    pub(crate) used: bool,
}

/// What a request asks of a connection; `None` when that cannot be.
pub(crate) fn asked(
    connection: &Connection,
    agreed: Agreed<'_>,
    init: (&[u8], &[u8]),
    contents: &Contents,
) -> Option<Asked> {
    let auth = contents.auth.clone()?;
    let named = contents.notify(NotifyType::PPK_IDENTITY).filter(|_| is_agreed(init.0, init.1));
    let known =
        connection.ppk.as_ref().filter(|ppk| named.is_some_and(|id| id.data == identity(ppk)));
    if let Some(ppk) = known {
        return Some(Asked { keys: mix(agreed.algorithms, agreed.keys, ppk)?, auth, used: true });
    }
    if connection.ppk.as_ref().is_some_and(|ppk| ppk.required) {
        return None;
    }
    let keys = agreed.keys.clone();
    if named.is_none() {
        return Some(Asked { keys, auth, used: false });
    }
    let without = contents.notify(NotifyType::NO_PPK_AUTH)?;
    let auth = Auth { method: auth.method, data: without.data.clone() };
    Some(Asked { keys, auth, used: false })
}

/// What says that the PPK is in the keys of an answer.
pub(crate) fn used() -> Payload {
    notify(NotifyType::PPK_IDENTITY)
}

/// What says in an IKE_SA_INIT message that PPKs are known.
pub(crate) fn use_ppk() -> Payload {
    notify(NotifyType::USE_PPK)
}
