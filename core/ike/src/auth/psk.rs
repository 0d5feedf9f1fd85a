//! Pre-shared keys (RFC 7296 section 2.15).

use crate::auth::{SignedOctets, id_fits};
use crate::config::{Authentication, Connection};
use crate::keys::crypto_prf;
use vipsec_crypto::digest::constant_time_eq;
use vipsec_wire::ike::{Auth, AuthMethod, Identity};
use vipsec_wire::record::v1::{IkeAlgorithms, IkeKeys};

/// The AUTH value of a side for a shared key.
pub(crate) fn shared_key_auth(
    algorithms: &IkeAlgorithms,
    keys: &IkeKeys,
    key: &[u8],
    octets: SignedOctets<'_>,
) -> Auth {
    let prf = crypto_prf(algorithms.prf);
    let signed = prf.zip(octets.emit(algorithms, keys));
    let data = signed.map(|(prf, octets)| prf.shared_key_auth(key, &[&octets]));
    let data = data.map_or_else(Vec::new, |secret| secret.expose().to_vec());
    Auth { method: AuthMethod::SharedKey, data }
}

/// Whether a peer's AUTH is right. An unknown algorithm never is.
pub(crate) fn verify_shared_key(
    algorithms: &IkeAlgorithms,
    keys: &IkeKeys,
    key: &[u8],
    octets: SignedOctets<'_>,
    auth: &Auth,
) -> bool {
    let expected = shared_key_auth(algorithms, keys, key, octets);
    !expected.data.is_empty()
        && auth.method == AuthMethod::SharedKey
        && constant_time_eq(&expected.data, &auth.data)
}

/// The key with which we prove who we are: that of the peer we expect, or the only one there is.
pub(super) fn own_key<'a>(
    connection: &'a Connection,
    remote: Option<&Identity>,
) -> Option<&'a [u8]> {
    let Authentication::Psk(keys) = &connection.authentication else { return None };
    match remote {
        Some(remote) => shared_key(connection, remote),
        None => keys.first().map(|entry| entry.key.expose()),
    }
}

/// The key that a connection has for a peer.
pub(crate) fn shared_key<'a>(connection: &'a Connection, remote: &Identity) -> Option<&'a [u8]> {
    let Authentication::Psk(keys) = &connection.authentication else { return None };
    let fits = |owner: &Option<Identity>| owner.as_ref().is_none_or(|owner| id_fits(owner, remote));
    keys.iter().find(|entry| fits(&entry.remote)).map(|entry| entry.key.expose())
}
