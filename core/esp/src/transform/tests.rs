//! The transform on published packets, and on packets that an independent implementation made.

#![allow(clippy::unwrap_used)]

use super::mcgrew::CASES;
use super::*;
use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_crypto::mac::MacAlgorithm;
use vipsec_wire::id::EspSpi;
use vipsec_wire::secret::SecretBytes;

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn transform(cipher: Cipher, encryption: Vec<u8>, integrity: Vec<u8>) -> Transform {
    let encryption = SecretBytes::new(encryption);
    let keys = HalfKeys { spi: EspSpi(1), encryption, integrity: SecretBytes::new(integrity) };
    Transform::new(cipher, &keys).unwrap()
}

/// The high half of a sequence number that has 8 bytes, and the whole header.
fn header(aad: &[u8]) -> (Option<u32>, [u8; 8]) {
    let (spi, sequence) = aad.split_at(4);
    let high = sequence.strip_suffix(&sequence[sequence.len() - 4..]).unwrap();
    let high = high.try_into().ok().map(u32::from_be_bytes);
    let header = [spi, &sequence[sequence.len() - 4..]].concat();
    (high, header.try_into().unwrap())
}

#[test]
fn gcm_packets_of_draft_mcgrew() {
    for case in &CASES {
        let key = bytes(case.key);
        let algorithm = match key.len() {
            20 => AeadAlgorithm::Aes128Gcm16,
            _ => AeadAlgorithm::Aes256Gcm16,
        };
        let transform = transform(Cipher::Aead(algorithm), key, Vec::new());
        let (high, header) = header(&bytes(case.aad));
        let head = [&header[..], &bytes(case.iv)].concat();
        let plain = [&head[..], &bytes(case.plaintext), &[0; 16]].concat();
        let sealed = [&head[..], &bytes(case.ciphertext), &bytes(case.icv)].concat();

        let mut packet = plain.clone();
        transform.seal(&mut packet, high);
        assert_eq!(hex::encode(&packet), hex::encode(&sealed));
        assert!(transform.fits(packet.len()));

        transform.open(&mut packet, high).unwrap();
        let end = packet.len() - 16;
        assert_eq!(hex::encode(&packet[..end]), hex::encode(&plain[..end]));

        let other_high = high.map_or(Some(0), |high| Some(high ^ 1));
        let opened = transform.open(&mut sealed.clone(), other_high);
        assert_eq!(opened, Err(EspError::NotAuthentic));
    }
}

/// RFC 7634 appendix A.
#[test]
fn chacha20_poly1305_packet_of_rfc_7634() {
    let key = bytes("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3");
    let transform =
        transform(Cipher::Aead(AeadAlgorithm::ChaCha20Poly1305), key.clone(), Vec::new());
    let head = bytes("01020304000000051011121314151617");
    let plain = bytes(
        "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f\
         101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204",
    );
    let sealed = bytes(
        "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95df\
         ab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0\
         76aaa8266b7fb0f7b11b369907e1ad43",
    );
    let mut packet = [&head[..], &plain, &[0; 16]].concat();
    transform.seal(&mut packet, None);
    assert_eq!(hex::encode(&packet[16..]), hex::encode(&sealed));
    let good = packet.clone();
    transform.open(&mut packet, None).unwrap();
    assert_eq!(packet[16..104], plain);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert_eq!(transform.open(&mut bad, None), Err(EspError::NotAuthentic), "{at}");
    }
}

/// Key size, integrity algorithm, high half of the sequence number with ESN, packet, plaintext.
type CbcCase = (u16, MacAlgorithm, Option<u32>, &'static str, &'static [u8]);

/// Made with Python's cryptography and hmac modules: encryption keys 10 11 …, integrity keys
/// 40 41 …, SPI 11223344, IV a0 … af.
const CBC: [CbcCase; 3] = [
    (
        128,
        MacAlgorithm::HmacSha2_256_128,
        None,
        "1122334400000005a0a1a2a3a4a5a6a7a8a9aaabacadaeaf0a5bcd03c0f4bebc5149332067398274\
         eaf98d214800afd257a970716e5f0f87",
        b"a datagram\x01\x02\x03\x04\x04\x11",
    ),
    (
        256,
        MacAlgorithm::HmacSha2_512_256,
        Some(3),
        "1122334400000007a0a1a2a3a4a5a6a7a8a9aaabacadaeaf6230fbcb342554b2de7211798f21fbfe\
         772e23a683fc65996c69c5bde342c51142ce2642560ed0df8e41e3870728a7193756878e58e07069\
         e3c25583b4d5335c",
        b"0123456789abcdef\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0e\x04",
    ),
    (
        192,
        MacAlgorithm::HmacSha2_384_192,
        None,
        "11223344ffffffffa0a1a2a3a4a5a6a7a8a9aaabacadaeaf80e4cc35f5b1787bebb5e9c03bb41c95\
         35da7ae3f150b667ab75bfede64b9dbd81c84df24f2f9f2d",
        b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0e\x3b",
    ),
];

#[test]
fn cbc_packets_of_an_independent_implementation() {
    for (bits, mac, high, sealed, plaintext) in CBC {
        let encryption = (0x10..).take(usize::from(bits) / 8).collect();
        let integrity = (0x40..).take(mac.key_length()).collect();
        let transform = transform(Cipher::CbcHmac { bits, mac }, encryption, integrity);
        let sealed = bytes(sealed);

        let mut packet = sealed.clone();
        transform.open(&mut packet, high).unwrap();
        let end = packet.len() - transform.icv_length();
        assert_eq!(&packet[24..end], plaintext);

        transform.seal(&mut packet, high);
        assert_eq!(hex::encode(&packet), hex::encode(&sealed));
        assert!(transform.fits(packet.len()));
        let opened = transform.open(&mut sealed.clone(), Some(77));
        assert_eq!(opened, Err(EspError::NotAuthentic));
    }
}

#[test]
fn keys_must_fit_the_cipher() {
    let keys = |encryption: usize, integrity: usize| HalfKeys {
        spi: EspSpi(1),
        encryption: SecretBytes::new(vec![0; encryption]),
        integrity: SecretBytes::new(vec![0; integrity]),
    };
    let gcm = Cipher::Aead(AeadAlgorithm::Aes128Gcm16);
    let cbc = Cipher::CbcHmac { bits: 128, mac: MacAlgorithm::HmacSha2_256_128 };
    for cipher in [gcm, cbc] {
        let (encryption, integrity) =
            (cipher.encryption_key_length(), cipher.integrity_key_length());
        assert!(Transform::new(cipher, &keys(encryption, integrity)).is_ok());
        assert!(Transform::new(cipher, &keys(encryption + 1, integrity)).is_err());
    }
    assert!(Transform::new(cbc, &keys(16, 31)).is_err());
    let odd = Cipher::CbcHmac { bits: 136, mac: MacAlgorithm::HmacSha2_256_128 };
    assert!(Transform::new(odd, &keys(17, 32)).is_err());
}
