//! A certificate authority for one lab, by strongSwan's `pki`: keys and certificates are made when
//! they are needed and gone with the lab.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::run_words;

/// A certificate with its private key, both PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key, which nobody else may read.
    pub key: PathBuf,
}

/// Who issues certificates.
#[derive(Debug, Clone)]
pub struct Authority {
    directory: PathBuf,
    /// Its own certificate, self-signed or issued by another authority.
    pub own: Certificate,
}

impl Authority {
    /// Makes an authority whose certificate it has signed itself. `kind`: see
    /// [`Authority::issue`].
    ///
    /// # Errors
    /// When `pki` or the file system fails.
    pub fn root(directory: &Path, name: &str, kind: &str) -> Result<Self> {
        let key = generate(directory, name, kind)?;
        let dn = subject(name);
        let words = ["--self", "--ca", "--in", text(&key), "--type", algorithm(kind), "--dn", &dn];
        let certificate = pki(&words, &directory.join(format!("{name}.pem")))?;
        let own = Certificate { certificate, key };
        Ok(Self { directory: directory.into(), own })
    }

    /// Makes an authority under this one.
    ///
    /// # Errors
    /// As [`Authority::root`].
    pub fn intermediate(&self, name: &str, kind: &str) -> Result<Self> {
        let own = self.sign(name, kind, &["--ca"])?;
        Ok(Self { directory: self.directory.clone(), own })
    }

    /// Issues a certificate for a name of a peer (`user@name`, a host's name or an address). `kind`
    /// names key and size: `rsa3072`, `ecdsa256`, `ed25519`.
    ///
    /// # Errors
    /// As [`Authority::root`].
    pub fn issue(&self, name: &str, kind: &str) -> Result<Certificate> {
        self.sign(name, kind, &["--san", name])
    }

    fn sign(&self, name: &str, kind: &str, more: &[&str]) -> Result<Certificate> {
        let key = generate(&self.directory, name, kind)?;
        let dn = subject(name);
        let (issuer, issuer_key) = (text(&self.own.certificate), text(&self.own.key));
        let mut words = vec!["--issue", "--in", text(&key), "--type", algorithm(kind)];
        words.extend(["--cacert", issuer, "--cakey", issuer_key, "--dn", &dn]);
        words.extend(more);
        let certificate = pki(&words, &self.directory.join(format!("{name}.pem")))?;
        Ok(Certificate { certificate, key })
    }

    /// A list on which this certificate is revoked.
    ///
    /// # Errors
    /// As [`Authority::root`].
    pub fn revoke(&self, certificate: &Certificate) -> Result<PathBuf> {
        let (issuer, issuer_key) = (text(&self.own.certificate), text(&self.own.key));
        let revoked = text(&certificate.certificate);
        let words = ["--signcrl", "--cacert", issuer, "--cakey", issuer_key, "--cert", revoked];
        pki(&words, &certificate.certificate.with_extension("crl"))
    }
}

impl Certificate {
    /// A file with this certificate and then that of the authority between it and the trusted one.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn chain(&self, intermediate: &Authority) -> Result<PathBuf> {
        let mut chain = read(&self.certificate)?;
        chain.push_str(&read(&intermediate.own.certificate)?);
        let to = self.certificate.with_extension("chain.pem");
        fs::write(&to, chain).with_context(|| format!("cannot write {}", to.display()))?;
        Ok(to)
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn generate(directory: &Path, name: &str, kind: &str) -> Result<PathBuf> {
    let size = kind.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let algorithm = algorithm(kind);
    let mut words = vec!["--gen", "--type", algorithm];
    if algorithm != "ed25519" {
        words.extend(["--size", size]);
    }
    pki(&words, &directory.join(format!("{name}.key")))
}

/// `ed25519` has no size; the others end in theirs.
fn algorithm(kind: &str) -> &str {
    match kind {
        "ed25519" => kind,
        _ => kind.trim_end_matches(|c: char| c.is_ascii_digit()),
    }
}

fn subject(name: &str) -> String {
    format!("C=CH, O=vipsec lab, CN={name}")
}

/// Runs `pki` and keeps what it prints in a file that nobody else may read.
fn pki(words: &[&str], to: &Path) -> Result<PathBuf> {
    let words = [&["pki"], words, &["--outform", "pem"]].concat();
    let printed = run_words(&words)?;
    let write = |()| fs::set_permissions(to, fs::Permissions::from_mode(0o600));
    fs::write(to, printed)
        .and_then(write)
        .with_context(|| format!("cannot write {}", to.display()))?;
    Ok(to.into())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
