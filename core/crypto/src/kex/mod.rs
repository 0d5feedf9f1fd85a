//! Key exchange: X25519 (RFC 8031), the NIST curves (RFC 5903), MODP groups (RFC 3526), ML-KEM (FIPS
//! 203, draft-ietf-ipsecme-ikev2-mlkem).
//!
//! Public values and shared secrets have the form of the IKEv2 KE payload. Private values come from
//! [`Random`] and can be exported, since an exchange that is under way survives its node. The
//! peer's values are checked as RFC 6989 asks.

mod mlkem;
mod modp;

use crate::{KexError, KeyError, Random, Secret};
use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, UnparsedPublicKey, X25519};
use core::fmt;
use mlkem::MlKem;
use modp::{Exponent, Modp};
use zeroize::Zeroizing;

/// Tries before a random source that gives no usable value is called broken. One draw for P-256
/// fails with probability 2^-32.
const DRAWS: usize = 16;

/// The byte that says "uncompressed point" in SEC 1 and is absent in IKE (RFC 5903 section 7).
const UNCOMPRESSED: u8 = 4;

/// The key exchange groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Curve25519 (transform 31).
    X25519,
    /// 256-bit random ECP group (transform 19).
    P256,
    /// 384-bit random ECP group (transform 20).
    P384,
    /// 521-bit random ECP group (transform 21).
    P521,
    /// 2048-bit MODP group (transform 14).
    Modp2048,
    /// 3072-bit MODP group (transform 15).
    Modp3072,
    /// 4096-bit MODP group (transform 16).
    Modp4096,
    /// 6144-bit MODP group (transform 17).
    Modp6144,
    /// 8192-bit MODP group (transform 18).
    Modp8192,
    /// ML-KEM-512 (transform 35).
    MlKem512,
    /// ML-KEM-768 (transform 36).
    MlKem768,
    /// ML-KEM-1024 (transform 37).
    MlKem1024,
}

/// Who does the arithmetic.
enum Kind {
    Curve(&'static agreement::Algorithm),
    Modp(Modp),
    Kem(MlKem),
}

impl Group {
    fn kind(self) -> Kind {
        match self {
            Group::X25519 => Kind::Curve(&X25519),
            Group::P256 => Kind::Curve(&ECDH_P256),
            Group::P384 => Kind::Curve(&ECDH_P384),
            Group::P521 => Kind::Curve(&ECDH_P521),
            Group::Modp2048 => Kind::Modp(Modp::Bits2048),
            Group::Modp3072 => Kind::Modp(Modp::Bits3072),
            Group::Modp4096 => Kind::Modp(Modp::Bits4096),
            Group::Modp6144 => Kind::Modp(Modp::Bits6144),
            Group::Modp8192 => Kind::Modp(Modp::Bits8192),
            Group::MlKem512 => Kind::Kem(MlKem::Kem512),
            Group::MlKem768 => Kind::Kem(MlKem::Kem768),
            Group::MlKem1024 => Kind::Kem(MlKem::Kem1024),
        }
    }

    /// Bytes of a coordinate, and of the private value, on a curve; `None` for others.
    const fn coordinate(self) -> Option<usize> {
        match self {
            Group::X25519 | Group::P256 => Some(32),
            Group::P384 => Some(48),
            Group::P521 => Some(66),
            _ => None,
        }
    }

    /// Bytes of a public value in the KE payload of the side that begins, which is that of the other
    /// side too, unless [`Group::is_kem`].
    #[must_use]
    pub fn public_length(self) -> usize {
        match (self.kind(), self.coordinate()) {
            (Kind::Modp(group), _) => group.length(),
            (Kind::Kem(kem), _) => kem.key_length(),
            (_, Some(coordinate)) if self == Group::X25519 => coordinate,
            (_, coordinate) => 2 * coordinate.unwrap_or(0),
        }
    }

    /// The two sides do different things: who begins makes a [`PrivateKey`], the other calls
    /// [`encapsulate`].
    #[must_use]
    pub fn is_kem(self) -> bool {
        matches!(self.kind(), Kind::Kem(_))
    }

    /// Bytes of an exported private value.
    #[must_use]
    pub fn private_length(self) -> usize {
        match self.kind() {
            Kind::Modp(group) => group.exponent_length(),
            Kind::Kem(_) => mlkem::SEED_LENGTH,
            Kind::Curve(_) => self.coordinate().unwrap_or(0),
        }
    }
}

/// Our half of one exchange.
pub struct PrivateKey {
    group: Group,
    value: Zeroizing<Vec<u8>>,
    key: Key,
}

enum Key {
    Curve(agreement::PrivateKey),
    Modp(Exponent),
    Kem(MlKem, Zeroizing<[u8; mlkem::SEED_LENGTH]>),
}

impl PrivateKey {
    /// Draws a private value; one that is out of range is drawn again.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the source gives nothing usable.
    pub fn generate(group: Group, random: &mut dyn Random) -> Result<PrivateKey, KeyError> {
        let mut value = Zeroizing::new(vec![0; group.private_length()]);
        for _ in 0..DRAWS {
            random.fill(&mut value);
            // 521 bits in 66 bytes: almost no draw would be in range.
            if group == Group::P521 {
                value[0] &= 1;
            }
            if let Ok(key) = PrivateKey::from_bytes(group, &value) {
                return Ok(key);
            }
        }
        Err(KeyError::Random)
    }

