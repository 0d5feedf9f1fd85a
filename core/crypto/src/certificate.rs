//! X.509 certificates: paths to trusted authorities (RFC 5280, by rustls-webpki), revocation lists,
//! the names in a certificate, and signatures that its key verifies.
//!
//! Time and revocation lists come in as values.

use crate::OpenError;
use crate::digest::sha1;
use crate::signature::{Scheme, SigningKey};
use core::net::IpAddr;
use core::time::Duration;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    KeyUsage, OwnedCertRevocationList, RequiredEkuNotFoundContext, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};
use x509_cert::Certificate as Parsed;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{KeyUsage as UsageBits, SubjectAltName};
use x509_cert::name::Name;

/// Most certificates of a path, the peer's own included.
pub const CHAIN_MAX: usize = 8;

/// What is wrong with a certificate that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("not a usable X.509 certificate")]
    Unreadable,
    /// A revocation list cannot be read.
    #[error("not a usable certificate revocation list")]
    RevocationList,
    /// More than [`CHAIN_MAX`] certificates.
    #[error("more than {CHAIN_MAX} certificates in a chain")]
    LongChain,
    /// The private key is another one's.
    #[error("the private key is not that of the certificate")]
    OtherKey,
}

/// Who is trusted, and what they have revoked.
pub struct Authorities {
    anchors: Vec<TrustAnchor<'static>>,
    revoked: Vec<CertRevocationList<'static>>,
    /// What `revoked` was read from.
    lists: Vec<Vec<u8>>,
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Authorities) -> bool {
        self.anchors == other.anchors && self.lists == other.lists
    }
}

impl Eq for Authorities {}

impl Clone for Authorities {
    fn clone(&self) -> Authorities {
        let revoked = read_lists(&self.lists).expect("they were read before");
        Authorities { anchors: self.anchors.clone(), revoked, lists: self.lists.clone() }
    }
}

fn read_lists(lists: &[Vec<u8>]) -> Result<Vec<CertRevocationList<'static>>, CertificateError> {
    let list = |der: &Vec<u8>| {
        let list = OwnedCertRevocationList::from_der(der);
        list.map(CertRevocationList::from).map_err(|_| CertificateError::RevocationList)
    };
    lists.iter().map(list).collect()
}

impl Authorities {
    /// Takes the DER of self-signed or otherwise trusted certificates, and of revocation lists.
    ///
    /// # Errors
    /// [`CertificateError`] for what cannot be read.
    pub fn new(
        certificates: &[Vec<u8>],
        lists: &[Vec<u8>],
    ) -> Result<Authorities, CertificateError> {
        let anchor = |der: &Vec<u8>| {
            let der = CertificateDer::from(der.as_slice());
            let anchor = webpki::anchor_from_trusted_cert(&der);
            anchor.map(|anchor| anchor.to_owned()).map_err(|_| CertificateError::Unreadable)
        };
        Ok(Authorities {
            anchors: certificates.iter().map(anchor).collect::<Result<_, _>>()?,
            revoked: read_lists(lists)?,
            lists: lists.to_vec(),
        })
    }

    /// The SHA-1 hashes of their public keys, as a CERTREQ payload names them (RFC 7296 section 3.7).
    #[must_use]
    pub fn key_hashes(&self) -> Vec<[u8; 20]> {
        self.anchors.iter().map(|anchor| sha1(&[&webpki::spki_for_anchor(anchor)])).collect()
    }

    /// Whether a path leads from the first certificate, by way of the others, to an authority, all of
    /// them valid at `now_s` (seconds since 1970) and none of them revoked by a list that we have.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn verify(&self, chain: &[Vec<u8>], now_s: u64) -> Result<(), OpenError> {
        let (first, others) = chain.split_first().ok_or(OpenError)?;
        let first = CertificateDer::from(first.as_slice());
        let own = EndEntityCert::try_from(&first).map_err(|_| OpenError)?;
        let others: Vec<_> =
            others.iter().take(CHAIN_MAX).map(|der| CertificateDer::from(der.as_slice())).collect();
        let lists: Vec<&CertRevocationList<'_>> = self.revoked.iter().collect();
        // Without lists there is nothing to check; with some, an authority without is let pass.
        let revocation = RevocationOptionsBuilder::new(&lists).ok();
        let revocation =
            revocation.map(|b| b.with_status_policy(UnknownStatusPolicy::Allow).build());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let anchors = &self.anchors;
        let path =
            own.verify_for_usage(algorithms, anchors, &others, now, Purpose, revocation, None);
        let path = path.map_err(|_| OpenError)?;
        let mut issuers = path.intermediate_certificates();
        let usable =
            may(chain.first(), signs) && issuers.all(|issuer| may(Some(&issuer.der()), certifies));
        if usable { Ok(()) } else { Err(OpenError) }
    }
}

/// What webpki passes over: a keyUsage extension, where there is one, must allow what the key does
/// (RFC 5280 section 6.1.4 (n), RFC 4945 section 5.1.3.2).
fn may<D: AsRef<[u8]>>(certificate: Option<&D>, use_of_key: fn(&UsageBits) -> bool) -> bool {
    let parsed = certificate.and_then(|der| Parsed::from_der(der.as_ref()).ok());
    let usage = parsed.map(|parsed| parsed.tbs_certificate().get_extension::<UsageBits>());
    match usage {
        Some(Ok(usage)) => usage.is_none_or(|(_, usage)| use_of_key(&usage)),
        Some(Err(_)) | None => false,
    }
}

