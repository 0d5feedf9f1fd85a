//! Selected cases of Wycheproof (C2SP/wycheproof, testvectors_v1) for AES-GCM, truncated HMAC-SHA2-256
//! and the signatures of IKEv2; those of other algorithms stand beside their own tests.

#![allow(clippy::unwrap_used)]

use vipsec_crypto::aead::{AeadAlgorithm, AeadKey};
use vipsec_crypto::certificate::verify_signature;
use vipsec_crypto::mac::{MacAlgorithm, MacKey};
use vipsec_crypto::signature::{Hash, Scheme};

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

/// aes_gcm_test.json, tcId 2, 4, 5, 7, 9, 11 to 14: key, IV, AAD, plaintext, ciphertext, tag.
const GCM: [[&str; 6]; 9] = [
    [
        "5b9604fe14eadba931b0ccf34843dab9",
        "921d2507fa8007b7bd067d34",
        "00112233445566778899aabbccddeeff",
        "001d0c231287c1182784554ca3a21908",
        "49d8b9783e911913d87094d1f63cc765",
        "1e348ba07cca2cf04c618cb4d43a5b92",
    ],
    [
        "bedcfb5a011ebc84600fcb296c15af0d",
        "438a547a94ea88dce46c6c85",
        "",
        "",
        "",
        "960247ba5cde02e41a313c4c0136edc3",
    ],
    [
        "384ea416ac3c2f51a76e7d8226346d4e",
        "b30c084727ad1c592ac21d12",
        "",
        "35",
        "54",
        "7c1e4ae88bb27e5638343cb9fd3f6337",
    ],
    [
        "dd6197cd63c963919cf0c273ef6b28bf",
        "ecb0c42f7000ef0e6f95f24d",
        "",
        "4dcc1485365866e25ac3f2ca6aba97",
        "8a9992388e735f80ee18f4a63c10ad",
        "1486a91cccf92c9a5b00f7b0e034891c",
    ],
    [
        "c15ed227dd2e237ecd087eaaaad19ea4",
        "965ff6643116ac1443a2dec7",
        "",
        "fee62fde973fe025ad6b322dcdf3c63fc7",
        "0de51fe4f7f2d1f0f917569f5c6d1b009c",
        "6cd8521422c0177e83ef1b7a845d97db",
    ],
    [
        "28ff3def08179311e2734c6d1c4e2871",
        "32bcb9b569e3b852d37c766a",
        "c3",
        "dfc61a20df8505b53e3cd59f25770d5018add3d6",
        "f58d453212c2c8a436e9283672f579f119122978",
        "5901131d0760c8715901d881fdfd3bc0",
    ],
    [
        "e63a43216c08867210e248859eb5e99c",
        "9c3a4263d983456658aad4b1",
        "834afdc5c737186b",
        "b14da56b0462dc05b871fc815273ff4810f92f4b",
        "bf864616c2347509ca9b10446379b9bdbb3b8f64",
        "a97d25b490390b53c5db91f6ee2a15b8",
    ],
    [
        "38449890234eb8afab0bbf82e2385454",
        "33e90658416e7c1a7c005f11",
        "4020855c66ac4595058395f367201c4c",
        "f762776bf83163b323ca63a6b3adeac1e1357262",
        "a6f2ef3c7ef74a126dd2d5f6673964e27d5b34b6",
        "b8bbdc4f5014bc752c8b4e9b87f650a3",
    ],
    [
        "6a68671dfe323d419894381f85eb63fd",
        "9f0d85b605711f34cd2a35ba",
        "76eb5f147250fa3c12bff0a6e3934a0b16860cf11646773b",
        "0fc67899c3f1bbe196d90f1eca3797389230aa37",
        "bd64802cfebaeb487d3a8f76ce943a37b3472dd5",
        "fce9a5b530c7d7af718be1ec0ae9ed4d",
    ],
];

