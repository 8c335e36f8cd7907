//! TLS to the server, with rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::TlsMode;
use crate::error::{Error, Result};

/// What makes connections encrypted. Reads the certificates of the system or of `ca`, so it blocks.
///
/// Fails if `ca` cannot be read or holds no certificate.
pub(super) fn connector(mode: TlsMode, ca: Option<&Path>) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("no TLS versions").with_source(error))?;
    let config = match mode {
        TlsMode::Verify => builder
            .with_root_certificates(roots(ca)?)
            .with_no_client_auth(),
        TlsMode::Require => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth(),
        // Never used: the driver does not ask for TLS then, but its type wants a connector.
        TlsMode::Off => builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::warn!(
                errors = ?found.errors,
                "the system has no certificates to verify database servers with"
            );
        }
        return Ok(roots);
    };
    let unreadable = || {
        Error::internal(format!(
            "the certificates in `ca` ({}) cannot be read",
            path.display()
        ))
    };
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| unreadable().with_source(error))?
    {
        let certificate = certificate.map_err(|error| unreadable().with_source(error))?;
        roots
            .add(certificate)
            .map_err(|error| unreadable().with_source(error))?;
    }
    if roots.is_empty() {
        return Err(Error::internal(format!(
            "there is no certificate in `ca` ({})",
            path.display()
        )));
    }
    Ok(roots)
}

/// Believes every certificate: `tls = "require"`. Signatures are still checked, so the connection is encrypted to
/// whoever holds the key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
