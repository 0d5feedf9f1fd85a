//! Key derivation (RFC 7296 sections 2.13 to 2.18) and the mapping of negotiated algorithms to the
//! crypto library's.

use crate::proposals::EspAlgorithms;
use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_crypto::kex::{self, PrivateKey};
use vipsec_crypto::mac::MacAlgorithm;
use vipsec_crypto::prf::PrfAlgorithm;
use vipsec_crypto::{KexError, Random, Secret};
use vipsec_wire::ike::{Encryption, Group, IkeSpis, Integrity, Prf};
use vipsec_wire::record::v1::{IkeAlgorithms, IkeKeys, PrivateValue};
use vipsec_wire::secret::SecretBytes;

/// Bytes of our nonces: at least half of the key size of the strongest PRF (RFC 7296 section 2.10).
//= RFC 7296 section 2.10 #2: 256 bits
//= RFC 7296 section 2.10 #3: half of SHA-512's 512
pub(crate) const NONCE_LENGTH: usize = 32;

/// Negotiation has let something through that there is no code for: a record or a configuration of
/// a later version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeriveError {
    #[error("algorithm is not implemented")]
    Unsupported,
    #[error("key exchange")]
    KeyExchange(#[source] KexError),
}

/// Bytes of key material of an encryption algorithm, salt included; `None` if there is no code.
pub(crate) fn encryption_key_length(encryption: Encryption) -> Option<usize> {
    match encryption {
        Encryption::AesCbc { bits: bits @ (128 | 192 | 256) } => Some(usize::from(bits / 8)),
        other => crypto_aead(other).map(AeadAlgorithm::key_and_salt_length),
    }
}

/// The crypto library's name of an AEAD.
pub(crate) fn crypto_aead(encryption: Encryption) -> Option<AeadAlgorithm> {
    match encryption {
        Encryption::AesGcm16 { bits: 128 } => Some(AeadAlgorithm::Aes128Gcm16),
        Encryption::AesGcm16 { bits: 256 } => Some(AeadAlgorithm::Aes256Gcm16),
        Encryption::ChaCha20Poly1305 => Some(AeadAlgorithm::ChaCha20Poly1305),
        _ => None,
    }
}

/// The crypto library's name of an integrity algorithm.
pub(crate) fn crypto_mac(integrity: Integrity) -> Option<MacAlgorithm> {
    match integrity {
        Integrity::HmacSha2_256_128 => Some(MacAlgorithm::HmacSha2_256_128),
        Integrity::HmacSha2_384_192 => Some(MacAlgorithm::HmacSha2_384_192),
        Integrity::HmacSha2_512_256 => Some(MacAlgorithm::HmacSha2_512_256),
        Integrity::None | Integrity::Other(_) => None,
    }
}

/// The crypto library's name of a PRF.
//= RFC 7296 section 5 #1: 256 bits and more
pub(crate) fn crypto_prf(prf: Prf) -> Option<PrfAlgorithm> {
    match prf {
        Prf::HmacSha2_256 => Some(PrfAlgorithm::HmacSha2_256),
        Prf::HmacSha2_384 => Some(PrfAlgorithm::HmacSha2_384),
        Prf::HmacSha2_512 => Some(PrfAlgorithm::HmacSha2_512),
        Prf::Other(_) => None,
    }
}

/// The crypto library's name of a key exchange method.
pub(crate) fn crypto_group(group: Group) -> Option<kex::Group> {
    match group {
        Group::X25519 => Some(kex::Group::X25519),
        Group::EcpP256 => Some(kex::Group::P256),
        Group::EcpP384 => Some(kex::Group::P384),
        Group::EcpP521 => Some(kex::Group::P521),
        Group::Modp2048 => Some(kex::Group::Modp2048),
        Group::Modp3072 => Some(kex::Group::Modp3072),
        Group::Modp4096 => Some(kex::Group::Modp4096),
        Group::Modp6144 => Some(kex::Group::Modp6144),
        Group::Modp8192 => Some(kex::Group::Modp8192),
        Group::MlKem512 => Some(kex::Group::MlKem512),
        Group::MlKem768 => Some(kex::Group::MlKem768),
        Group::MlKem1024 => Some(kex::Group::MlKem1024),
        Group::None | Group::Other(_) => None,
    }
}

