//! Certificates and digital signatures (RFC 7296 sections 2.15, 3.6 and 3.7, RFC 7427).
//!
//! Certificates come in line, in X.509 (encoding 4). What a peer sends as hash and URL is passed over:
//! we never say that we could look it up.

use crate::auth::{Agreed, DN, SignedOctets};
use crate::config::{Authentication, Certificates, Connection};
use std::collections::BTreeSet;
use vipsec_crypto::certificate::{CHAIN_MAX, Names, verify_signature};
use vipsec_crypto::signature::{Hash, Scheme};
use vipsec_wire::ike::{Auth, AuthMethod, Identity, Message, Notify, NotifyType, Payload};
use vipsec_wire::time::Timestamp;

/// X.509 Certificate - Signature (RFC 7296 section 3.6).
const X509_SIGNATURE: u8 = 4;

/// SIGNATURE_HASH_ALGORITHMS with all that we verify.
pub(crate) fn hash_algorithms() -> Payload {
    let numbers = Hash::ALL.iter().flat_map(|hash| hash.number().to_be_bytes());
    Payload::Notify(Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, numbers.collect()))
}

/// Most authorities that are named in a request, so that it leaves room in an IKE_SA_INIT message, which
/// is never sent in fragments. A peer may have a certificate of another one all the same.
const AUTHORITIES_MAX: usize = 16;

/// CERTREQ with the authorities of these connections, each once; `None` if none of them has any.
pub(crate) fn request<'a>(
    connections: impl IntoIterator<Item = &'a Connection>,
) -> Option<Payload> {
    let mut hashes = Vec::new();
    for connection in connections {
        if let Authentication::Certificates(own) = &connection.authentication {
            hashes.extend(own.authorities.key_hashes());
        }
    }
    let mut named = BTreeSet::new();
    hashes.retain(|hash| named.insert(*hash));
    hashes.truncate(AUTHORITIES_MAX);
    let body = [&[X509_SIGNATURE], hashes.as_flattened()].concat();
    (!hashes.is_empty()).then_some(Payload::CertificateRequest(body))
}

/// The hash functions that the peer's IKE_SA_INIT message names.
fn hashes_of(peer_init: &[u8]) -> Vec<u16> {
    let payloads = Message::parse(peer_init).map(|message| message.payloads).unwrap_or_default();
    let named = payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind == NotifyType::SIGNATURE_HASH_ALGORITHMS => {
            Some(notify.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])))
        }
        _ => None,
    });
    named.map(Iterator::collect).unwrap_or_default()
}

/// Our certificates and our signature.
//= RFC 7296 section 1.2 #1: our own certificate stands first
//= RFC 7296 section 3.6 #1: all of the chain, up to CHAIN_MAX
//= RFC 7296 section 3.6 #3: our own certificate stands first
pub(super) fn prove(
    own: &Certificates,
    agreed: Agreed<'_>,
    octets: SignedOctets<'_>,
    peer_init: &[u8],
) -> Option<Vec<Payload>> {
    let scheme = own.key.scheme(&hashes_of(peer_init))?;
    let octets = octets.emit(agreed.algorithms, agreed.keys)?;
    let signature = own.key.sign(scheme, &octets).ok()?;
    let identifier = scheme.identifier();
    let length = u8::try_from(identifier.len()).ok()?;
    let data = [&[length], identifier, &signature].concat();
    let certificate =
        |der: &Vec<u8>| Payload::Certificate([&[X509_SIGNATURE], der.as_slice()].concat());
    let mut payloads: Vec<Payload> = own.chain.iter().map(certificate).collect();
    payloads.push(Payload::Auth(Auth { method: AuthMethod::DigitalSignature, data }));
    Some(payloads)
}

/// Whether a peer's certificates lead to our authorities, name its identity, and have signed.
//= RFC 7296 section 3.6 #1: up to CHAIN_MAX
//= RFC 7296 section 3.6 #3: AUTH is by the key of the first
pub(super) fn verify(
    own: &Certificates,
    now: Timestamp,
    agreed: Agreed<'_>,
    octets: SignedOctets<'_>,
    auth: &Auth,
    certificates: &[Vec<u8>],
) -> bool {
    let x509 = certificates.iter().filter_map(|body| body.strip_prefix(&[X509_SIGNATURE]));
    let chain: Vec<Vec<u8>> = x509.take(CHAIN_MAX).map(<[u8]>::to_vec).collect();
    let (Some(first), AuthMethod::DigitalSignature) = (chain.first(), auth.method) else {
        return false;
    };
    let named = Names::of(first).is_ok_and(|names| holds(&names, octets.identity));
    let signed = octets.emit(agreed.algorithms, agreed.keys).zip(split(&auth.data));
    named
        && signed.is_some_and(|(octets, (scheme, signature))| {
            verify_signature(first, scheme, &octets, signature).is_ok()
        })
        && own.authorities.verify(&chain, now.0 / 1_000_000).is_ok()
}

/// AlgorithmIdentifier and signature (RFC 7427 section 3).
fn split(data: &[u8]) -> Option<(Scheme, &[u8])> {
    let (length, rest) = data.split_first()?;
    let (identifier, signature) = rest.split_at_checked(usize::from(*length))?;
    Some((Scheme::from_identifier(identifier)?, signature))
}

/// Whether a certificate is for an identity (RFC 4945 section 3.1).
fn holds(names: &Names, identity: &Identity) -> bool {
    let among =
        |names: &[String], wanted: &str| names.iter().any(|n| n.eq_ignore_ascii_case(wanted));
    match identity {
        Identity::Fqdn(name) => among(&names.dns, name),
        Identity::Email(name) => among(&names.email, name),
        Identity::Ipv4(address) => names.addresses.contains(&(*address).into()),
        Identity::Ipv6(address) => names.addresses.contains(&(*address).into()),
        Identity::Other(DN, name) => names.subject == *name,
        Identity::KeyId(_) | Identity::Other(..) => false,
    }
}
