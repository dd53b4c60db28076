//! TLS by rustls, in the modes of libpq. `tokio-postgres-rustls` binds SCRAM logins to the channel.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;
use turnstile_values::BoxError;

use super::options::SslMode;
use super::settings::PostgresSettings;
use crate::error::TargetSettingsError;

/// Reads the trusted certificates and prepares the TLS side of connections.
pub(super) fn connector(settings: &PostgresSettings) -> Result<MakeRustlsConnect, TargetSettingsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = match settings.sslmode.verifies() {
        true => Some(chain_verifier(settings, &provider)?),
        false => None,
    };
    let verifier: Arc<dyn ServerCertVerifier> = match chain {
        Some(full) if settings.sslmode == SslMode::VerifyFull => full,
        chain => Arc::new(RelaxedVerifier { chain, provider: Arc::clone(&provider) }),
    };
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions
        .map_err(|error| TargetSettingsError::new("sslmode", "TLS is not available", "report this").caused_by(error))?;
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn wrong(reason: impl Into<String>) -> TargetSettingsError {
    TargetSettingsError::new("root_certificate", reason, "name the authority's certificate (PEM) as root_certificate")
}

fn chain_verifier(
    settings: &PostgresSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TargetSettingsError> {
    let roots = Arc::new(roots(settings.root_certificate.as_deref())?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
    verifier.map_err(|error| wrong("no authority to trust").caused_by(error))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, TargetSettingsError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        // Single files of the system that cannot be read do not matter, as long as there are others.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let unreadable =
        |error: BoxError| wrong(format!("the root certificate {} cannot be read", file.display())).caused_by(error);
    let opened = File::open(file).map_err(|error| unreadable(error.into()))?;
    for certificate in CertificateDer::pem_reader_iter(opened) {
        let certificate = certificate.map_err(|error| unreadable(error.into()))?;
        roots.add(certificate).map_err(|error| unreadable(error.into()))?;
    }
    if roots.is_empty() { Err(unreadable("it holds no certificate".into())) } else { Ok(roots) }
}

/// Verifies less than rustls does by itself; that the server has the key of its certificate is always verified.
#[derive(Debug)]
struct RelaxedVerifier {
    /// `verify-ca`: the chain is verified, the name is not. `None`: any certificate is accepted.
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for RelaxedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The name is checked last: the chain is valid.
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
