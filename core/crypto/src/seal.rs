//! Sealing of stored records: AES-256-GCM-SIV (RFC 8452), which forgives a repeated nonce, since the
//! nonces here are random and the key lives long.

use crate::{KeyError, OpenError, Random, Secret};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use core::fmt;

/// Bytes of a store key.
pub const KEY_LENGTH: usize = 32;
/// Bytes that sealing adds: nonce and tag.
pub const OVERHEAD: usize = NONCE_LEN + 16;

/// The store key, which only candidates have.
pub struct StoreKey(LessSafeKey);

impl StoreKey {
    /// Takes a key of 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::KeyLength`].
    pub fn new(key: &[u8]) -> Result<StoreKey, KeyError> {
        let wrong_length = |_| KeyError::KeyLength {
            what: "AES-256-GCM-SIV",
            found: key.len(),
            wanted: KEY_LENGTH,
        };
        let key = UnboundKey::new(&AES_256_GCM_SIV, key).map_err(wrong_length)?;
        Ok(StoreKey(LessSafeKey::new(key)))
    }

    /// Seals `plaintext` for the place that `aad` names: nonce, then ciphertext, then tag.
    #[must_use]
    pub fn seal(&self, aad: &[u8], plaintext: &[u8], random: &mut dyn Random) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        self.seal_with(nonce, aad, plaintext)
    }

    /// Opens what [`StoreKey::seal`] made for the same `aad`.
    ///
    /// # Errors
    /// [`OpenError`]: another key, another place, or changed bytes.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Secret, OpenError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(OpenError)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length =
            self.0.open_in_place(nonce, Aad::from(aad), &mut opened).map_err(|_| OpenError)?.len();
        opened.truncate(length);
        Ok(Secret::new(opened))
    }

    fn seal_with(&self, nonce: [u8; NONCE_LEN], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plaintext.len() + OVERHEAD);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let body = &mut out[NONCE_LEN..];
        let sealed = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), body);
        let tag = sealed.expect("GCM-SIV seals every buffer below 64 GiB");
        out.extend_from_slice(tag.as_ref());
        out
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey")
    }
}