#[test]
fn aes_gcm() {
    for [key, iv, aad, plain, sealed, tag] in GCM {
        let (iv, aad, tag) = (bytes(iv), bytes(aad), bytes(tag));
        let (salt, iv) = iv.split_at(4);
        let iv: [u8; 8] = iv.try_into().unwrap();
        let key = [bytes(key), salt.to_vec()].concat();
        let key = AeadKey::new(AeadAlgorithm::Aes128Gcm16, &key).unwrap();
        let mut text = bytes(plain);
        assert_eq!(key.seal(iv, &aad, &mut text).as_slice(), tag);
        assert_eq!(hex::encode(&text), sealed);
        // ModifiedTag: any bit; and tags of other lengths, of which a prefix is right.
        for bit in 0..128 {
            let mut bad = tag.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(iv, &aad, &mut text.clone(), &bad).is_err());
        }
        for length in [0, 8, 12, 15] {
            assert!(key.open(iv, &aad, &mut text.clone(), &tag[..length]).is_err());
        }
        let long = [&tag[..], &[0]].concat();
        assert!(key.open(iv, &aad, &mut text.clone(), &long).is_err());
        key.open(iv, &aad, &mut text, &tag).unwrap();
        assert_eq!(hex::encode(&text), plain);
    }
}

/// hmac_sha256_test.json, tags of 128 bits, tcId 88, 90, 97 to 101: key, message, tag.
const HMAC: [[&str; 3]; 7] = [
    [
        "665a02bc265a66d01775091da56726b6668bfd903cb7af66fb1b78a8a062e43c",
        "3f56935def3f",
        "1cfce745db1ca7de9a1d4420e612ca55",
    ],
    [
        "505aa98819809ef63b9a368a1e8bc2e922da45b03ce02d9a7966b15006dba2d5",
        "2e4e7ef728fe11af",
        "406a5c2bd3e6a9595f9b7dff608d59a7",
    ],
    [
        "c19bdf314c6cf64381425467f42aefa17c1cc9358be16ce31b1d214859ce86aa",
        "5d066a92c300e9b6ddd63a7c13ae33",
        "86c9f4dde0b257a7053a7b03c7504409",
    ],
    [
        "612e837843ceae7f61d49625faa7e7494f9253e20cb3adcea686512b043936cd",
        "cc37fae15f745a2f40e2c8b192f2b38d",
        "b96bcacafac30094f18ac5039e7b3656",
    ],
    [
        "73216fafd0022d0d6ee27198b2272578fa8f04dd9f44467fbb6437aa45641bf7",
        "d5247b8f6c3edcbfb1d591d13ece23d2f5",
        "6e597c4c3861a380c06854b446fc2a87",
    ],
    [
        "0427a70e257528f3ab70640bba1a5de12cf3885dd4c8e284fbbb55feb35294a5",
        "13937f8544f44270d01175a011f7670e93fa6ba7ef02336e",
        "f731aaf2f04023d621f10495344679a0",
    ],
    [
        "96e1e4896fb2cd05f133a6a100bc5609a7ac3ca6d81721e922dadd69ad07a892",
        "91a17e4dfcc3166a1add26ff0e7c12056e8a654f28a6de24f4ba739ceb5b5b18",
        "95243eb1a9d448174ae4fccf4a53ebfe",
    ],
];

/// The same file, ModifiedTag, tcId 109, 112, 113, 117, 119 and 126: message, tag.
const HMAC_MODIFIED: [[&str; 2]; 6] = [
    ["", "d28b42096d80f45f826b44a9d5607de7"],
    ["000102030405060708090a0b0c0d0e0f", "dab99f2709a3ca74172cbe93824c1f29"],
    ["", "538b42096d80f45f826b44a9d5607de7"],
    ["", "d38b42896d80f45f826b44a9d5607de7"],
    ["", "d38b42096c80f45f826b44a9d5607de7"],
    ["000102030405060708090a0b0c0d0e0f", "d8b99f2709a3ca74162cbe93824c1f29"],
];

