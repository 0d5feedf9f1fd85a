//! AES-GCM, ChaCha20-Poly1305, AES-CBC, AES-GCM-SIV and Ed25519 against published values: the GCM specification's test
//! cases 4 and 16 (McGrew and Viega, also NIST's), RFC 3602 section 4, NIST SP 800-38A appendix F.2,
//! RFC 7634 appendix B, RFC 8452 appendix C.2 (as Wycheproof's aes_gcm_siv_test.json, tcId 100 to 121, has them), RFC 8032
//! section 7.1.

#![allow(clippy::unwrap_used)]

use vipsec_crypto::aead::{AeadAlgorithm, AeadKey};
use vipsec_crypto::cbc::{CbcKey, IvGenerator};
use vipsec_crypto::identity::{Identity, PublicKey};
use vipsec_crypto::seal::{OVERHEAD, StoreKey};
use vipsec_crypto::{KeyError, OpenError, Random};

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

const GCM_PLAINTEXT: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
const GCM_AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const GCM: [(AeadAlgorithm, &str, &str, &str); 2] = [
    (
        AeadAlgorithm::Aes128Gcm16,
        "feffe9928665731c6d6a8f9467308308",
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
         21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
        "5bc94fbc3221a5db94fae95ae7121a47",
    ),
    (
        AeadAlgorithm::Aes256Gcm16,
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
         8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
];

/// The vectors' 12-byte IV, as salt and IV.
const GCM_SALT: &str = "cafebabe";
const GCM_IV: [u8; 8] = [0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88];

#[test]
fn gcm_specification_cases_4_and_16() {
    for (algorithm, key, ciphertext, tag) in GCM {
        let key = AeadKey::new(algorithm, &bytes(&format!("{key}{GCM_SALT}"))).unwrap();
        let (aad, mut text) = (bytes(GCM_AAD), bytes(GCM_PLAINTEXT));
        assert_eq!(hex::encode(key.seal(GCM_IV, &aad, &mut text)), tag);
        assert_eq!(hex::encode(&text), ciphertext);
        key.open(GCM_IV, &aad, &mut text, &bytes(tag)).unwrap();
        assert_eq!(hex::encode(&text), GCM_PLAINTEXT);
    }
}

/// RFC 7634 appendix B: the Encrypted payload of an IKE message.
#[test]
fn chacha20_poly1305_rfc_7634_appendix_b() {
    let key = bytes("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3");
    let key = AeadKey::new(AeadAlgorithm::ChaCha20Poly1305, &key).unwrap();
    let iv = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
    let aad = bytes("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029");
    let plain = bytes("0000000c000040010000000a00");
    let mut text = plain.clone();
    let tag = key.seal(iv, &aad, &mut text);
    assert_eq!(hex::encode(&text), "610394701f8d017f7c12924889");
    assert_eq!(hex::encode(tag), "6b71bfe25236efd7cdc67066906315b2");
    key.open(iv, &aad, &mut text, &tag).unwrap();
    assert_eq!(text, plain);
    assert_eq!(key.open(iv, &aad[1..], &mut text, &tag), Err(OpenError));
}

#[test]
fn gcm_opens_nothing_that_was_changed() {
    let key = AeadKey::new(AeadAlgorithm::Aes256Gcm16, &[7; 36]).unwrap();
    let mut sealed = *b"a packet of some bytes";
    let tag = key.seal([1; 8], b"header", &mut sealed);
    let open = |iv, aad: &[u8], at: usize, tag: &[u8]| {
        let mut text = sealed;
        text[at] ^= u8::from(at > 0);
        key.open(iv, aad, &mut text, tag)
    };
    assert_eq!(open([1; 8], b"header", 0, &tag), Ok(()));
    assert_eq!(open([2; 8], b"header", 0, &tag), Err(OpenError));
    assert_eq!(open([1; 8], b"headed", 0, &tag), Err(OpenError));
    assert_eq!(open([1; 8], b"header", 5, &tag), Err(OpenError));
    assert_eq!(open([1; 8], b"header", 0, &tag[..15]), Err(OpenError));
    assert_eq!(open([1; 8], b"header", 0, &[]), Err(OpenError));
    for bit in 0..128 {
        let mut changed = tag;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open([1; 8], b"header", 0, &changed), Err(OpenError));
    }
}

