//! Who the peers are and how they prove it (RFC 7296 section 2.15): pre-shared keys. Signatures
//! (RFC 7427) and EAP (section 2.16) will stand beside.

use crate::config::{Authentication, Config, Connection};
use crate::keys::crypto_prf;
use core::net::IpAddr;
use vipsec_crypto::digest::constant_time_eq;
use vipsec_wire::ike::{Auth, AuthMethod, Identity};
use vipsec_wire::record::v1::{IkeAlgorithms, IkeKeys};

/// What one side signs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignedOctets<'a> {
    /// Its IKE_SA_INIT message.
    pub(crate) message: &'a [u8],
    /// The other side's nonce.
    pub(crate) nonce: &'a [u8],
    /// Its identity.
    pub(crate) identity: &'a Identity,
    /// It is the initiator.
    pub(crate) initiator: bool,
    /// IntAuth, empty without IKE_INTERMEDIATE exchanges (RFC 9242 section 3.3.1).
    pub(crate) intermediate: &'a [u8],
}

/// The AUTH value of a side for a shared key.
pub(crate) fn shared_key_auth(
    algorithms: &IkeAlgorithms,
    keys: &IkeKeys,
    key: &[u8],
    octets: SignedOctets<'_>,
) -> Auth {
    let key_of_side = if octets.initiator { &keys.pi } else { &keys.pr };
    let data = crypto_prf(algorithms.prf).map(|prf| {
        let identity = prf.prf(key_of_side.expose(), &[&octets.identity.emit_body()]);
        let parts = [octets.message, octets.nonce, identity.expose(), octets.intermediate];
        prf.shared_key_auth(key, &parts)
    });
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

/// The key that a connection has for a peer.
pub(crate) fn shared_key<'a>(connection: &'a Connection, remote: &Identity) -> Option<&'a [u8]> {
    let Authentication::Psk(keys) = &connection.authentication;
    let fits = |owner: &Option<Identity>| owner.as_ref().is_none_or(|owner| owner == remote);
    keys.iter().find(|entry| fits(&entry.remote)).map(|entry| entry.key.expose())
}

/// Who we are in a connection.
//= RFC 7296 section 3.5 #4: of any type that can be configured
pub(crate) fn local_identity(config: &Config, connection: &Connection) -> Identity {
    connection.local_id.clone().unwrap_or(match config.vip.0 {
        IpAddr::V4(address) => Identity::Ipv4(address),
        IpAddr::V6(address) => Identity::Ipv6(address),
    })
}

/// The connection that a peer with this identity may use: the first that fits in everything.
//= RFC 7296 section 3.5 #5: of any type that can be configured
//= RFC 7296 section 3.5 #6: that of an IPv6 address too
//= RFC 7296 section 4 #10: with a shared key
pub(crate) fn choose_connection<'a>(
    config: &'a Config,
    address: IpAddr,
    remote: &Identity,
    local: Option<&Identity>,
    algorithms: &IkeAlgorithms,
) -> Option<&'a Connection> {
    config.connections.iter().find(|connection| {
        connection.may_be_at(address)
            && connection.remote_id.as_ref().is_none_or(|wanted| wanted == remote)
            && local.is_none_or(|wanted| *wanted == local_identity(config, connection))
            && connection.proposals.iter().any(|proposal| proposal.allows(algorithms))
            && shared_key(connection, remote).is_some()
    })
}
