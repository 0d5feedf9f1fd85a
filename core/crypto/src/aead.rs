//! AEAD with an implicit salt, an explicit IV and a 16-byte tag: AES-GCM (RFC 4106 for ESP, RFC 5282
//! for IKEv2) and ChaCha20-Poly1305 (RFC 7634).
//!
//! The caller chooses the 8-byte IV and answers for its uniqueness under the key.

use crate::{KeyError, OpenError};
use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use core::fmt;

/// Bytes of the salt that follows the key in the key material (RFC 4106 section 8.1, RFC 7634
/// section 2).
pub const SALT_LENGTH: usize = 4;
/// Bytes of the explicit IV in the packet.
pub const IV_LENGTH: usize = 8;
/// Bytes of the integrity check value.
pub const TAG_LENGTH: usize = 16;

/// The AEAD algorithms that we speak, all with a 16-byte tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AeadAlgorithm {
    /// AES-GCM with a 128-bit key.
    Aes128Gcm16,
    /// AES-GCM with a 256-bit key.
    Aes256Gcm16,
    /// ChaCha20 with Poly1305, with a 256-bit key.
    ChaCha20Poly1305,
}

impl AeadAlgorithm {
    /// Bytes of key material: key and salt.
    #[must_use]
    pub const fn key_and_salt_length(self) -> usize {
        match self {
            AeadAlgorithm::Aes128Gcm16 => 16 + SALT_LENGTH,
            AeadAlgorithm::Aes256Gcm16 | AeadAlgorithm::ChaCha20Poly1305 => 32 + SALT_LENGTH,
        }
    }
}

/// One key with its salt. Each direction of an SA has its own.
pub struct AeadKey {
    algorithm: AeadAlgorithm,
    key: LessSafeKey,
    salt: [u8; SALT_LENGTH],
}

impl AeadKey {
    /// Takes key material of [`AeadAlgorithm::key_and_salt_length`] bytes, the salt last.
    ///
    /// # Errors
    /// [`KeyError::KeyLength`].
    pub fn new(algorithm: AeadAlgorithm, key_and_salt: &[u8]) -> Result<AeadKey, KeyError> {
        let wrong_length = KeyError::KeyLength {
            what: "AEAD",
            found: key_and_salt.len(),
            wanted: algorithm.key_and_salt_length(),
        };
        if key_and_salt.len() != algorithm.key_and_salt_length() {
            return Err(wrong_length);
        }
        let (key, salt) = key_and_salt.split_last_chunk::<SALT_LENGTH>().ok_or(wrong_length)?;
        let cipher = match algorithm {
            AeadAlgorithm::Aes128Gcm16 => &AES_128_GCM,
            AeadAlgorithm::Aes256Gcm16 => &AES_256_GCM,
            AeadAlgorithm::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(cipher, key).map_err(|_| wrong_length)?;
        Ok(AeadKey { algorithm, key: LessSafeKey::new(key), salt: *salt })
    }

    /// The algorithm of this key.
    #[must_use]
    pub fn algorithm(&self) -> AeadAlgorithm {
        self.algorithm
    }

    /// Encrypts `in_out` in place and returns the tag over it and `aad`. `iv` must never have been
    /// used with this key before.
    #[must_use = "without the tag nobody can open it"]
    pub fn seal(&self, iv: [u8; IV_LENGTH], aad: &[u8], in_out: &mut [u8]) -> [u8; TAG_LENGTH] {
        let sealed = self.key.seal_in_place_separate_tag(self.nonce(iv), Aad::from(aad), in_out);
        let tag = sealed.expect("every buffer below 64 GiB can be sealed");
        let mut out = [0; TAG_LENGTH];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Checks `tag` over `in_out` and `aad` and decrypts `in_out` in place.
    ///
    /// # Errors
    /// [`OpenError`]; `in_out` then holds nothing of use.
    pub fn open(
        &self,
        iv: [u8; IV_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
        tag: &[u8],
    ) -> Result<(), OpenError> {
        self.key
            .open_in_place_separate_tag(self.nonce(iv), Aad::from(aad), tag, in_out)
            .map(|_| ())
            .map_err(|_| OpenError)
    }

    fn nonce(&self, iv: [u8; IV_LENGTH]) -> Nonce {
        let mut nonce = [0; SALT_LENGTH + IV_LENGTH];
        nonce[..SALT_LENGTH].copy_from_slice(&self.salt);
        nonce[SALT_LENGTH..].copy_from_slice(&iv);
        Nonce::assume_unique_for_key(nonce)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AeadKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Drop for AeadKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.salt);
    }
}
