//! The 2048-bit MODP group 14 (RFC 3526 section 3), which aws-lc-rs does not offer.
//!
//! Arithmetic is crypto-bigint's constant-time Montgomery exponentiation. The private exponent has
//! 256 bits: more than twice the 112 bits of strength that NIST SP 800-57 gives to a modulus of 2048
//! bits, so that it is not the weakest part. The modulus is a safe prime, so RFC 6989 section 2.1
//! asks only that the peer's value is none of 0, 1, p-1 and above.

use crate::Secret;
use crypto_bigint::modular::ConstMontyForm;
use crypto_bigint::{Encoding, U256, U2048, const_monty_params};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a public value and of the shared secret.
pub(super) const LENGTH: usize = 256;
/// Bytes of a private exponent.
pub(super) const EXPONENT_LENGTH: usize = 32;

const_monty_params!(
    Group14,
    U2048,
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
     020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
     4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05\
     98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB\
     9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
     E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718\
     3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    "The prime of group 14."
);

type Element = ConstMontyForm<Group14, { U2048::LIMBS }>;

/// A private exponent.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Exponent(U256);

impl Exponent {
    /// Takes 32 bytes; `None` when the upper 8 of them are zero, which no working random source
    /// ever gives.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Exponent> {
        let bytes: [u8; EXPONENT_LENGTH] = bytes.try_into().ok()?;
        let long_enough = bytes[..8].iter().any(|&byte| byte != 0);
        long_enough.then(|| Exponent(U256::from_be_bytes(bytes.into())))
    }

    /// 2 to the power of the exponent, padded to the length of the modulus.
    pub(super) fn public(&self) -> [u8; LENGTH] {
        let generator = Element::new(&U2048::from_u64(2));
        to_bytes(&generator.pow(&self.0).retrieve())
    }

    /// The shared secret, padded to the length of the modulus; `None` for a forbidden value.
    pub(super) fn agree(&self, peer_public: &[u8]) -> Option<Secret> {
        let bytes: [u8; LENGTH] = peer_public.try_into().ok()?;
        let peer = U2048::from_be_bytes(bytes.into());
        let last = Element::MODULUS.get().wrapping_sub(&U2048::ONE);
        if peer <= U2048::ONE || peer >= last {
            return None;
        }
        let mut shared = Element::new(&peer).pow(&self.0).retrieve();
        let secret = Secret::from(&to_bytes(&shared)[..]);
        shared.zeroize();
        Some(secret)
    }
}

fn to_bytes(value: &U2048) -> [u8; LENGTH] {
    let mut out = [0; LENGTH];
    out.copy_from_slice(value.to_be_bytes().as_ref());
    out
}
