//! TLS 1.3 between nodes with raw public keys both ways (RFC 8446, RFC 7250): the peer is whom the
//! configuration says the key belongs to. No certificates, no early data, no resumption.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_eddsa_type};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};
use std::sync::Arc;
use vipsec_crypto::identity::{Identity, PublicKey};

const PROTOCOL: &[u8] = b"vipsec/1";

/// Why a node cannot speak TLS at all. A local fault.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library does not take the identity or the settings.
    #[error("TLS cannot be set up")]
    Library(#[from] rustls::Error),
    /// The identity cannot be put in the form that TLS takes.
    #[error("the node's identity cannot be used for TLS")]
    Identity(#[from] vipsec_crypto::KeyError),
}

/// What both ends of a link are made of.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
}

impl Tls {
    pub(super) fn new(identity: &Identity) -> Result<Tls, TlsError> {
        let pkcs8 = identity.to_pkcs8()?;
        let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.expose()))?;
        let public = CertificateDer::from(identity.public_key().to_spki());
        let key = Arc::new(CertifiedKey::new(vec![public], signer));
        Ok(Tls { provider: Arc::new(default_provider()), key })
    }

    /// For connections that we open to the holder of `peer` and nobody else.
    pub(super) fn client(&self, peer: PublicKey) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier(vec![peer])))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                self.key.clone(),
            )));
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }

    /// For connections from the holder of any of the keys `peers`.
    pub(super) fn server(&self, peers: Vec<PublicKey>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(self.verifier(peers)))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }

    fn verifier(&self, allowed: Vec<PublicKey>) -> KnownKeys {
        KnownKeys { allowed, algorithms: self.provider.signature_verification_algorithms }
    }
}

/// The key by which the peer has proven itself.
pub(super) fn peer_key(certificates: Option<&[CertificateDer<'_>]>) -> Option<PublicKey> {
    match certificates {
        Some([only]) => PublicKey::from_spki(only.as_ref()),
        _ => None,
    }
}

/// Accepts exactly the keys that it was given.
#[derive(Debug)]
struct KnownKeys {
    allowed: Vec<PublicKey>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl KnownKeys {
    fn check(
        &self,
        key: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        let key = PublicKey::from_spki(key.as_ref());
        if more.is_empty() && key.is_some_and(|key| self.allowed.contains(&key)) {
            return Ok(());
        }
        let failure = rustls::CertificateError::ApplicationVerificationFailure;
        Err(rustls::Error::InvalidCertificate(failure))
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }
}

/// TLS 1.2 is not spoken, so its signatures are never asked for.
fn no_tls12() -> rustls::Error {
    rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered)
}

impl ServerCertVerifier for KnownKeys {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(key, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for KnownKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(key, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
