//! HMAC-SHA2 as PRF, prf+ and integrity algorithm against published values: RFC 4231 sections 4.2 to
//! 4.8 (cases 1 to 4, 6 and 7; case 5 is about truncation to 128 bits of other keys) and RFC 4868
//! section 2.7. prf+ has no published vectors: its values were computed with Python's hmac module.

#![allow(clippy::unwrap_used)]

use vipsec_crypto::mac::{MacAlgorithm, MacKey};
use vipsec_crypto::prf::PrfAlgorithm;
use vipsec_crypto::{KeyError, OpenError};

/// Key and data of the RFC 4231 cases.
fn cases() -> [(Vec<u8>, Vec<u8>); 6] {
    let long_key = vec![0xaa; 131];
    [
        (vec![0x0b; 20], b"Hi There".to_vec()),
        (b"Jefe".to_vec(), b"what do ya want for nothing?".to_vec()),
        (vec![0xaa; 20], vec![0xdd; 50]),
        ((1..=25).collect(), vec![0xcd; 50]),
        (long_key.clone(), b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec()),
        (
            long_key,
            b"This is a test using a larger than block-size key and a larger than block-size data. \
              The key needs to be hashed before being used by the HMAC algorithm."
                .to_vec(),
        ),
    ]
}

fn check(prf: PrfAlgorithm, expected: [&str; 6]) {
    for ((key, data), expected) in cases().into_iter().zip(expected) {
        let (head, tail) = data.split_at(data.len() / 2);
        assert_eq!(hex::encode(prf.prf(&key, &[&data]).expose()), expected);
        assert_eq!(hex::encode(prf.prf(&key, &[head, &[], tail]).expose()), expected);
        assert_eq!(prf.prf(&key, &[&data]).len(), prf.output_length());
    }
}

#[test]
fn rfc_4231_sha256() {
    check(
        PrfAlgorithm::HmacSha2_256,
        [
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ],
    );
}

#[test]
fn rfc_4231_sha384() {
    check(
        PrfAlgorithm::HmacSha2_384,
        [
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af1\
             52e8b2fa9cb6",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b32\
             39ecfab21649",
            "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3a\
             b6e101a34f27",
            "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8\
             a386c674cffb",
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe829624\
             8df163f44952",
            "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799176d3860\
             e6110c46523e",
        ],
    );
}

#[test]
fn rfc_4231_sha512() {
    check(
        PrfAlgorithm::HmacSha2_512,
        [
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b\
             274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d03\
             4f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b4\
             85a47e67c807b946a337bee8942674278859e13292fb",
            "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679\
             275cc5788063a5f19741120c4f2de2adebeb10a298dd",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0f\
             d2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5e\
             eb55c3e4de15134676fb6de0446065c97440fa8c6a58",
        ],
    );
}

/// prf+ of the key 00…1f and the seed "vipsec prf+ seed", 200 bytes.
const PRF_PLUS: [(PrfAlgorithm, &str); 3] = [
    (
        PrfAlgorithm::HmacSha2_256,
        "8af62dc7f3a34a3476b75c8f78d04fe10370861742c739915e35a3e2a00498068995db9a4d060c60b744\
         f6003f47afbad1ec531290e4d5ed3514850828548148b55316c2b93c8da7d8ced59b26e7234d1046fad4\
         37dd9fcc8f940b295fc82168fbde8a145c094bf67b03a277d171e23823b6875eec3f5b63de07f5a75478\
         6230b1ea4cbe8560067b22b2d90b6385535e89c3aec1e75d54640b8761916f2f47d807fb6f4445dd549d\
         6318254d9dc3aa8919fa9faa62ad3079995e918785c28d70ed697e7d7be87182",
    ),
    (
        PrfAlgorithm::HmacSha2_384,
        "3c1938b5920c9bca0e919962c02a81e6f16f4d003341672245d3450ce492c18d92c011012045675a5a54\
         0958866e06bb994cc82dadf932348758ce3912d4ad61afa97136ebfb73e2d6e8f9d6c6da110b74656aac\
         32b2321df8ffe440833a85d8a4f76969ad3090cb90061f7aa3b37fc6c823be8c37159f0a9607d8e8b52c\
         601d565488e9f5362d716356ddd2afaea7780d0c39938fc4613f4b4b6f68eae4e650de7169d562ee52bb\
         3e35399b2e6cec9d941c030a6b7021b8aecefda4e3dfb1aa561cd3073e346948",
    ),
    (
        PrfAlgorithm::HmacSha2_512,
        "4bcf9fa3db6417c6648f260b7c64325c693fa4e0b170c69cd320b34dab96f029152b2093db764ec5d217\
         8208c9d3a7b972fd4f1c58536c10012701ff3cee77bf6b9eb4059ea3a32dc846d31af5a1f7bd1c1cb092\
         9f2f2ff6256e3e0c0267d4ff309d5c3398d6d45b64723555b8ad9e88cc738b82d5ba178329fcf7b1bd5c\
         3cdfcace22647860f7591627d117b2cb0ac13a220900a7f48b41acb49aa766dcc6511ad616cdf026e703\
         bb8d7b6d86ed625aedbd359a7a0a9eb1b70e63bc84b586da6497bba0607b459b",
    ),
];

