//! One connection: TLS where it is set, then HTTP/1.1 with a limit on every wait.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::settings::ConsoleLimits;
use crate::stall_guard::StallGuard;

/// Bytes of a request's line and headers at most; more are answered 431.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// Headers of a request at most.
const MAX_HEADERS: usize = 64;

/// What a connection is served with.
#[derive(Clone)]
pub(crate) struct ConnectionHandler {
    pub(crate) router: Router,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) limits: ConsoleLimits,
    pub(crate) stop: CancellationToken,
}

impl ConnectionHandler {
    /// Serves `stream` until its client leaves, a limit is passed, or the console stops.
    pub(crate) async fn serve(self, stream: TcpStream) {
        // An answer is often one small write; waiting to fill a packet only delays it.
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.tls.clone() else { return self.serve_http(stream).await };
        let handshake = TlsAcceptor::from(tls).accept(stream);
        if let Ok(Ok(stream)) = tokio::time::timeout(self.limits.header_timeout, handshake).await {
            self.serve_http(stream).await;
        }
    }

    async fn serve_http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let router = self.router;
        let service = service_fn(move |request: Request<Incoming>| router.clone().call(request));
        let io = TokioIo::new(StallGuard::new(stream, self.limits.write_timeout));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(MAX_HEADER_BYTES)
            .max_headers(MAX_HEADERS)
            .serve_connection(io, service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the console ended");
        }
    }
}
