//! The pseudorandom functions of IKEv2, prf+ (RFC 7296 section 2.13), and the shared-key AUTH
//! value (section 2.15).

use crate::{KeyError, Secret};
use aws_lc_rs::hmac;

/// The PRF algorithms. All take keys of any length; their preferred length is their output's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrfAlgorithm {
    /// PRF_HMAC_SHA2_256.
    HmacSha2_256,
    /// PRF_HMAC_SHA2_384.
    HmacSha2_384,
    /// PRF_HMAC_SHA2_512.
    HmacSha2_512,
}

impl PrfAlgorithm {
    /// Bytes of the output, and the preferred length of keys (SK_d, SK_pi, SK_pr).
    #[must_use]
    pub const fn output_length(self) -> usize {
        match self {
            PrfAlgorithm::HmacSha2_256 => 32,
            PrfAlgorithm::HmacSha2_384 => 48,
            PrfAlgorithm::HmacSha2_512 => 64,
        }
    }

    /// `prf(key, parts…)` over the concatenation of `parts`.
    #[must_use]
    //= RFC 7296 section 1.7 #2: HMAC takes a key of any length
    pub fn prf(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        let key = hmac::Key::new(self.hmac(), key);
        Secret::from(sign(&key, parts).as_ref())
    }

    /// The first `length` bytes of `prf+(key, seed…)`, over the concatenation of `seed`.
    ///
    /// # Errors
    /// [`KeyError::OutputLength`] above 255 blocks of output.
    pub fn prf_plus(self, key: &[u8], seed: &[&[u8]], length: usize) -> Result<Secret, KeyError> {
        if length > 255 * self.output_length() {
            return Err(KeyError::OutputLength(length));
        }
        let key = hmac::Key::new(self.hmac(), key);
        // Room for everything at once: a vector that grows leaves copies of keys behind.
        let mut out = Vec::with_capacity(length + self.output_length());
        for counter in 1..=255u8 {
            if out.len() >= length {
                break;
            }
            let previous = out.len().saturating_sub(self.output_length());
            let mut context = hmac::Context::with_key(&key);
            context.update(&out[previous..]);
            seed.iter().for_each(|part| context.update(part));
            context.update(&[counter]);
            out.extend_from_slice(context.sign().as_ref());
        }
        zeroize::Zeroize::zeroize(&mut out[length..]);
        out.truncate(length);
        Ok(Secret::new(out))
    }

    /// The AUTH value for a shared key (RFC 7296 section 2.15) over the concatenation of
    /// `signed_octets`.
    #[must_use]
    pub fn shared_key_auth(self, shared_key: &[u8], signed_octets: &[&[u8]]) -> Secret {
        let padded = self.prf(shared_key, &[b"Key Pad for IKEv2"]);
        self.prf(padded.expose(), signed_octets)
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            PrfAlgorithm::HmacSha2_256 => hmac::HMAC_SHA256,
            PrfAlgorithm::HmacSha2_384 => hmac::HMAC_SHA384,
            PrfAlgorithm::HmacSha2_512 => hmac::HMAC_SHA512,
        }
    }
}

fn sign(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    context.sign()
}