#[test]
fn gcm_key_material_has_one_length() {
    for (algorithm, wanted) in [(AeadAlgorithm::Aes128Gcm16, 20), (AeadAlgorithm::Aes256Gcm16, 36)]
    {
        assert_eq!(algorithm.key_and_salt_length(), wanted);
        for found in [0, 3, 16, 32, wanted - 1, wanted + 1] {
            let error = AeadKey::new(algorithm, &vec![0; found]).map(|_| ()).unwrap_err();
            assert_eq!(error, KeyError::KeyLength { what: "AEAD", found, wanted });
        }
    }
}

const NIST_PLAINTEXT: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                              30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
const CBC: [[&str; 4]; 4] = [
    [
        "06a9214036b8a15b512e03d534120006",
        "3dafba429d9eb430b422da802c9fac41",
        "53696e676c6520626c6f636b206d7367",
        "e353779c1079aeb82708942dbe77181a",
    ],
    [
        "56e47a38c5598974bc46903dba290349",
        "8ce82eefbea0da3c44699ed7db51b7d9",
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
         c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
        "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e\
         35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
    ],
    [
        "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
        "000102030405060708090a0b0c0d0e0f",
        NIST_PLAINTEXT,
        "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a\
         571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
    ],
    [
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "000102030405060708090a0b0c0d0e0f",
        NIST_PLAINTEXT,
        "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d\
         39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
    ],
];

#[test]
fn cbc_rfc_3602_and_sp_800_38a() {
    for [key, iv, plaintext, ciphertext] in CBC {
        let key = CbcKey::new(&bytes(key)).unwrap();
        let iv: [u8; 16] = bytes(iv).try_into().unwrap();
        let mut text = bytes(plaintext);
        key.encrypt_in_place(iv, &mut text).unwrap();
        assert_eq!(hex::encode(&text), ciphertext);
        key.decrypt_in_place(iv, &mut text).unwrap();
        assert_eq!(hex::encode(&text), plaintext);
    }
}

#[test]
fn cbc_works_on_whole_blocks() {
    let key = CbcKey::new(&[0; 16]).unwrap();
    for length in [1, 15, 17, 31] {
        let refused = Err(KeyError::NotWholeBlocks(length));
        assert_eq!(key.encrypt_in_place([0; 16], &mut vec![0; length]), refused);
        assert_eq!(key.decrypt_in_place([0; 16], &mut vec![0; length]), refused);
    }
    assert_eq!(key.encrypt_in_place([0; 16], &mut []), Ok(()));
    assert!(CbcKey::new(&[0; 20]).is_err());
}

struct Fixed(Vec<u8>);

impl Random for Fixed {
    fn fill(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0[..out.len()]);
    }
}

#[test]
fn generated_ivs_differ_within_and_between_generators() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..4 {
        let mut ivs = IvGenerator::new(&mut Fixed(vec![seed; 32])).unwrap();
        for _ in 0..256 {
            assert!(seen.insert(ivs.next_iv()));
        }
    }
}

/// RFC 8452 appendix C.2: key, nonce, additional data, plaintext, result.
const GCM_SIV: [[&str; 5]; 6] = [
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "030000000000000000000000",
        "",
        "",
        "07f5f4169bbf55a8400cd47ea6fd400f",
    ],
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "030000000000000000000000",
        "",
        "0100000000000000",
        "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28",
    ],
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "030000000000000000000000",
        "",
        "0100000000000000000000000000000002000000000000000000000000000000",
        "4a6a9db4c8c6549201b9edb53006cba821ec9cf850948a7c86c68ac7539d027f\
         e819e63abcd020b006a976397632eb5d",
    ],
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "030000000000000000000000",
        "010000000000000000000000000000000200",
        "0300000000000000000000000000000004000000",
        "43dd0163cdb48f9fe3212bf61b201976067f342bb879ad976d8242acc188ab59cabfe307",
    ],
    [
        "bae8e37fc83441b16034566b7a806c46bb91c3c5aedb64a6c590bc84d1a5e269",
        "e4b47801afc0577e34699b9e",
        "4fbdc66f14",
        "671fdd",
        "0eaccb93da9bb81333aee0c785b240d319719d",
    ],
    [
        "9745b3d1ae06556fb6aa7890bebc18fe6b3db4da3d57aa94842b9803a96e07fb",
        "6de71860f762ebfbd08284e4",
        "f37de21c7ff901cfe8a69615a93fdf7a98cad481796245709f",
        "21702de0de18baa9c9596291b08466",
        "793576dfa5c0f88729a7ed3c2f1bffb3080d28f6ebb5d3648ce97bd5ba67fd",
    ],
];

