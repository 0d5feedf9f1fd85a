//! The Ed25519 identity of a node (RFC 8032), and its forms for TLS with raw public keys
//! (RFC 7250, RFC 8410).

use crate::{KeyError, OpenError, Random, Secret};
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use core::fmt;
use zeroize::Zeroizing;

/// What comes before the 32 key bytes in an Ed25519 SubjectPublicKeyInfo (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The public half, by which a configuration names a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Checks a signature of `message`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), OpenError> {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).map_err(|_| OpenError)
    }

    /// The DER SubjectPublicKeyInfo, which is what TLS sends as a raw public key.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.0[..]].concat()
    }

    /// Reads a SubjectPublicKeyInfo; `None` when it is not exactly one Ed25519 key.
    #[must_use]
    pub fn from_spki(der: &[u8]) -> Option<PublicKey> {
        let key = der.strip_prefix(&SPKI_PREFIX)?;
        key.try_into().ok().map(PublicKey)
    }
}

/// The private half. Signing is deterministic and draws no randomness.
pub struct Identity(Ed25519KeyPair);

impl Identity {
    /// Makes a new identity.
    ///
    /// # Errors
    /// None that can occur in practice: every 32 bytes are a seed.
    pub fn generate(random: &mut dyn Random) -> Result<Identity, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill(seed.as_mut());
        Identity::from_seed(&seed)
    }

    /// The identity of a seed (the RFC's 32-byte private key).
    ///
    /// # Errors
    /// None that can occur in practice: every 32 bytes are a seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Identity, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        pair.map(Identity).map_err(|_| KeyError::PrivateKey("Ed25519"))
    }

    /// Reads a PKCS#8 document, version 1 or 2.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Identity, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(der);
        pair.map(Identity).map_err(|_| KeyError::PrivateKey("Ed25519"))
    }

    /// The seed, for a key file.
    ///
    /// # Errors
    /// None that can occur in practice.
    pub fn seed(&self) -> Result<Secret, KeyError> {
        let invalid = |_| KeyError::PrivateKey("Ed25519");
        let seed = self.0.seed().and_then(|seed| seed.as_be_bytes()).map_err(invalid)?;
        Ok(Secret::from(seed.as_ref()))
    }

    /// A PKCS#8 version 1 document, as rustls and OpenSSL read it.
    ///
    /// # Errors
    /// None that can occur in practice.
    pub fn to_pkcs8(&self) -> Result<Secret, KeyError> {
        let document = self.0.to_pkcs8v1().map_err(|_| KeyError::PrivateKey("Ed25519"))?;
        Ok(Secret::from(document.as_ref()))
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.0.sign(message).as_ref());
        signature
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.public_key())
    }
}
