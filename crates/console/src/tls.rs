//! Certificate and key from PEM files, read once at the start.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use turnstile_values::BoxError;

use crate::start_error::ConsoleStartError;

/// The server's side of TLS, for [`ConsoleSettings::tls`](crate::ConsoleSettings::tls), from a certificate chain and its
/// key.
///
/// # Errors
/// `Tls`, with the file at fault.
pub fn server_tls(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, ConsoleStartError> {
    let fault = |path: &Path, source: BoxError| ConsoleStartError::Tls { path: path.to_owned(), source };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(certificate, error.into()))?;
    if chain.is_empty() {
        return Err(fault(certificate, "there is no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, error.into()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(certificate, error.into()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| fault(key, error.into()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