    /// Restores what [`PrivateKey::to_bytes`] gave.
    ///
    /// # Errors
    /// [`KeyError`] when the bytes are no private value of the group.
    pub fn from_bytes(group: Group, value: &[u8]) -> Result<PrivateKey, KeyError> {
        let (found, wanted) = (value.len(), group.private_length());
        if found != wanted {
            return Err(KeyError::KeyLength { what: "key exchange", found, wanted });
        }
        let key = match group.kind() {
            Kind::Curve(algorithm) => {
                agreement::PrivateKey::from_private_key(algorithm, value).ok().map(Key::Curve)
            }
            Kind::Modp(modp) => Exponent::from_bytes(modp, value).map(Key::Modp),
            Kind::Kem(kem) => value.try_into().ok().map(|seed| Key::Kem(kem, Zeroizing::new(seed))),
        };
        let key = key.ok_or(KeyError::PrivateKey("key exchange"))?;
        Ok(PrivateKey { group, value: Zeroizing::new(value.to_vec()), key })
    }

    /// The private value, for a snapshot. Its length is [`Group::private_length`].
    #[must_use]
    pub fn to_bytes(&self) -> Secret {
        Secret::from(self.value.as_slice())
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> Group {
        self.group
    }

    /// The public value, as the KE payload carries it.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        match &self.key {
            Key::Modp(exponent) => exponent.public(),
            Key::Kem(kem, seed) => kem.public(seed),
            Key::Curve(key) => {
                let public = key.compute_public_key();
                let public = public.expect("a private key that was accepted has a public one");
                let skip = usize::from(self.group != Group::X25519);
                public.as_ref()[skip..].to_vec()
            }
        }
    }

    /// The shared secret with the peer's public value, of a KEM with its ciphertext, in the form that RFC 7296 section 2.14
    /// wants (for a NIST curve the x coordinate alone, RFC 5903 section 9).
    ///
    /// # Errors
    /// [`KexError`] for a value that RFC 6989 or RFC 8031 forbids.
    pub fn agree(&self, peer_public: &[u8]) -> Result<Secret, KexError> {
        let wanted = match &self.key {
            Key::Kem(kem, _) => kem.ciphertext_length(),
            _ => self.group.public_length(),
        };
        let found = peer_public.len();
        if found != wanted {
            return Err(KexError::Length { found, wanted });
        }
        match (&self.key, self.group.kind()) {
            (Key::Kem(kem, seed), _) => kem.decapsulate(seed, peer_public).ok_or(KexError::Value),
            (Key::Modp(exponent), _) => exponent.agree(peer_public).ok_or(KexError::Value),
            (Key::Curve(key), Kind::Curve(algorithm)) if self.group == Group::X25519 => {
                agree_on_curve(key, algorithm, peer_public)
            }
            (Key::Curve(key), Kind::Curve(algorithm)) => {
                let point = [&[UNCOMPRESSED][..], peer_public].concat();
                agree_on_curve(key, algorithm, &point)
            }
            (Key::Curve(_), Kind::Modp(_) | Kind::Kem(_)) => Err(KexError::Value),
        }
    }
}

/// The answering side of a KEM: the ciphertext for the KE payload, and the shared secret.
///
/// # Errors
/// [`KexError`] for an encapsulation key that FIPS 203 section 7.2 forbids, or a group that is no
/// KEM.
pub fn encapsulate(
    group: Group,
    peer_public: &[u8],
    random: &mut dyn Random,
) -> Result<(Vec<u8>, Secret), KexError> {
    let Kind::Kem(kem) = group.kind() else { return Err(KexError::Value) };
    let (found, wanted) = (peer_public.len(), kem.key_length());
    if found != wanted {
        return Err(KexError::Length { found, wanted });
    }
    let mut message = Zeroizing::new([0; mlkem::MESSAGE_LENGTH]);
    random.fill(message.as_mut());
    kem.encapsulate(peer_public, &message).ok_or(KexError::Value)
}

fn agree_on_curve(
    key: &agreement::PrivateKey,
    algorithm: &'static agreement::Algorithm,
    point: &[u8],
) -> Result<Secret, KexError> {
    let peer = UnparsedPublicKey::new(algorithm, point);
    agreement::agree(key, peer, KexError::Value, |secret| Ok(Secret::from(secret)))
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("group", &self.group).finish_non_exhaustive()
    }
}
