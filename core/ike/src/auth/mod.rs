//! Who the peers are and how they prove it (RFC 7296 sections 2.15 and 2.16): a file per method.

pub(crate) mod eap;
pub(crate) mod ppk;
pub(crate) mod psk;
pub(crate) mod signature;

use crate::config::{Authentication, Config, Connection};
use crate::keys::crypto_prf;
use core::net::IpAddr;
use vipsec_crypto::certificate::{name_fits, name_is_pattern};
use vipsec_wire::ike::{Auth, AuthMethod, Identity, Payload};
use vipsec_wire::record::v1::{IkeAlgorithms, IkeKeys};
use vipsec_wire::time::Timestamp;

/// ID_DER_ASN1_DN
pub(crate) const DN: u8 = 9;

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

impl SignedOctets<'_> {
    /// The octets themselves (RFC 7296 section 2.15, RFC 9242 section 3.3.1).
    pub(crate) fn emit(&self, algorithms: &IkeAlgorithms, keys: &IkeKeys) -> Option<Vec<u8>> {
        let key = if self.initiator { &keys.pi } else { &keys.pr };
        let identity = crypto_prf(algorithms.prf)?.prf(key.expose(), &[&self.identity.emit_body()]);
        Some([self.message, self.nonce, identity.expose(), self.intermediate].concat())
    }
}

/// What the two IKE SAs' ends have agreed on before they prove who they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed<'a> {
    pub(crate) algorithms: &'a IkeAlgorithms,
    pub(crate) keys: &'a IkeKeys,
}

/// CERT and AUTH payloads that prove who we are to a peer whose IKE_SA_INIT message this is. `None`
/// when there is no key for it, or none that it could verify.
pub(crate) fn prove(
    connection: &Connection,
    remote: Option<&Identity>,
    agreed: Agreed<'_>,
    octets: SignedOctets<'_>,
    peer_init: &[u8],
) -> Option<Vec<Payload>> {
    match &connection.authentication {
        Authentication::Psk(_) => {
            let key = psk::own_key(connection, remote)?;
            let auth = psk::shared_key_auth(agreed.algorithms, agreed.keys, key, octets);
            Some(vec![Payload::Auth(auth)])
        }
        Authentication::Certificates(own) => signature::prove(own, agreed, octets, peer_init),
        Authentication::Eap(eap) => signature::prove(&eap.own, agreed, octets, peer_init),
    }
}

/// Whether a peer has proven to a connection that it is who it says.
pub(crate) fn verify(
    connection: &Connection,
    now: Timestamp,
    agreed: Agreed<'_>,
    octets: SignedOctets<'_>,
    auth: &Auth,
    certificates: &[Vec<u8>],
) -> bool {
    match &connection.authentication {
        Authentication::Psk(_) => {
            let key = psk::shared_key(connection, octets.identity);
            let Agreed { algorithms, keys } = agreed;
            key.is_some_and(|key| psk::verify_shared_key(algorithms, keys, key, octets, auth))
        }
        Authentication::Certificates(own) => {
            signature::verify(own, now, agreed, octets, auth, certificates)
        }
        // Who speaks EAP sends no AUTH before it has ended.
        Authentication::Eap(_) => false,
    }
}

/// Whether a connection can tell who a peer is by this method; `None`: by EAP.
fn method_fits(connection: &Connection, remote: &Identity, method: Option<AuthMethod>) -> bool {
    match (&connection.authentication, method) {
        (Authentication::Psk(_), Some(AuthMethod::SharedKey)) => {
            psk::shared_key(connection, remote).is_some()
        }
        (Authentication::Certificates(_), Some(AuthMethod::DigitalSignature)) => true,
        (Authentication::Eap(_), None) => true,
        _ => false,
    }
}

/// Whether an identity is one that a configured one means: the same, or a distinguished name that
/// fits a pattern.
pub(crate) fn id_fits(wanted: &Identity, found: &Identity) -> bool {
    match (wanted, found) {
        (Identity::Other(DN, pattern), Identity::Other(DN, name)) => name_fits(pattern, name),
        _ => wanted == found,
    }
}

/// The identity to ask a peer for; a pattern cannot be asked for.
pub(crate) fn asked_identity(connection: &Connection) -> Option<Identity> {
    let pattern = |id: &Identity| matches!(id, Identity::Other(DN, name) if name_is_pattern(name));
    connection.remote_id.clone().filter(|id| !pattern(id))
}

/// Who we are in a connection: as configured, or the subject of our certificate, or the VIP.
//= RFC 7296 section 3.5 #4: of any type that can be configured
pub(crate) fn local_identity(config: &Config, connection: &Connection) -> Identity {
    let subject = match &connection.authentication {
        Authentication::Psk(_) => None,
        Authentication::Certificates(own) => Some(Identity::Other(DN, own.subject.clone())),
        Authentication::Eap(eap) => Some(Identity::Other(DN, eap.own.subject.clone())),
    };
    connection.local_id.clone().or(subject).unwrap_or(match config.vip.0 {
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
    method: Option<AuthMethod>,
) -> Option<&'a Connection> {
    config.connections.iter().find(|connection| {
        connection.may_be_at(address)
            && connection.remote_id.as_ref().is_none_or(|wanted| id_fits(wanted, remote))
            && local.is_none_or(|wanted| *wanted == local_identity(config, connection))
            && connection.proposals.iter().any(|proposal| proposal.allows(algorithms))
            && method_fits(connection, remote, method)
    })
}
