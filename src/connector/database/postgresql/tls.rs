//! TLS to the server, with rustls.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    WantsVerifier,
};
use sha2::{Digest as _, Sha256};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connector::database::tls::TlsMode;
use crate::error::{Error, Result};

/// How long the certificates of the system count as read: long enough for all services of one revision.
const SYSTEM_KEPT: Duration = Duration::from_secs(10);
/// Most sets of certificates that are kept for further services with the same ones.
const MAX_KEPT: usize = 16;

/// Connectors that several services share: one with the certificates of the system takes more memory than all else of a
/// service.
#[derive(Default)]
struct Kept {
    /// With the certificates of the system, and when they were read.
    system: Option<(Instant, MakeRustlsConnect)>,
    /// With certificates of files, by their digest; the one used last comes last.
    of_files: VecDeque<([u8; 32], MakeRustlsConnect)>,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    system: None,
    of_files: VecDeque::new(),
});

/// Makes no connection encrypted. The driver does not ask for that then, but its type wants a connector.
static OFF: LazyLock<Result<MakeRustlsConnect>> = LazyLock::new(|| {
    let roots = RootCertStore::empty();
    let config = builder()?.with_root_certificates(roots);
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
});

/// What makes connections encrypted. Reads the certificates of the system or of `ca`, so it blocks, unless the mode is
/// [`TlsMode::Off`].
///
/// Fails if `ca` cannot be read or holds no certificate.
pub(super) fn connector(
    mode: TlsMode,
    ca: Option<&Path>,
    now: Instant,
) -> Result<MakeRustlsConnect> {
    match (mode, ca) {
        (TlsMode::Off, _) => off(),
        (TlsMode::Require, _) => {
            let verifier = Arc::new(AnyCertificate(provider()));
            let config = builder()?
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth();
            Ok(MakeRustlsConnect::new(config))
        }
        (TlsMode::Verify, None) => system(now),
        (TlsMode::Verify, Some(path)) => of_file(path),
    }
}

/// The connector of connections that are not encrypted.
pub(super) fn off() -> Result<MakeRustlsConnect> {
    match &*OFF {
        Ok(connector) => Ok(connector.clone()),
        Err(error) => Err(Error::internal(error.message().to_owned())),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("no TLS versions").with_source(error))
}

fn verifying(roots: RootCertStore) -> Result<MakeRustlsConnect> {
    let config = builder()?.with_root_certificates(roots);
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

/// Services that are opened together wait for one another here, and the certificates are read once.
fn system(now: Instant) -> Result<MakeRustlsConnect> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read, connector)) = &kept.system
        && now.saturating_duration_since(*read) < SYSTEM_KEPT
    {
        return Ok(connector.clone());
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(
            errors = ?found.errors,
            "the system has no certificates to verify database servers with"
        );
    }
    let connector = verifying(roots)?;
    kept.system = Some((now, connector.clone()));
    Ok(connector)
}

/// The file is read each time, as it may hold other certificates now.
fn of_file(path: &Path) -> Result<MakeRustlsConnect> {
    let unreadable = || {
        Error::internal(format!(
            "the certificates in `ca` ({}) cannot be read",
            path.display()
        ))
    };
    let mut certificates = Vec::new();
    let mut hasher = Sha256::new();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| unreadable().with_source(error))?
    {
        let certificate = certificate.map_err(|error| unreadable().with_source(error))?;
        hasher.update((certificate.len() as u64).to_be_bytes());
        hasher.update(&certificate);
        certificates.push(certificate);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let known = kept.of_files.iter().position(|(known, _)| *known == digest);
    let known = known.and_then(|index| kept.of_files.remove(index));
    let connector = if let Some((_, connector)) = known {
        connector
    } else {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let added = roots.add(certificate);
            added.map_err(|error| unreadable().with_source(error))?;
        }
        if roots.is_empty() {
            return Err(Error::internal(format!(
                "there is no certificate in `ca` ({})",
                path.display()
            )));
        }
        verifying(roots)?
    };
    if kept.of_files.len() >= MAX_KEPT {
        kept.of_files.pop_front();
    }
    kept.of_files.push_back((digest, connector.clone()));
    Ok(connector)
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
