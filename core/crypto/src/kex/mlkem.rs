//! ML-KEM (FIPS 203) from bytes that are handed in: the seed of a key pair, the message of an
//! encapsulation. That is why it is not aws-lc-rs's, which draws both by itself.

use crate::Secret;

/// Bytes of the seed, which is what is kept of a private key.
pub(super) const SEED_LENGTH: usize = 64;
/// Bytes that an encapsulation is made of.
pub(super) const MESSAGE_LENGTH: usize = 32;

/// A parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MlKem {
    Kem512,
    Kem768,
    Kem1024,
}

impl MlKem {
    /// Bytes of an encapsulation key.
    pub(super) const fn key_length(self) -> usize {
        match self {
            MlKem::Kem512 => 800,
            MlKem::Kem768 => 1184,
            MlKem::Kem1024 => 1568,
        }
    }

    /// Bytes of a ciphertext.
    pub(super) const fn ciphertext_length(self) -> usize {
        match self {
            MlKem::Kem512 => 768,
            MlKem::Kem768 => 1088,
            MlKem::Kem1024 => 1568,
        }
    }

    /// The encapsulation key of a seed.
    pub(super) fn public(self, seed: &[u8; SEED_LENGTH]) -> Vec<u8> {
        match self {
            MlKem::Kem512 => ml_kem_512::public(seed),
            MlKem::Kem768 => ml_kem_768::public(seed),
            MlKem::Kem1024 => ml_kem_1024::public(seed),
        }
    }

    /// Ciphertext and shared secret for an encapsulation key; `None` for one that the checks of
    /// FIPS 203 section 7.2 refuse.
    pub(super) fn encapsulate(
        self,
        key: &[u8],
        message: &[u8; MESSAGE_LENGTH],
    ) -> Option<(Vec<u8>, Secret)> {
        match self {
            MlKem::Kem512 => ml_kem_512::encapsulate(key, message),
            MlKem::Kem768 => ml_kem_768::encapsulate(key, message),
            MlKem::Kem1024 => ml_kem_1024::encapsulate(key, message),
        }
    }

    /// The shared secret of a ciphertext; `None` for one of another length. One that was made for
    /// another key gives a secret that nobody has (FIPS 203 section 6.3).
    pub(super) fn decapsulate(self, seed: &[u8; SEED_LENGTH], ciphertext: &[u8]) -> Option<Secret> {
        match self {
            MlKem::Kem512 => ml_kem_512::decapsulate(seed, ciphertext),
            MlKem::Kem768 => ml_kem_768::decapsulate(seed, ciphertext),
            MlKem::Kem1024 => ml_kem_1024::decapsulate(seed, ciphertext),
        }
    }
}

/// The three functions for one parameter set: the library's bounds on it cannot be named from here.
macro_rules! parameter_set {
    ($set:ident) => {
        mod $set {
            use super::{MESSAGE_LENGTH, SEED_LENGTH};
            use crate::Secret;
            use ml_kem::kem::{Decapsulate, KeyExport};
            use ml_kem::$set::{Ciphertext, DecapsulationKey, EncapsulationKey};
            use zeroize::Zeroize;

            pub(super) fn public(seed: &[u8; SEED_LENGTH]) -> Vec<u8> {
                let key = DecapsulationKey::from_seed((*seed).into());
                key.encapsulation_key().to_bytes().to_vec()
            }

            pub(super) fn encapsulate(
                key: &[u8],
                message: &[u8; MESSAGE_LENGTH],
            ) -> Option<(Vec<u8>, Secret)> {
                let key = EncapsulationKey::new(&key.try_into().ok()?).ok()?;
                let (ciphertext, mut shared) = key.encapsulate_deterministic(&(*message).into());
                let secret = Secret::from(shared.as_slice());
                shared.zeroize();
                Some((ciphertext.to_vec(), secret))
            }

            pub(super) fn decapsulate(
                seed: &[u8; SEED_LENGTH],
                ciphertext: &[u8],
            ) -> Option<Secret> {
                let ciphertext = Ciphertext::try_from(ciphertext).ok()?;
                let key = DecapsulationKey::from_seed((*seed).into());
                let mut shared = key.decapsulate(&ciphertext);
                let secret = Secret::from(shared.as_slice());
                shared.zeroize();
                Some(secret)
            }
        }
    };
}

parameter_set!(ml_kem_512);
parameter_set!(ml_kem_768);
parameter_set!(ml_kem_1024);