#[test]
fn hmac_sha256_truncated_to_128_bits() {
    let algorithm = MacAlgorithm::HmacSha2_256_128;
    for [key, message, tag] in HMAC {
        let (key, message) = (MacKey::new(algorithm, &bytes(key)).unwrap(), bytes(message));
        assert_eq!(hex::encode(key.tag(&[&message])), tag);
        key.verify(&[&message], &bytes(tag)).unwrap();
        for length in [0, 12, 15] {
            assert!(key.verify(&[&message], &bytes(tag)[..length]).is_err());
        }
    }
    let key = MacKey::new(algorithm, &(0..32).collect::<Vec<u8>>()).unwrap();
    for [message, tag] in HMAC_MODIFIED {
        assert!(key.verify(&[&bytes(message)], &bytes(tag)).is_err(), "{tag}");
    }
    // The whole output is not the tag.
    let whole = "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb";
    assert!(key.verify(&[], &bytes(whole)).is_err());
    key.verify(&[], &bytes(whole)[..16]).unwrap();
}

fn der(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    let length = contents.len();
    let [.., high, low] = length.to_be_bytes();
    let head = match length {
        0..128 => vec![tag, low],
        128..256 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, contents].concat()
}

/// A certificate that is good for nothing but to hold a SubjectPublicKeyInfo.
fn certificate(key: &str) -> Vec<u8> {
    let algorithm = der(0x30, &[&bytes("06032b6570")]);
    let time = der(0x17, &[b"230101000000Z"]);
    let to_be_signed = der(
        0x30,
        &[
            &bytes("a003020102020101"),
            &algorithm,
            &der(0x30, &[]),
            &der(0x30, &[&time, &time]),
            &der(0x30, &[]),
            &bytes(key),
        ],
    );
    der(0x30, &[&to_be_signed, &algorithm, &der(0x03, &[&[0; 65]])])
}

fn verifies(key: &str, scheme: Scheme, message: &str, signature: &str) -> bool {
    verify_signature(&certificate(key), scheme, &bytes(message), &bytes(signature)).is_ok()
}

const ED25519: &str =
    "302a300506032b65700321007d4d0e7f6153a69b6242b522abbee685fda4420f8834b108c3bdae369ef549fa";

/// ed25519_test.json, tcId 1 to 4.
const ED25519_GOOD: [[&str; 2]; 4] = [
    [
        "",
        "d4fbdb52bfa726b44d1786a8c0d171c3e62ca83c9e5bbe63de0bb2483f8fd6cc\
         1429ab72cafc41ab56af02ff8fcc43b99bfe4c7ae940f60f38ebaa9d311c4007",
    ],
    [
        "78",
        "d80737358ede548acb173ef7e0399f83392fe8125b2ce877de7975d8b726ef5b\
         1e76632280ee38afad12125ea44b961bf92f1178c9fa819d020869975bcbe109",
    ],
    [
        "54657374",
        "7c38e026f29e14aabd059a0f2db8b0cd783040609a8be684db12f82a27774ab0\
         7a9155711ecfaf7f99f277bad0c6ae7e39d4eef676573336a5c51eb6f946b30d",
    ],
    [
        "48656c6c6f",
        "1c1ad976cbaae3b31dee07971cf92c928ce2091a85f5899f5e11ecec90fc9f8e\
         93df18c5037ec9b29c07195ad284e63d548cd0a6fe358cc775bd6c1608d2c905",
    ],
];

/// The values that tcId 10 to 29 put together, for R and S: 0, 1, the order less 1, the order, and
/// the field's prime.
const EDGES: [&str; 5] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
    "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn ed25519() {
    for [message, signature] in ED25519_GOOD {
        assert!(verifies(ED25519, Scheme::Ed25519, message, signature));
        let cut = &signature[..signature.len() - 2];
        assert!(!verifies(ED25519, Scheme::Ed25519, message, cut));
        assert!(!verifies(ED25519, Scheme::Ed25519, message, &format!("{signature}00")));
        assert!(!verifies(ED25519, Scheme::Ecdsa(Hash::Sha256), message, signature));
    }
    for r in EDGES {
        for s in EDGES {
            assert!(!verifies(ED25519, Scheme::Ed25519, "3f", &format!("{r}{s}")), "{r} {s}");
        }
    }
}