/// Draws a nonce.
//= RFC 7296 section 2.10 #1: at random
//= RFC 7296 section 3.9 #2: anew for every exchange
pub(crate) fn draw_nonce(rng: &mut dyn Random) -> Vec<u8> {
    let mut nonce = vec![0; NONCE_LENGTH];
    rng.fill(&mut nonce);
    nonce
}

/// Draws our half of a key exchange: the value to keep and the one to send.
pub(crate) fn draw_private(
    group: Group,
    rng: &mut dyn Random,
) -> Result<(PrivateValue, Vec<u8>), DeriveError> {
    let known = crypto_group(group).ok_or(DeriveError::Unsupported)?;
    let key = PrivateKey::generate(known, rng).map_err(|_| DeriveError::Unsupported)?;
    let value = SecretBytes::new(key.to_bytes().into_vec());
    Ok((PrivateValue { group, value }, key.public()))
}

/// Ends a key exchange.
pub(crate) fn agree(private: &PrivateValue, peer_public: &[u8]) -> Result<Secret, DeriveError> {
    let group = crypto_group(private.group).ok_or(DeriveError::Unsupported)?;
    let key = PrivateKey::from_bytes(group, private.value.expose());
    let key = key.map_err(|_| DeriveError::Unsupported)?;
    key.agree(peer_public).map_err(DeriveError::KeyExchange)
}

/// Answers the peer's half of a key exchange: the value to send, and the shared secret.
pub(crate) fn answer(
    group: Group,
    peer_public: &[u8],
    rng: &mut dyn Random,
) -> Result<(Vec<u8>, Secret), DeriveError> {
    let known = crypto_group(group).ok_or(DeriveError::Unsupported)?;
    if known.is_kem() {
        return kex::encapsulate(known, peer_public, rng).map_err(DeriveError::KeyExchange);
    }
    let (private, public) = draw_private(group, rng)?;
    Ok((public, agree(&private, peer_public)?))
}

/// The nonces of an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nonces<'a> {
    pub(crate) initiator: &'a [u8],
    pub(crate) responder: &'a [u8],
}

impl<'a> Nonces<'a> {
    /// The lower of the two, octet by octet (RFC 7296 section 2.8.1).
    pub(crate) fn lower(self) -> &'a [u8] {
        self.initiator.min(self.responder)
    }
}

/// The keys of a first IKE SA (RFC 7296 section 2.14).
pub(crate) fn derive_ike(
    algorithms: &IkeAlgorithms,
    shared: &Secret,
    nonces: Nonces<'_>,
    spis: IkeSpis,
) -> Result<IkeKeys, DeriveError> {
    let prf = crypto_prf(algorithms.prf).ok_or(DeriveError::Unsupported)?;
    let key = [nonces.initiator, nonces.responder].concat();
    let seed = prf.prf(&key, &[shared.expose()]);
    expand_ike(algorithms, &seed, nonces, spis)
}

/// The keys of an IKE SA that replaces another (RFC 7296 section 2.18), or of the same one after an
/// additional key exchange (RFC 9370 section 2.2.2). The old SA's PRF makes the seed, the new one's
/// expands it. The secrets are those of the key exchanges in their order.
pub(crate) fn derive_rekeyed_ike(
    old: (&IkeAlgorithms, &IkeKeys),
    algorithms: &IkeAlgorithms,
    secrets: &[Secret],
    nonces: Nonces<'_>,
    spis: IkeSpis,
) -> Result<IkeKeys, DeriveError> {
    let prf = crypto_prf(old.0.prf).ok_or(DeriveError::Unsupported)?;
    let seed = prf.prf(old.1.d.expose(), &interleaved(secrets, nonces));
    expand_ike(algorithms, &seed, nonces, spis)
}

