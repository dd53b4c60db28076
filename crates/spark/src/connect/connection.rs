//! One HTTP/2 connection to the server, opened when it is first needed and again after it ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tower_service::Service;
use turnstile_values::BoxError;

use crate::address::SparkAddress;
use crate::error::SparkError;

/// Where to connect, and the connection.
pub(super) struct Connection {
    pub(super) remote: SparkAddress,
    pub(super) origin: Uri,
    limit: Duration,
    tls: Option<TlsConnector>,
    open: Mutex<Option<SendRequest<Body>>>,
}

impl Connection {
    /// Does not connect yet.
    pub(super) fn new(remote: SparkAddress, limit: Duration) -> Result<Self, SparkError> {
        let scheme = if remote.tls { "https" } else { "http" };
        let origin = format!("{scheme}://{}", remote.authority()).parse();
        let origin = origin.map_err(|error: http::uri::InvalidUri| unreachable(&remote, error))?;
        let tls = if remote.tls { Some(tls(&remote)?) } else { None };
        Ok(Self { remote, origin, limit, tls, open: Mutex::new(None) })
    }

    /// The open connection; a new one, if there is none or it ended.
    pub(super) async fn channel(&self) -> Result<Channel, SparkError> {
        let mut open = self.open.lock().await;
        if let Some(sender) = open.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Channel(sender.clone()));
        }
        let connecting = tokio::time::timeout(self.limit, self.connect());
        let sender = match connecting.await {
            Ok(connected) => connected?,
            Err(_) => return Err(SparkError::Silent { server: self.remote.to_string(), after: self.limit }),
        };
        *open = Some(sender.clone());
        Ok(Channel(sender))
    }

    async fn connect(&self) -> Result<SendRequest<Body>, SparkError> {
        let remote = &self.remote;
        let tcp = TcpStream::connect((remote.host.as_str(), remote.port)).await;
        let tcp = tcp.map_err(|error| unreachable(remote, error))?;
        // Without it, a small request waits for the acknowledgement of the one before.
        tcp.set_nodelay(true).map_err(|error| unreachable(remote, error))?;
        match &self.tls {
            None => self.shake_hands(TokioIo::new(tcp)).await,
            Some(tls) => {
                let name = ServerName::try_from(remote.host.clone()).map_err(|error| unreachable(remote, error))?;
                let stream = tls.connect(name, tcp).await.map_err(|error| unreachable(remote, error))?;
                self.shake_hands(TokioIo::new(stream)).await
            }
        }
    }

    async fn shake_hands<T>(&self, io: T) -> Result<SendRequest<Body>, SparkError>
    where
        T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, driver) = handshake(TokioExecutor::new(), io).await.map_err(|e| unreachable(&self.remote, e))?;
        let server = self.remote.to_string();
        tokio::spawn(async move {
            // Calls in flight report the same; the next one connects again.
            if let Err(error) = driver.await {
                tracing::debug!(server, %error, "the connection to Spark Connect ended");
            }
        });
        Ok(sender)
    }
}

fn unreachable(remote: &SparkAddress, why: impl Into<BoxError>) -> SparkError {
    SparkError::Unreachable { server: remote.to_string(), why: why.into() }
}

/// TLS that trusts the authorities that the system trusts; `SSL_CERT_FILE` names others.
fn tls(remote: &SparkAddress) -> Result<TlsConnector, SparkError> {
    let wrong = |why: BoxError| SparkError::Tls { server: remote.to_string(), why };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(wrong("there is no authority to trust; name a file of certificates by SSL_CERT_FILE".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.map_err(|error| wrong(error.into()))?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection as tonic uses it.
pub(super) struct Channel(SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
