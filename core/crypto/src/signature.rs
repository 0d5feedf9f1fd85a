//! Digital signatures of IKEv2 (RFC 7427, RFC 8420): RSA with PSS or PKCS #1 v1.5, ECDSA and Ed25519,
//! each named by its AlgorithmIdentifier.
//!
//! SHA-1 is not here, and with it neither RFC 7296's own method 1. Signing with RSA-PSS and ECDSA
//! draws randomness inside the library.

use crate::KeyError;
use crate::digest::constant_time_eq;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use core::fmt;
use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::aws_lc_rs as verifying;
use zeroize::Zeroizing;

/// The smallest RSA modulus in bytes: 2048 bits.
const RSA_LEAST: usize = 256;
/// The largest: 8192 bits.
const RSA_MOST: usize = 1024;

/// Hash functions, with the numbers of SIGNATURE_HASH_ALGORITHMS (RFC 7427 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// 2
    Sha256,
    /// 3
    Sha384,
    /// 4
    Sha512,
    /// 5, "Identity" (RFC 8420): the scheme hashes by itself.
    Identity,
}

impl Hash {
    /// All that we have.
    pub const ALL: [Hash; 4] = [Hash::Sha256, Hash::Sha384, Hash::Sha512, Hash::Identity];

    /// The number in SIGNATURE_HASH_ALGORITHMS.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Hash::Sha256 => 2,
            Hash::Sha384 => 3,
            Hash::Sha512 => 4,
            Hash::Identity => 5,
        }
    }
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RSASSA-PSS, MGF1 with the same hash, a salt as long as the hash.
    RsaPss(Hash),
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// ECDSA on the curve of the key.
    Ecdsa(Hash),
    /// Ed25519.
    Ed25519,
}