const P256: &str = "3059301306072a8648ce3d020106082a8648ce3d03010703420004\
                    2927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838\
                    c7787964eaac00e5921fb1498a60f4606766b3d9685001558d1a974e7341513e";
const R: &str = "02202ba3a8be6b94d5ec80a6d9d1190a436effe50d85a1eee859b8cc6af9bd5c2e18";
const S: &str = "022100b329f479a2bbd0a5c384ee1493b1f5186a87139cac5df4087c134b49156847db";

/// ecdsa_secp256r1_sha256_test.json: valid are tcId 5 and 7, the others tcId 6, 8 to 10, 12, 16, 20 to
/// 23, 25, 26, 37, 38 and 40.
#[test]
fn ecdsa_p256() {
    let verifies =
        |signature: &str| verifies(P256, Scheme::Ecdsa(Hash::Sha256), "313233343030", signature);
    let low = "02204cd60b855d442f5b3c7b11eb6c4e0ae7525fe710fab9aa7c77a67f79e6fadd76";
    assert!(verifies(&format!("3044{R}{low}")));
    assert!(verifies(&format!("3045{R}{S}")));
    let short = "0220b329f479a2bbd0a5c384ee1493b1f5186a87139cac5df4087c134b49156847db";
    assert!(!verifies(&format!("3044{R}{short}")));
    for head in
        ["308145", "30820045", "3046", "30850100000045", "3084ffffffff", "3080", "2e45", "3145"]
    {
        assert!(!verifies(&format!("{head}{R}{S}")), "{head}");
    }
    for whole in ["", "30", "0500"] {
        assert!(!verifies(whole), "{whole}");
    }
    for (head, tail) in [("3047", "0000"), ("3045", "0000"), ("3047", "0500")] {
        assert!(!verifies(&format!("{head}{R}{S}{tail}")), "{head} {tail}");
    }
}

const RSA: &str = "30820122300d06092a864886f70d01010105000382010f003082010a0282010100\
    a2b451a07d0aa5f96e455671513550514a8a5b462ebef717094fa1fee82224e637f9746d3f7cafd31878d80325b6ef5a\
    1700f65903b469429e89d6eac8845097b5ab393189db92512ed8a7711a1253facd20f79c15e8247f3d3e42e46e48c98e\
    254a2fe9765313a03eff8f17e1a029397a1fa26a8dce26f490ed81299615d9814c22da610428e09c7d9658594266f5c0\
    21d0fceca08d945a12be82de4d1ece6b4c03145b5d3495d4ed5411eb878daf05fd7afc3e09ada0f1126422f590975a19\
    69816f48698bcbba1b4d9cae79d460d8f9f85e7975005d9bc22c4e5ac0f7c1a45d12569a62807d3b9a02e5a530e77306\
    6f453d1f5b4c2e9cf7820283f742b9d50203010001";

/// rsa_pss_2048_sha256_mgf1_32_test.json, tcId 4.
const PSS: &str = "68caf07e71ee654ffabf07d342fc4059deb4f7e5970746c423b1e8f668d5332275cc35eb61270aeb\
    d27855b1e80d59def47fe8882867fd33c2308c91976baa0b1df952caa78db4828ab81e79949bf145cbdfd1c4987ed036\
    f81e8442081016f20fa4b587574884ca6f6045959ce3501ae7c02b1902ec1d241ef28dee356c0d30d28a950f1fbc683e\
    e7d9aad26b048c13426fe3975d5638afeb5b9c1a99d162d3a5810e8b074d7a2eae2be52b577151f76e1f734b0a956ef4\
    f22be64dc20a81ad1316e4f79dff5fc41fc08a20bc612283a88415d41595bfea66d59de7ac12e230f72244ad9905aef0\
    ead3fa41ed70bf4218863d5f041292f2d14ce0a7271c6d36";