/// Either bit allows signatures in IKE.
fn signs(usage: &UsageBits) -> bool {
    usage.digital_signature() || usage.non_repudiation()
}

fn certifies(usage: &UsageBits) -> bool {
    usage.key_cert_sign()
}

impl core::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (anchors, lists) = (self.anchors.len(), self.revoked.len());
        write!(f, "Authorities({anchors} certificates, {lists} revocation lists)")
    }
}

/// What a certificate for IKE may be meant for (RFC 4945 section 5.1.3.12): nothing in particular,
/// IKE, or what gateways and clients of TLS are issued.
struct Purpose;

const PURPOSES: [&[usize]; 5] = [
    &[1, 3, 6, 1, 5, 5, 7, 3, 17],
    &[1, 3, 6, 1, 5, 5, 8, 2, 2],
    &[1, 3, 6, 1, 5, 5, 7, 3, 1],
    &[1, 3, 6, 1, 5, 5, 7, 3, 2],
    &[2, 5, 29, 37, 0],
];

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut none = true;
        for purpose in purposes {
            none = false;
            if PURPOSES.contains(&purpose?.to_decoded_oid().as_slice()) {
                return Ok(());
            }
        }
        let (required, present) = (KeyUsage::client_auth(), Vec::new());
        let context = RequiredEkuNotFoundContext { required, present };
        if none { Ok(()) } else { Err(Error::RequiredEkuNotFoundContext(context)) }
    }
}

/// Whether the key of a certificate has signed `message`.
///
/// # Errors
/// [`OpenError`].
pub fn verify_signature(
    certificate: &[u8],
    scheme: Scheme,
    message: &[u8],
    signature: &[u8],
) -> Result<(), OpenError> {
    let der = CertificateDer::from(certificate);
    let certificate = EndEntityCert::try_from(&der).map_err(|_| OpenError)?;
    let verifies = |algorithm: &&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
        certificate.verify_signature(*algorithm, message, signature).is_ok()
    };
    if scheme.verifying().iter().any(verifies) { Ok(()) } else { Err(OpenError) }
}

/// Checks that a private key is that of a certificate.
///
/// # Errors
/// [`CertificateError`].
pub fn check_key(certificate: &[u8], key: &SigningKey) -> Result<(), CertificateError> {
    let parsed = Parsed::from_der(certificate).map_err(|_| CertificateError::Unreadable)?;
    let public = parsed.tbs_certificate().subject_public_key_info().subject_public_key.as_bytes();
    let same = public.is_some_and(|public| public == key.public_key());
    if same { Ok(()) } else { Err(CertificateError::OtherKey) }
}

/// Who a certificate is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The subject, in DER.
    pub subject: Vec<u8>,
    /// dNSName
    pub dns: Vec<String>,
    /// rfc822Name
    pub email: Vec<String>,
    /// iPAddress
    pub addresses: Vec<IpAddr>,
}

impl Names {
    /// Reads subject and subjectAltName of a certificate.
    ///
    /// # Errors
    /// [`CertificateError::Unreadable`].
    pub fn of(certificate: &[u8]) -> Result<Names, CertificateError> {
        let unreadable = |_| CertificateError::Unreadable;
        let parsed = Parsed::from_der(certificate).map_err(unreadable)?;
        let parsed = parsed.tbs_certificate();
        let subject = parsed.subject().to_der().map_err(unreadable)?;
        let mut names = Names { subject, ..Names::default() };
        let extension = parsed.get_extension::<SubjectAltName>().map_err(unreadable)?;
        for name in extension.into_iter().flat_map(|(_, names)| names.0) {
            match name {
                GeneralName::DnsName(name) => names.dns.push(name.as_str().to_owned()),
                GeneralName::Rfc822Name(name) => names.email.push(name.as_str().to_owned()),
                GeneralName::IpAddress(bytes) => names.addresses.extend(address(bytes.as_bytes())),
                _ => {}
            }
        }
        Ok(names)
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Whether a distinguished name (DER) is one that a pattern (DER) means: the same attributes in the
/// same order, with the same values, or with any where the pattern has `*`. The kinds of strings and,
/// in ASCII, the case do not matter.
#[must_use]
pub fn name_fits(pattern: &[u8], name: &[u8]) -> bool {
    let (Ok(pattern), Ok(name)) = (Name::from_der(pattern), Name::from_der(name)) else {
        return false;
    };
    pattern.len() == name.len()
        && pattern.iter().zip(name.iter()).all(|(wanted, found)| {
            let (value, other) = (wanted.value.value(), found.value.value());
            wanted.oid == found.oid && (value == b"*" || value.eq_ignore_ascii_case(other))
        })
}

/// Whether a distinguished name (DER) is a pattern: one of its values is `*`.
#[must_use]
pub fn name_is_pattern(name: &[u8]) -> bool {
    Name::from_der(name).is_ok_and(|name| name.iter().any(|part| part.value.value() == b"*"))
}

/// The DER of a distinguished name in the notation of swanctl: `C=CH, O=Example, CN=gw.example.org`,
/// in the order of the certificate.
/// `None` for anything else.
#[must_use]
pub fn name_from_text(text: &str) -> Option<Vec<u8>> {
    let parts: Vec<&str> =
        text.split([',', '/']).map(str::trim).filter(|p| !p.is_empty()).collect();
    if parts.is_empty() || parts.iter().any(|part| !part.contains('=')) {
        return None;
    }
    // RFC 4514 writes the last attribute first.
    let reversed: Vec<&str> = parts.into_iter().rev().collect();
    let name: Name = reversed.join(",").parse().ok()?;
    name.to_der().ok()
}
