//! ML-KEM: key generation against Wycheproof (C2SP/wycheproof, testvectors_v1: mlkem_512_test.json
//! tcId 2, mlkem_768_test.json tcId 1, whose ends are compared), encapsulation and decapsulation
//! against aws-lc-rs, and what FIPS 203 sections 6.3 and 7.2 say of bad input.

#![allow(clippy::unwrap_used)]

use aws_lc_rs::kem;
use vipsec_crypto::kex::{Group, PrivateKey, encapsulate};
use vipsec_crypto::{KexError, Random};

/// Counts.
struct Counter(u8);

impl Random for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(181).wrapping_add(59);
            *byte = self.0;
        }
    }
}

fn sets() -> [(Group, &'static kem::Algorithm); 3] {
    [
        (Group::MlKem512, &kem::ML_KEM_512),
        (Group::MlKem768, &kem::ML_KEM_768),
        (Group::MlKem1024, &kem::ML_KEM_1024),
    ]
}

#[test]
fn keys_of_wycheproof_seeds() {
    let cases = [
        (
            Group::MlKem512,
            "7c9935a0b07694aa0c6d10e4db6b1add2fd81a25ccb148032dcd739936737f2d\
             8626ed79d451140800e03b59b956f8210e556067407d13dc90fa9e8b872bfb8f",
            "400865ed10b619aa5811139bc086825782b2b7124f757c83ae794444bc78a478",
            "986ae4bc1a242ce9921aa9e22448819585dea308eb039",
        ),
        (
            Group::MlKem768,
            "cbfc4405d1b2a3a386c94c25e0f2d5f5ee92cb0388ff4d6aa04223086d51c3fd\
             24752da14c9fc3b8ae0d9e4a8b1016b8d8fc69e229c03ea2ef08a4ae0cffc37f",
            "8b9a7354e8c1c17a9898f96caf99bba1c625ae0983c4d26e60c12f59bc25d756",
            "9b9b707c86ea076486a6822b9bbf59fbfcaedc13284b9813cabdd526e326a6832d3b36efc3102ef",
        ),
    ];
    for (group, seed, start, end) in cases {
        let key = PrivateKey::from_bytes(group, &hex::decode(seed).unwrap()).unwrap();
        let public = hex::encode(key.public());
        assert_eq!(public.len(), 2 * group.public_length());
        assert!(public.starts_with(start) && public.ends_with(end), "{group:?}: {public}");
    }
}

#[test]
fn both_roles_agree_with_another_implementation() {
    for (group, algorithm) in sets() {
        let ours = PrivateKey::generate(group, &mut Counter(1)).unwrap();
        let restored = PrivateKey::from_bytes(group, ours.to_bytes().expose()).unwrap();
        let (ciphertext, shared) =
            kem::EncapsulationKey::new(algorithm, &ours.public()).unwrap().encapsulate().unwrap();
        assert_eq!(restored.agree(ciphertext.as_ref()).unwrap().expose(), shared.as_ref());

        let theirs = kem::DecapsulationKey::generate(algorithm).unwrap();
        let public = theirs.encapsulation_key().unwrap();
        let public = public.key_bytes().unwrap();
        let (ciphertext, shared) = encapsulate(group, public.as_ref(), &mut Counter(2)).unwrap();
        let opened = theirs.decapsulate(kem::Ciphertext::from(ciphertext.as_slice())).unwrap();
        assert_eq!(opened.as_ref(), shared.expose());
    }
}

#[test]
fn keys_beyond_the_modulus_and_of_wrong_length_are_refused() {
    for (group, _) in sets() {
        let good = PrivateKey::generate(group, &mut Counter(3)).unwrap().public();
        let mut bad = good.clone();
        // The first coefficient, of twelve bits, becomes 3329.
        (bad[0], bad[1]) = (0x01, bad[1] & 0xf0 | 0x0d);
        let refused = encapsulate(group, &bad, &mut Counter(4)).map(|_| ());
        assert_eq!(refused, Err(KexError::Value));
        let wanted = group.public_length();
        for found in [0, wanted - 1, wanted + 1] {
            let refused = encapsulate(group, &vec![0; found], &mut Counter(4)).map(|_| ());
            assert_eq!(refused, Err(KexError::Length { found, wanted }));
        }
    }
    let refused = encapsulate(Group::X25519, &[9; 32], &mut Counter(4)).map(|_| ());
    assert_eq!(refused, Err(KexError::Value));
}

#[test]
fn a_changed_ciphertext_gives_another_secret() {
    for (group, _) in sets() {
        let key = PrivateKey::generate(group, &mut Counter(5)).unwrap();
        let (ciphertext, shared) = encapsulate(group, &key.public(), &mut Counter(6)).unwrap();
        assert_eq!(key.agree(&ciphertext).unwrap(), shared);
        for at in [0, ciphertext.len() / 2, ciphertext.len() - 1] {
            let mut changed = ciphertext.clone();
            changed[at] ^= 1;
            assert_ne!(key.agree(&changed).unwrap(), shared);
        }
        let wanted = ciphertext.len();
        let refused = key.agree(&ciphertext[1..]).map(|_| ());
        assert_eq!(refused, Err(KexError::Length { found: wanted - 1, wanted }));
    }
}