/// rsa_signature_2048_sha256_test.json, tcId 4.
const PKCS1: &str = "1758eb94588e6fc4f50c1be1afcaa41027869f304cad513b1fb12c2f446d63cdc05c4830a7e3e630\
    da7b2da4f7867cc173bf6420f9732277282596de41ded32e21d0cc31441174da8765f57419c7764ea758f55bc17646eb\
    100c435d1ac0eed6fc7ba6de5f832094ee2f479979765e05ac9976788db3c241a9e32a0da864f0019a87646ba623d63f\
    4411af5dee1be9ec488c7e3e1b231479de70b9ac5f78a17b1f4120aece45f26c07e7bb345fdfeb05e14bcaacc614672a\
    465fc523624cb19f66f9c6c3f642b832ca44cb25176d679f0e05606c3fed022cac24c2bf960a406d48818e3eb7ed53b0\
    446032469047dfed95fc18088c92d91d93722c47f88163a8";

/// The same, MissingNull (tcId 8) and BerEncodedPadding (tcId 9).
const PKCS1_BAD: [&str; 2] = [
    "095dad1fd82bcd36652a381b7f4dd656bd89b40aa58b56da4f6aa8247874b935e65d2b86752d537df7103884d39dd9ad\
     3d65f87404526b09094c5615c6249979b0dc58d2199ae8696a5b76b4bb03eaf08c2ab6aec686c6b1b289c9b44f648bd3\
     0cb1ac6a64a73d68e59cd05e7aa1b780f4bfd7b83dfe3b884ec11821a93dc5bbb47a00eea4557b6b96b5656276001f1f\
     295ddbbbc511a99b9a665b9c2674c8af0d812286d0be3ce74817ba2cad283757de35dfb149f2835f60cb03ff155524a5\
     7f78b148feceb84cd20b0ae22e3e48f433fbd9bfd60be8afec93165ee0310be961d3695f309d031320c830aa6ba08b5a\
     51d943797097c57630be391bd23736cc",
    "8a0e82d4f334aca72a718b6f8f643f69c6048d619d5eba71263a5d2d3ac7a7af133b780c7595ca2c982c006e861948f5\
     43cd0210c758691f9626842c25de2843ea314ca8eff285d47e0cffa54180af416004017034962a80a5959c3d3f1bfc15\
     4a4824462a93c014f6dfe920824f414a6e30e0e5944d480b99949ec7bf64c4a7461575933b17d7d6b0178b5192392ace\
     3ed8469e8ac1dacae51ad5d3ad73dcb213e056d04596e64d8c0703def3110c7cecc93ba8ac8059f0f3d66b89d8712c62\
     b41d407e4b4a104f4569558b0290c213cad6d0653898b9df8f4a453ab07d13bfb7598d505abbd0c4987e4f1ac66e1a52\
     3e113e370ab7cf990f0cc63f50f4f0a4",
];

#[test]
fn rsa_in_both_paddings() {
    let hash = Hash::Sha256;
    let verifies = |scheme, signature: &str| verifies(RSA, scheme, "313233343030", signature);
    assert!(verifies(Scheme::RsaPss(hash), PSS));
    assert!(verifies(Scheme::RsaPkcs1(hash), PKCS1));
    // WrongPrimitive and WrongHash.
    assert!(!verifies(Scheme::RsaPss(hash), PKCS1));
    assert!(!verifies(Scheme::RsaPkcs1(hash), PSS));
    for other in [Hash::Sha384, Hash::Sha512, Hash::Identity] {
        assert!(!verifies(Scheme::RsaPss(other), PSS));
        assert!(!verifies(Scheme::RsaPkcs1(other), PKCS1));
    }
    for bad in PKCS1_BAD {
        assert!(!verifies(Scheme::RsaPkcs1(hash), bad));
    }
    // The value of the modulus, and nothing.
    assert!(!verifies(Scheme::RsaPkcs1(hash), &RSA[66..66 + 512]));
    assert!(!verifies(Scheme::RsaPss(hash), ""));
}