/// The AlgorithmIdentifiers (RFC 7427 appendix A, RFC 8420 appendix A).
const IDENTIFIERS: [(Scheme, &[u8]); 10] = [
    (
        Scheme::RsaPkcs1(Hash::Sha256),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00",
    ),
    (
        Scheme::RsaPkcs1(Hash::Sha384),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00",
    ),
    (
        Scheme::RsaPkcs1(Hash::Sha512),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00",
    ),
    (Scheme::Ecdsa(Hash::Sha256), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"),
    (Scheme::Ecdsa(Hash::Sha384), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"),
    (Scheme::Ecdsa(Hash::Sha512), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04"),
    (Scheme::Ed25519, b"\x30\x05\x06\x03\x2b\x65\x70"),
    (Scheme::RsaPss(Hash::Sha256), &pss(1, 32)),
    (Scheme::RsaPss(Hash::Sha384), &pss(2, 48)),
    (Scheme::RsaPss(Hash::Sha512), &pss(3, 64)),
];

/// The AlgorithmIdentifier of RSASSA-PSS with the SHA-2 function of this arc, and its length as that
/// of the salt.
const fn pss(hash: u8, salt: u8) -> [u8; 67] {
    let mut out = *b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
        \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x00\x05\x00\
        \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
        \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x00\x05\x00\xa2\x03\x02\x01\x00";
    out[29] = hash;
    out[59] = hash;
    out[66] = salt;
    out
}

impl Scheme {
    /// The AlgorithmIdentifier.
    #[must_use]
    pub fn identifier(self) -> &'static [u8] {
        let known = IDENTIFIERS.iter().find(|(scheme, _)| *scheme == self);
        known.map_or(&[], |(_, identifier)| identifier)
    }

    /// The scheme of an AlgorithmIdentifier.
    #[must_use]
    pub fn from_identifier(der: &[u8]) -> Option<Scheme> {
        IDENTIFIERS.iter().find(|(_, known)| *known == der).map(|(scheme, _)| *scheme)
    }

    /// What verifies it, for every kind of key that it may be made with.
    pub(crate) fn verifying(self) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
        match self {
            Scheme::RsaPss(Hash::Sha256) => vec![verifying::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
            Scheme::RsaPss(Hash::Sha384) => vec![verifying::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
            Scheme::RsaPss(Hash::Sha512) => vec![verifying::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
            Scheme::RsaPkcs1(Hash::Sha256) => vec![verifying::RSA_PKCS1_2048_8192_SHA256],
            Scheme::RsaPkcs1(Hash::Sha384) => vec![verifying::RSA_PKCS1_2048_8192_SHA384],
            Scheme::RsaPkcs1(Hash::Sha512) => vec![verifying::RSA_PKCS1_2048_8192_SHA512],
            Scheme::Ecdsa(Hash::Sha256) => vec![
                verifying::ECDSA_P256_SHA256,
                verifying::ECDSA_P384_SHA256,
                verifying::ECDSA_P521_SHA256,
            ],
            Scheme::Ecdsa(Hash::Sha384) => vec![
                verifying::ECDSA_P384_SHA384,
                verifying::ECDSA_P256_SHA384,
                verifying::ECDSA_P521_SHA384,
            ],
            Scheme::Ecdsa(Hash::Sha512) => vec![
                verifying::ECDSA_P521_SHA512,
                verifying::ECDSA_P256_SHA512,
                verifying::ECDSA_P384_SHA512,
            ],
            Scheme::Ed25519 => vec![verifying::ED25519],
            Scheme::RsaPss(Hash::Identity)
            | Scheme::RsaPkcs1(Hash::Identity)
            | Scheme::Ecdsa(Hash::Identity) => vec![],
        }
    }
}

/// A private key that signs for a certificate.
pub struct SigningKey {
    kind: Kind,
    /// What it was read from.
    der: Zeroizing<Vec<u8>>,
}

enum Kind {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair, Hash),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Reads a PKCS #8 document, or the older forms of RSA (PKCS #1) and of elliptic curves (SEC 1).
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] for anything else, and for RSA below 2048 or above 8192 bits.
    pub fn from_der(der: &[u8]) -> Result<SigningKey, KeyError> {
        let kind = Kind::from_der(der)?;
        Ok(SigningKey { kind, der: Zeroizing::new(der.to_vec()) })
    }

    /// How to sign for a peer that verifies with these hash functions (their numbers).
    #[must_use]
    pub fn scheme(&self, hashes: &[u16]) -> Option<Scheme> {
        let has = |hash: &Hash| hashes.contains(&hash.number());
        match &self.kind {
            Kind::Rsa(_) => {
                let known = [Hash::Sha256, Hash::Sha384, Hash::Sha512];
                known.into_iter().find(has).map(Scheme::RsaPss)
            }
            Kind::Ecdsa(_, hash) => Some(*hash).filter(has).map(Scheme::Ecdsa),
            Kind::Ed25519(_) => Some(Hash::Identity).filter(has).map(|_| Scheme::Ed25519),
        }
    }

    /// Signs `message` in a way that [`SigningKey::scheme`] gives, or with PKCS #1 v1.5.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] for a scheme that is not of this kind of key.
    pub fn sign(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let unfit = KeyError::PrivateKey("the signature scheme");
        let random = SystemRandom::new();
        match (&self.kind, scheme) {
            (Kind::Rsa(pair), Scheme::RsaPss(hash)) => match hash {
                Hash::Sha256 => rsa(pair, &signature::RSA_PSS_SHA256, message),
                Hash::Sha384 => rsa(pair, &signature::RSA_PSS_SHA384, message),
                Hash::Sha512 => rsa(pair, &signature::RSA_PSS_SHA512, message),
                Hash::Identity => Err(unfit),
            },
            (Kind::Rsa(pair), Scheme::RsaPkcs1(hash)) => match hash {
                Hash::Sha256 => rsa(pair, &signature::RSA_PKCS1_SHA256, message),
                Hash::Sha384 => rsa(pair, &signature::RSA_PKCS1_SHA384, message),
                Hash::Sha512 => rsa(pair, &signature::RSA_PKCS1_SHA512, message),
                Hash::Identity => Err(unfit),
            },
            (Kind::Ecdsa(pair, own), Scheme::Ecdsa(hash)) if *own == hash => {
                let signed = pair.sign(&random, message).map_err(|_| unfit)?;
                Ok(signed.as_ref().to_vec())
            }
            (Kind::Ed25519(pair), Scheme::Ed25519) => Ok(pair.sign(message).as_ref().to_vec()),
            _ => Err(unfit),
        }
    }

    /// The public key's DER, to be compared with that of a certificate.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        use aws_lc_rs::signature::KeyPair;
        match &self.kind {
            Kind::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Kind::Ecdsa(pair, _) => pair.public_key().as_ref().to_vec(),
            Kind::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}

impl Kind {
    fn from_der(der: &[u8]) -> Result<Kind, KeyError> {
        let curves = [
            (&ECDSA_P256_SHA256_ASN1_SIGNING, Hash::Sha256),
            (&ECDSA_P384_SHA384_ASN1_SIGNING, Hash::Sha384),
            (&ECDSA_P521_SHA512_ASN1_SIGNING, Hash::Sha512),
        ];
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
            let fits = (RSA_LEAST..=RSA_MOST).contains(&pair.public_modulus_len());
            return match fits {
                true => Ok(Kind::Rsa(pair)),
                false => Err(KeyError::PrivateKey("RSA of 2048 to 8192 bits")),
            };
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Ok(Kind::Ed25519(pair));
        }
        for (algorithm, hash) in curves {
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, der)
                .or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, der));
            if let Ok(pair) = pair {
                return Ok(Kind::Ecdsa(pair, hash));
            }
        }
        Err(KeyError::PrivateKey("RSA, ECDSA or Ed25519"))
    }
}

/// The same when read from the same document.
impl PartialEq for SigningKey {
    fn eq(&self, other: &SigningKey) -> bool {
        constant_time_eq(&self.der, &other.der)
    }
}

impl Eq for SigningKey {}

impl Clone for SigningKey {
    fn clone(&self) -> SigningKey {
        SigningKey::from_der(&self.der).expect("it was read from this before")
    }
}

fn rsa(
    pair: &RsaKeyPair,
    encoding: &'static dyn signature::RsaEncoding,
    message: &[u8],
) -> Result<Vec<u8>, KeyError> {
    let mut out = vec![0; pair.public_modulus_len()];
    let signed = pair.sign(encoding, &SystemRandom::new(), message, &mut out);
    signed.map(|()| out).map_err(|_| KeyError::PrivateKey("RSA"))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Rsa(_) => "SigningKey(RSA)",
            Kind::Ecdsa(..) => "SigningKey(ECDSA)",
            Kind::Ed25519(_) => "SigningKey(Ed25519)",
        })
    }
}