#[test]
fn records_are_sealed_as_rfc_8452_says() {
    for [key, nonce, aad, plaintext, result] in GCM_SIV {
        let key = StoreKey::new(&bytes(key)).unwrap();
        let sealed = key.seal(&bytes(aad), &bytes(plaintext), &mut Fixed(bytes(nonce)));
        assert_eq!(hex::encode(&sealed), format!("{nonce}{result}"));
        assert_eq!(sealed.len(), plaintext.len() / 2 + OVERHEAD);
        assert_eq!(key.open(&bytes(aad), &sealed).unwrap().expose(), bytes(plaintext));
    }
}

#[test]
fn a_record_opens_at_its_place_and_unchanged_only() {
    let key = StoreKey::new(&[1; 32]).unwrap();
    let sealed = key.seal(b"vip/1", b"record", &mut Fixed(vec![9; 12]));
    assert!(key.open(b"vip/2", &sealed).is_err());
    assert!(StoreKey::new(&[2; 32]).unwrap().open(b"vip/1", &sealed).is_err());
    for length in 0..sealed.len() {
        assert!(key.open(b"vip/1", &sealed[..length]).is_err());
    }
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 0x10;
        assert!(key.open(b"vip/1", &changed).is_err());
    }
    assert!(StoreKey::new(&[1; 31]).is_err());
}

const ED25519_SEED: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
const ED25519_PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

fn rfc_8032_test_2() -> Identity {
    Identity::from_seed(&bytes(ED25519_SEED).try_into().unwrap()).unwrap()
}

#[test]
fn ed25519_rfc_8032_test_2() {
    let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                     085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    let identity = rfc_8032_test_2();
    assert_eq!(hex::encode(identity.public_key().0), ED25519_PUBLIC);
    assert_eq!(hex::encode(identity.sign(&[0x72])), signature);
    let public = identity.public_key();
    assert_eq!(public.verify(&[0x72], &bytes(signature)), Ok(()));
    assert_eq!(public.verify(&[0x73], &bytes(signature)), Err(OpenError));
    assert_eq!(PublicKey([3; 32]).verify(&[0x72], &bytes(signature)), Err(OpenError));
}

/// The DER forms of that key as OpenSSL writes them.
#[test]
fn identities_travel_as_pkcs8_and_spki() {
    let identity = rfc_8032_test_2();
    let pkcs8 = format!("302e020100300506032b657004220420{ED25519_SEED}");
    assert_eq!(hex::encode(identity.to_pkcs8().unwrap().expose()), pkcs8);
    assert_eq!(hex::encode(identity.seed().unwrap().expose()), ED25519_SEED);
    let read = Identity::from_pkcs8(&bytes(&pkcs8)).unwrap();
    assert_eq!(read.public_key(), identity.public_key());
    let spki = identity.public_key().to_spki();
    assert_eq!(hex::encode(&spki), format!("302a300506032b6570032100{ED25519_PUBLIC}"));
    assert_eq!(PublicKey::from_spki(&spki), Some(identity.public_key()));
    assert_eq!(PublicKey::from_spki(&spki[1..]), None);
    assert_eq!(PublicKey::from_spki(&spki[..43]), None);
    assert!(Identity::from_pkcs8(b"not a key").is_err());
    assert!(!format!("{identity:?}").contains("76, 205"));
}

#[test]
fn a_generated_identity_is_its_seed() {
    let identity = Identity::generate(&mut Fixed(bytes(ED25519_SEED))).unwrap();
    assert_eq!(identity.public_key(), rfc_8032_test_2().public_key());
}
