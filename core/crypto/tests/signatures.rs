//! Signatures of every scheme and kind of key, and their AlgorithmIdentifiers: RFC 7427 appendix A and
//! RFC 8420 appendix A.

#![allow(clippy::unwrap_used)]

use vipsec_crypto::KeyError;
use vipsec_crypto::certificate::verify_signature;
use vipsec_crypto::signature::{Hash, Scheme, SigningKey};

macro_rules! pair {
    ($name:literal) => {
        (
            include_bytes!(concat!("../../ike/tests/certificates/", $name, ".der")).to_vec(),
            SigningKey::from_der(include_bytes!(concat!(
                "../../ike/tests/certificates/",
                $name,
                ".key"
            )))
            .unwrap(),
        )
    };
}

const HASHES: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];

#[test]
fn identifiers_are_those_of_the_rfcs() {
    let known = [
        (Scheme::RsaPkcs1(Hash::Sha256), "300d06092a864886f70d01010b0500"),
        (Scheme::Ecdsa(Hash::Sha512), "300a06082a8648ce3d040304"),
        (Scheme::Ed25519, "300506032b6570"),
        (
            Scheme::RsaPss(Hash::Sha256),
            "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f7\
             0d010108300d06096086480165030402010500a203020120",
        ),
    ];
    for (scheme, identifier) in known {
        assert_eq!(hex::encode(scheme.identifier()), identifier);
    }
    let pss = HASHES.map(Scheme::RsaPss);
    for scheme in
        pss.into_iter().chain(HASHES.map(Scheme::RsaPkcs1)).chain(HASHES.map(Scheme::Ecdsa))
    {
        let identifier = scheme.identifier();
        assert_eq!(usize::from(identifier[1]) + 2, identifier.len());
        assert_eq!(Scheme::from_identifier(identifier), Some(scheme));
        assert_eq!(Scheme::from_identifier(&identifier[..identifier.len() - 1]), None);
    }
    // sha1WithRSAEncryption
    let sha1 = hex::decode("300d06092a864886f70d0101050500").unwrap();
    assert_eq!(Scheme::from_identifier(&sha1), None);
}

#[test]
fn what_is_signed_verifies_and_nothing_else() {
    let rsa = HASHES.into_iter().flat_map(|hash| [Scheme::RsaPss(hash), Scheme::RsaPkcs1(hash)]);
    let cases = [
        (pair!("rsa"), rsa.collect::<Vec<_>>()),
        (pair!("p256"), vec![Scheme::Ecdsa(Hash::Sha256)]),
        (pair!("p384"), vec![Scheme::Ecdsa(Hash::Sha384)]),
        (pair!("p521"), vec![Scheme::Ecdsa(Hash::Sha512)]),
        (pair!("ed25519"), vec![Scheme::Ed25519]),
    ];
    let (other, _) = pair!("nameless");
    for ((certificate, key), schemes) in cases {
        for scheme in schemes {
            let signature = key.sign(scheme, b"octets").unwrap();
            verify_signature(&certificate, scheme, b"octets", &signature).unwrap();
            assert!(verify_signature(&certificate, scheme, b"octet", &signature).is_err());
            assert!(verify_signature(&other, scheme, b"octets", &signature).is_err());
            let mut bad = signature.clone();
            *bad.last_mut().unwrap() ^= 1;
            assert!(verify_signature(&certificate, scheme, b"octets", &bad).is_err());
            let another = match scheme {
                Scheme::RsaPss(hash) => Scheme::RsaPkcs1(hash),
                _ => Scheme::RsaPss(Hash::Sha256),
            };
            assert!(verify_signature(&certificate, another, b"octets", &signature).is_err());
        }
    }
}

#[test]
fn the_scheme_is_one_that_the_peer_verifies() {
    let (_, rsa) = pair!("rsa");
    assert_eq!(rsa.scheme(&[4, 2]), Some(Scheme::RsaPss(Hash::Sha256)));
    assert_eq!(rsa.scheme(&[4]), Some(Scheme::RsaPss(Hash::Sha512)));
    // SHA-1 alone, or nothing.
    assert_eq!(rsa.scheme(&[1]), None);
    assert_eq!(rsa.scheme(&[]), None);
    assert_eq!(pair!("ed25519").1.scheme(&[2, 5]), Some(Scheme::Ed25519));
    assert_eq!(pair!("p384").1.scheme(&[2]), None);
    assert!(rsa.sign(Scheme::Ed25519, b"").is_err());
}

#[test]
fn other_keys_are_refused() {
    for der in [&b""[..], b"\x30\x00", &[0x30; 64]] {
        assert!(matches!(SigningKey::from_der(der).map(|_| ()), Err(KeyError::PrivateKey(_))));
    }
}
