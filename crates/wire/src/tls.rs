//! Certificate and key, read once at the start.
//!
//! In: PEM files. Out: what accepts TLS connections. Start at [`ServerTls::load`].

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::WireError;
use crate::settings::TlsFiles;

/// The ALPN protocol of a client that starts with TLS at once, as libpq 17 can (`sslnegotiation=direct`).
const POSTGRESQL_ALPN: &[u8] = b"postgresql";

/// A server's side of TLS.
pub(crate) struct ServerTls {
    pub(crate) acceptor: TlsAcceptor,
    /// Lets SCRAM bind a login to this certificate.
    pub(crate) certificate_pem: Vec<u8>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// `Tls`, with the file at fault.
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, WireError> {
        let certificate_error = |source| tls_error(&files.certificate, source);
        let key_error = |source| tls_error(&files.key, source);
        let certificate_pem = fs::read(&files.certificate).map_err(|error| certificate_error(error.into()))?;
        let chain = CertificateDer::pem_slice_iter(&certificate_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| certificate_error(error.into()))?;
        if chain.is_empty() {
            return Err(certificate_error("there is no certificate in it".into()));
        }
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| key_error(error.into()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| certificate_error(error.into()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| key_error(error.into()))?;
        config.alpn_protocols = vec![POSTGRESQL_ALPN.to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate_pem })
    }
}

fn tls_error(path: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> WireError {
    WireError::Tls { path: path.to_owned(), source }
}