//= RFC 7296 section 1.7 #2: with keys of several lengths
#[test]
fn prf_plus_agrees_with_an_independent_computation() {
    let key: Vec<u8> = (0..32).collect();
    for (prf, expected) in PRF_PLUS {
        for length in [0, 1, prf.output_length(), prf.output_length() + 1, 200] {
            let out = prf.prf_plus(&key, &[b"vipsec prf+", b" seed"], length).unwrap();
            assert_eq!(hex::encode(out.expose()), expected[..2 * length]);
        }
    }
}

#[test]
fn prf_plus_ends_after_255_blocks() {
    let prf = PrfAlgorithm::HmacSha2_256;
    assert_eq!(prf.prf_plus(b"key", &[b"seed"], 255 * 32).unwrap().len(), 255 * 32);
    let beyond = 255 * 32 + 1;
    assert_eq!(prf.prf_plus(b"key", &[b"seed"], beyond), Err(KeyError::OutputLength(beyond)));
}

/// AUTH for the shared key "a shared secret" over "signed octets" (RFC 7296 section 2.15), computed
/// with Python's hmac module.
const SHARED_KEY_AUTH: [(PrfAlgorithm, &str); 3] = [
    (
        PrfAlgorithm::HmacSha2_256,
        "6351c718da633612023c43e0440458443732697e0ca216ad172b73510cc59ca7",
    ),
    (
        PrfAlgorithm::HmacSha2_384,
        "fd32de46d2385edabc5e5b7e7d330a5d7c95f60add6f9cc3ed2b0416110712abac4409aa4215cd203292\
         67dd82356756",
    ),
    (
        PrfAlgorithm::HmacSha2_512,
        "e7e3d2168826c2bf31606f7b0a50e3d4fe843a3c5f8cf058ab584d826b10f1b51dfc73d5c2f7c18ffe14\
         79bc1c92b0de255ea3d38cdae0b7bbb285d41d053a84",
    ),
];

#[test]
fn shared_key_auth_agrees_with_an_independent_computation() {
    for (prf, expected) in SHARED_KEY_AUTH {
        let auth = prf.shared_key_auth(b"a shared secret", &[b"signed ", b"octets"]);
        assert_eq!(hex::encode(auth.expose()), expected);
    }
}

/// RFC 4868 section 2.7.2, cases with the key 0b… and "Hi There", and with "Jefe…".
const TAGS: [(MacAlgorithm, &str, &str); 3] = [
    (
        MacAlgorithm::HmacSha2_256_128,
        "198a607eb44bfbc69903a0f1cf2bbdc5",
        "167f928588c5cc2eef8e3093caa0e87c",
    ),
    (
        MacAlgorithm::HmacSha2_384_192,
        "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973",
        "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d",
    ),
    (
        MacAlgorithm::HmacSha2_512_256,
        "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
        "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454",
    ),
];

#[test]
fn rfc_4868_tags() {
    for (algorithm, hi_there, jefe) in TAGS {
        let length = algorithm.key_length();
        let key = MacKey::new(algorithm, &vec![0x0b; length]).unwrap();
        assert_eq!(hex::encode(key.tag(&[b"Hi ", b"There"])), hi_there);
        let key = MacKey::new(algorithm, &b"Jefe".repeat(length / 4)).unwrap();
        let tag = key.tag(&[b"what do ya want for nothing?"]);
        assert_eq!(hex::encode(tag), jefe);
        assert_eq!(tag.as_ref().len(), algorithm.tag_length());
    }
}

#[test]
fn verify_takes_the_exact_tag_only() {
    for (algorithm, ..) in TAGS {
        let key = MacKey::new(algorithm, &vec![7; algorithm.key_length()]).unwrap();
        let tag = key.tag(&[b"packet"]);
        assert_eq!(key.verify(&[b"pac", b"ket"], tag.as_ref()), Ok(()));
        assert_eq!(key.verify(&[b"packed"], tag.as_ref()), Err(OpenError));
        assert_eq!(key.verify(&[b"packet"], &tag.as_ref()[1..]), Err(OpenError));
        assert_eq!(key.verify(&[b"packet"], &[]), Err(OpenError));
        let mut changed = tag.as_ref().to_vec();
        changed[0] ^= 1;
        assert_eq!(key.verify(&[b"packet"], &changed), Err(OpenError));
    }
}

#[test]
fn mac_keys_have_one_length() {
    assert!(MacKey::new(MacAlgorithm::HmacSha2_256_128, &[0; 31]).is_err());
    assert!(MacKey::new(MacAlgorithm::HmacSha2_256_128, &[0; 64]).is_err());
}
