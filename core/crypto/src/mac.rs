//! Truncated HMAC-SHA2 as integrity algorithm of ESP and IKEv2 (RFC 4868).

use crate::digest::constant_time_eq;
use crate::{KeyError, OpenError};
use aws_lc_rs::hmac;
use core::fmt;

/// The integrity algorithms, named hash, then bits of the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MacAlgorithm {
    /// AUTH_HMAC_SHA2_256_128.
    HmacSha2_256_128,
    /// AUTH_HMAC_SHA2_384_192.
    HmacSha2_384_192,
    /// AUTH_HMAC_SHA2_512_256.
    HmacSha2_512_256,
}

impl MacAlgorithm {
    /// Bytes of the key (RFC 4868 section 2.1.1: the length of the hash's output, no other).
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            MacAlgorithm::HmacSha2_256_128 => 32,
            MacAlgorithm::HmacSha2_384_192 => 48,
            MacAlgorithm::HmacSha2_512_256 => 64,
        }
    }

    /// Bytes of the truncated tag: half of the hash's output.
    #[must_use]
    pub const fn tag_length(self) -> usize {
        self.key_length() / 2
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            MacAlgorithm::HmacSha2_256_128 => hmac::HMAC_SHA256,
            MacAlgorithm::HmacSha2_384_192 => hmac::HMAC_SHA384,
            MacAlgorithm::HmacSha2_512_256 => hmac::HMAC_SHA512,
        }
    }
}

/// A truncated tag; `as_ref` gives its bytes.
#[derive(Clone, Copy)]
pub struct Tag {
    bytes: [u8; 32],
    length: usize,
}

impl AsRef<[u8]> for Tag {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// One integrity key.
pub struct MacKey {
    algorithm: MacAlgorithm,
    key: hmac::Key,
}

impl MacKey {
    /// Takes a key of [`MacAlgorithm::key_length`] bytes.
    ///
    /// # Errors
    /// [`KeyError::KeyLength`].
    pub fn new(algorithm: MacAlgorithm, key: &[u8]) -> Result<MacKey, KeyError> {
        let wanted = algorithm.key_length();
        if key.len() != wanted {
            return Err(KeyError::KeyLength { what: "HMAC-SHA2", found: key.len(), wanted });
        }
        Ok(MacKey { algorithm, key: hmac::Key::new(algorithm.hmac(), key) })
    }

    /// The algorithm of this key.
    #[must_use]
    pub fn algorithm(&self) -> MacAlgorithm {
        self.algorithm
    }

    /// The truncated tag over the concatenation of `parts`.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        let full = context.sign();
        let length = self.algorithm.tag_length();
        let mut bytes = [0; 32];
        bytes[..length].copy_from_slice(&full.as_ref()[..length]);
        Tag { bytes, length }
    }

    /// Checks `tag` over the concatenation of `parts`, in constant time.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> Result<(), OpenError> {
        if constant_time_eq(self.tag(parts).as_ref(), tag) { Ok(()) } else { Err(OpenError) }
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MacKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