fn expand_ike(
    algorithms: &IkeAlgorithms,
    seed: &Secret,
    nonces: Nonces<'_>,
    spis: IkeSpis,
) -> Result<IkeKeys, DeriveError> {
    let prf = crypto_prf(algorithms.prf).ok_or(DeriveError::Unsupported)?;
    let (encryption, integrity) = key_lengths(algorithms.encryption, algorithms.integrity)?;
    //= RFC 7296 section 2.13 #4: an HMAC prefers keys of the length of its output
    let length = prf.output_length();
    let total = 3 * length + 2 * integrity + 2 * encryption;
    let spi_i = spis.initiator.to_be_bytes();
    let spi_r = spis.responder.to_be_bytes();
    let parts = [nonces.initiator, nonces.responder, &spi_i, &spi_r];
    let material = prf.prf_plus(seed.expose(), &parts, total);
    let material = material.map_err(|_| DeriveError::Unsupported)?;
    let mut cut = Cutter(material.expose());
    Ok(IkeKeys {
        d: cut.next(length),
        ai: cut.next(integrity),
        ar: cut.next(integrity),
        ei: cut.next(encryption),
        er: cut.next(encryption),
        pi: cut.next(length),
        pr: cut.next(length),
    })
}

/// The keys of a Child SA, in the order of RFC 7296 section 2.17.
pub(crate) struct ChildMaterial {
    pub(crate) initiator_encryption: SecretBytes,
    pub(crate) initiator_integrity: SecretBytes,
    pub(crate) responder_encryption: SecretBytes,
    pub(crate) responder_integrity: SecretBytes,
}

/// First secret, nonces, further secrets (RFC 9370 section 2.2.4).
fn interleaved<'a>(secrets: &'a [Secret], nonces: Nonces<'a>) -> Vec<&'a [u8]> {
    let (first, more) = secrets.split_at(secrets.len().min(1));
    let nonces = [nonces.initiator, nonces.responder];
    let exposed = |secrets: &'a [Secret]| secrets.iter().map(Secret::expose);
    exposed(first).chain(nonces).chain(exposed(more)).collect()
}

/// The keys of a Child SA; secrets only with key exchanges of its own.
//= RFC 7296 section 2.17 #1: initiator's encryption and integrity, then the responder's
//= RFC 7296 section 2.17 #2: encryption before integrity
pub(crate) fn derive_child(
    parent: (&IkeAlgorithms, &IkeKeys),
    algorithms: &EspAlgorithms,
    secrets: &[Secret],
    nonces: Nonces<'_>,
) -> Result<ChildMaterial, DeriveError> {
    let prf = crypto_prf(parent.0.prf).ok_or(DeriveError::Unsupported)?;
    let (encryption, integrity) = key_lengths(algorithms.encryption, algorithms.integrity)?;
    let parts = interleaved(secrets, nonces);
    let total = 2 * (encryption + integrity);
    let material = prf.prf_plus(parent.1.d.expose(), &parts, total);
    let material = material.map_err(|_| DeriveError::Unsupported)?;
    let mut cut = Cutter(material.expose());
    Ok(ChildMaterial {
        initiator_encryption: cut.next(encryption),
        initiator_integrity: cut.next(integrity),
        responder_encryption: cut.next(encryption),
        responder_integrity: cut.next(integrity),
    })
}

fn key_lengths(
    encryption: Encryption,
    integrity: Integrity,
) -> Result<(usize, usize), DeriveError> {
    let key = encryption_key_length(encryption).ok_or(DeriveError::Unsupported)?;
    match (encryption.is_aead(), crypto_mac(integrity)) {
        (true, None) => Ok((key, 0)),
        (false, Some(mac)) => Ok((key, mac.key_length())),
        _ => Err(DeriveError::Unsupported),
    }
}

/// Takes keys one after another from derived material of exactly their total length.
struct Cutter<'a>(&'a [u8]);

impl Cutter<'_> {
    fn next(&mut self, length: usize) -> SecretBytes {
        let (key, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        SecretBytes::from(key)
    }
}

#[cfg(test)]
mod trace;
