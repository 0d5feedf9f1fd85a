//! Certificates, revocation lists and private keys in PEM files (RFC 7468).

use super::file;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::path::Path;
use vipsec_crypto::signature::SigningKey;
use zeroize::Zeroize as _;

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path)
        .map_err(|error| format!("{}: {error}; allowed is a PEM file", path.display()))
}

fn none(path: &Path, what: &str) -> String {
    format!("{}: no {what} in it; allowed is a PEM file with one or more", path.display())
}

/// All certificates of a file, in their order.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    all::<CertificateDer<'_>>(path, "certificate")
}

/// All revocation lists of a file.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn revocation_lists(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    all::<CertificateRevocationListDer<'_>>(path, "revocation list")
}

fn all<T: PemObject + AsRef<[u8]>>(path: &Path, what: &str) -> Result<Vec<Vec<u8>>, String> {
    let text = read(path)?;
    let all: Result<Vec<T>, _> = T::pem_slice_iter(&text).collect();
    let all = all.map_err(|_| none(path, what))?;
    if all.is_empty() {
        return Err(none(path, what));
    }
    Ok(all.iter().map(|der| der.as_ref().to_vec()).collect())
}

/// The private key of a file that nobody but its owner may read.
///
/// # Errors
/// What is wrong and what is allowed; never the key.
pub fn private_key(path: &Path) -> Result<SigningKey, String> {
    let text = file::read_private(path).map_err(|error| crate::explain(&error))?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
    let mut key = key.map_err(|_| none(path, "private key"))?;
    let signing = SigningKey::from_der(key.secret_der());
    key.zeroize();
    signing.map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

    fn write(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn all_of_a_kind_are_read_in_their_order_and_others_passed_over() {
        let list = "-----BEGIN X509 CRL-----\nBwg=\n-----END X509 CRL-----\n";
        let second = CERTIFICATE.replace("AQID", "BAUG");
        let file = write(&format!("a comment\n{CERTIFICATE}{list}{second}"));
        assert_eq!(certificates(file.path()), Ok(vec![vec![1, 2, 3], vec![4, 5, 6]]));
        assert_eq!(revocation_lists(file.path()), Ok(vec![vec![7, 8]]));
    }

    #[test]
    fn what_is_missing_or_broken_is_named_with_its_file() {
        let broken = CERTIFICATE.replace("AQID", "?");
        for (text, what) in [("", "certificate"), (broken.as_str(), "certificate")] {
            let file = write(text);
            let why = certificates(file.path()).expect_err("nothing to be had");
            assert!(
                why.contains(what) && why.contains(&file.path().display().to_string()),
                "{why}"
            );
        }
        assert!(revocation_lists(write(CERTIFICATE).path()).is_err());
        // Private keys have the mode that they need here; what is in them is no key.
        let why = private_key(write("hush-hush").path()).expect_err("no key");
        assert!(why.contains("private key") && !why.contains("hush"), "{why}");
        let file = write(&CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY"));
        assert!(private_key(file.path()).is_err());
    }
}
