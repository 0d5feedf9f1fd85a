//! Algorithms by the names that configurations have for them, as in `aes256gcm16-prfsha256-x25519`.

use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_crypto::mac::MacAlgorithm;
use vipsec_esp::Cipher;
use vipsec_wire::ike::{Encryption, Group, Integrity, Prf};
use vipsec_wire::record::v1::IkeAlgorithms;

const CHACHA: &str = "chacha20poly1305";

/// What an IKE SA is made of.
pub(crate) fn ike(chosen: &IkeAlgorithms) -> String {
    let parts = [
        Some(encryption(chosen.encryption)),
        integrity(chosen.integrity),
        Some(prf(chosen.prf)),
        group(chosen.group),
    ];
    let additional = (1..).zip(chosen.additional);
    let additional = additional.filter_map(|(place, of)| Some(format!("ke{place}_{}", group(of)?)));
    parts.into_iter().flatten().chain(additional).collect::<Vec<_>>().join("-")
}

/// What a Child SA is made of.
pub(crate) fn child(cipher: &Cipher, esn: bool) -> String {
    let cipher = match cipher {
        Cipher::Aead(AeadAlgorithm::Aes128Gcm16) => "aes128gcm16".to_owned(),
        Cipher::Aead(AeadAlgorithm::Aes256Gcm16) => "aes256gcm16".to_owned(),
        Cipher::Aead(AeadAlgorithm::ChaCha20Poly1305) => CHACHA.to_owned(),
        Cipher::CbcHmac { bits, mac } => format!("aes{bits}-{}", mac_name(*mac)),
    };
    format!("{cipher}-{}", if esn { "esn" } else { "noesn" })
}

fn mac_name(mac: MacAlgorithm) -> &'static str {
    match mac {
        MacAlgorithm::HmacSha2_256_128 => "sha256",
        MacAlgorithm::HmacSha2_384_192 => "sha384",
        MacAlgorithm::HmacSha2_512_256 => "sha512",
    }
}

fn encryption(algorithm: Encryption) -> String {
    match algorithm {
        Encryption::AesGcm16 { bits } => format!("aes{bits}gcm16"),
        Encryption::AesCbc { bits } => format!("aes{bits}"),
        Encryption::ChaCha20Poly1305 => CHACHA.to_owned(),
        Encryption::Other(number, _) => format!("encryption{number}"),
    }
}

fn integrity(algorithm: Integrity) -> Option<String> {
    Some(match algorithm {
        Integrity::None => return None,
        Integrity::HmacSha2_256_128 => "sha256".to_owned(),
        Integrity::HmacSha2_384_192 => "sha384".to_owned(),
        Integrity::HmacSha2_512_256 => "sha512".to_owned(),
        Integrity::Other(number) => format!("integrity{number}"),
    })
}

fn prf(algorithm: Prf) -> String {
    match algorithm {
        Prf::HmacSha2_256 => "prfsha256".to_owned(),
        Prf::HmacSha2_384 => "prfsha384".to_owned(),
        Prf::HmacSha2_512 => "prfsha512".to_owned(),
        Prf::Other(number) => format!("prf{number}"),
    }
}

fn group(group: Group) -> Option<String> {
    Some(match group {
        Group::None => return None,
        Group::Modp2048 => "modp2048".to_owned(),
        Group::Modp3072 => "modp3072".to_owned(),
        Group::Modp4096 => "modp4096".to_owned(),
        Group::Modp6144 => "modp6144".to_owned(),
        Group::Modp8192 => "modp8192".to_owned(),
        Group::EcpP256 => "ecp256".to_owned(),
        Group::EcpP384 => "ecp384".to_owned(),
        Group::EcpP521 => "ecp521".to_owned(),
        Group::X25519 => "x25519".to_owned(),
        Group::MlKem512 => "mlkem512".to_owned(),
        Group::MlKem768 => "mlkem768".to_owned(),
        Group::MlKem1024 => "mlkem1024".to_owned(),
        Group::Other(number) => format!("group{number}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_configuration() {
        let gcm = IkeAlgorithms {
            encryption: Encryption::AesGcm16 { bits: 256 },
            integrity: Integrity::None,
            prf: Prf::HmacSha2_256,
            group: Group::X25519,
            additional: Default::default(),
        };
        assert_eq!(ike(&gcm), "aes256gcm16-prfsha256-x25519");
        let mut hybrid = gcm;
        (hybrid.additional[0], hybrid.additional[2]) = (Group::MlKem768, Group::EcpP384);
        assert_eq!(ike(&hybrid), "aes256gcm16-prfsha256-x25519-ke1_mlkem768-ke3_ecp384");
        let cbc = IkeAlgorithms {
            encryption: Encryption::AesCbc { bits: 128 },
            integrity: Integrity::HmacSha2_256_128,
            prf: Prf::HmacSha2_512,
            group: Group::Modp2048,
            additional: Default::default(),
        };
        assert_eq!(ike(&cbc), "aes128-sha256-prfsha512-modp2048");
        let cipher = Cipher::CbcHmac { bits: 192, mac: MacAlgorithm::HmacSha2_384_192 };
        assert_eq!(child(&cipher, true), "aes192-sha384-esn");
        assert_eq!(child(&Cipher::Aead(AeadAlgorithm::Aes128Gcm16), false), "aes128gcm16-noesn");
    }
}
