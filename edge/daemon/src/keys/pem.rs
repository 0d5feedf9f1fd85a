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
