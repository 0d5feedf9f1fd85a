//! The MODP groups 14 to 18 (RFC 3526), which aws-lc-rs does not offer.
//!
//! Arithmetic is crypto-bigint's constant-time Montgomery exponentiation. The private exponents are
//! at least as long as RFC 3526 section 8 asks, so that they are not the weakest part, and no longer:
//! NIST SP 800-56A (rev. 3, section 5.6.1.1.1) allows short ones in these groups, and a power costs a
//! twentieth of one with an exponent as long as the modulus (8192 bits: about 20 ms). The moduli
//! are safe primes, so RFC 6989 section 2.1 asks only that the peer's value is none of 0, 1, p-1 and
//! above.

mod primes;

use crate::Secret;
use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U448, Uint};
use primes::{Group14, Group15, Group16, Group17, Group18};
use zeroize::{Zeroize, Zeroizing};

/// The longest private exponent.
const EXPONENT_MAX: usize = 56;

/// A group, by the bits of its prime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modp {
    Bits2048,
    Bits3072,
    Bits4096,
    Bits6144,
    Bits8192,
}

impl Modp {
    /// Bytes of a public value and of the shared secret.
    pub(super) const fn length(self) -> usize {
        match self {
            Modp::Bits2048 => 256,
            Modp::Bits3072 => 384,
            Modp::Bits4096 => 512,
            Modp::Bits6144 => 768,
            Modp::Bits8192 => 1024,
        }
    }

    /// Bytes of a private exponent: the lower estimate of RFC 3526 section 8, rounded up.
    pub(super) const fn exponent_length(self) -> usize {
        match self {
            Modp::Bits2048 => 32,
            Modp::Bits3072 | Modp::Bits4096 => 40,
            Modp::Bits6144 => 48,
            Modp::Bits8192 => EXPONENT_MAX,
        }
    }

    /// `base` to the power of `exponent`; `None` unless 1 < base < p-1.
    fn power(self, base: &[u8], exponent: &Exponent) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Modp::Bits2048 => power::<Group14, _>(base, exponent),
            Modp::Bits3072 => power::<Group15, _>(base, exponent),
            Modp::Bits4096 => power::<Group16, _>(base, exponent),
            Modp::Bits6144 => power::<Group17, _>(base, exponent),
            Modp::Bits8192 => power::<Group18, _>(base, exponent),
        }
    }
}

/// A private exponent.
pub(super) struct Exponent {
    group: Modp,
    value: U448,
}

impl Exponent {
    /// Takes [`Modp::exponent_length`] bytes; `None` for another length or when the upper 8 of them
    /// are zero, which no working random source ever gives.
    pub(super) fn from_bytes(group: Modp, bytes: &[u8]) -> Option<Exponent> {
        let length = group.exponent_length();
        if bytes.len() != length || bytes[..8].iter().all(|&byte| byte == 0) {
            return None;
        }
        let mut padded = Zeroizing::new([0; EXPONENT_MAX]);
        padded[EXPONENT_MAX - length..].copy_from_slice(bytes);
        Some(Exponent { group, value: U448::from_be_slice(padded.as_ref()) })
    }

    /// 2 to the power of the exponent, padded to the length of the modulus.
    //= RFC 7296 section 3.4 #1: as long as the modulus
    pub(super) fn public(&self) -> Vec<u8> {
        let mut generator = vec![0; self.group.length()];
        if let Some(last) = generator.last_mut() {
            *last = 2;
        }
        self.group.power(&generator, self).map_or_else(Vec::new, |public| public.to_vec())
    }

    /// The shared secret, padded to the length of the modulus; `None` for a forbidden value.
    pub(super) fn agree(&self, peer_public: &[u8]) -> Option<Secret> {
        self.group.power(peer_public, self).map(|shared| Secret::from(shared.as_slice()))
    }
}

impl Drop for Exponent {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

fn power<P: ConstMontyParams<LIMBS>, const LIMBS: usize>(
    base: &[u8],
    exponent: &Exponent,
) -> Option<Zeroizing<Vec<u8>>> {
    if base.len() != exponent.group.length() {
        return None;
    }
    let base = Uint::<LIMBS>::from_be_slice(base);
    let last = P::PARAMS.modulus().get().wrapping_sub(&Uint::ONE);
    if base <= Uint::ONE || base >= last {
        return None;
    }
    let bits = u32::try_from(exponent.group.exponent_length() * 8).ok()?;
    let form = ConstMontyForm::<P, LIMBS>::new(&base);
    let mut result = form.pow_bounded_exp(&exponent.value, bits).retrieve();
    let words = result.as_words().iter().rev();
    let bytes = Zeroizing::new(words.flat_map(|word| word.to_be_bytes()).collect());
    result.zeroize();
    Some(bytes)
}
