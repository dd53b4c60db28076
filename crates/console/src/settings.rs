//! What a console is started with, and whether that is safe.
//!
//! Defaults are safe: loopback, no names but those of this host. Start at [`ConsoleSettings`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::ServerConfig;
use turnstile_values::Secret;

use crate::start_error::ConsoleStartError;

/// Shortest token that is accepted, in bytes.
pub const MIN_TOKEN_BYTES: usize = 16;

/// What a console is started with.
#[derive(Clone)]
pub struct ConsoleSettings {
    /// Where it listens; port 0 takes a free one. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Whoever knows it may see everything and act. Required beyond loopback, unless a proxy names the user.
    pub token: Option<Secret>,
    /// Certificate and key. Required beyond loopback, unless a proxy ends TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// A proxy ends TLS in front of it; cookies are then for `https` only.
    pub behind_proxy: bool,
    /// The header in which the proxy names the user whom it has authenticated, such as `x-forwarded-user`. Requests
    /// without it are refused. The proxy must remove the header from what comes from outside. Needs `behind_proxy`.
    pub proxy_user_header: Option<String>,
    /// Names and addresses, without a port, that a request may give as its host, besides `localhost` and the address that
    /// it listens on. A name that a page elsewhere resolves to this host is thereby refused (DNS rebinding).
    pub allowed_hosts: Vec<String>,
    /// Bounds.
    pub limits: ConsoleLimits,
    /// What `/metrics`, `/healthz` and `/readyz` answer.
    pub probes: ConsoleProbes,
    /// The wall clock: microseconds since the epoch, UTC. For tests.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// Bounds of a console.
#[derive(Debug, Clone, Copy)]
pub struct ConsoleLimits {
    /// Connections at once; further ones wait in the kernel's queue. Default 1,024.
    pub connections: usize,
    /// Live streams at once; further ones are answered 503, and the page tries again. Default 256.
    pub live_streams: usize,
    /// Different pages that are rendered live at once; further ones are answered 503. Default 64.
    pub live_pages: usize,
    /// Bytes of a request's body. Default 64 KiB.
    pub body_bytes: usize,
    /// How long a connection may take to send a request's headers, and how long it may be idle between requests.
    /// Default 10 seconds.
    pub header_timeout: Duration,
    /// How long a request may take, the reading of its body included. SQL has its own. Default 30 seconds.
    pub request_timeout: Duration,
    /// How long a client may leave an answer unread. Default 30 seconds.
    pub write_timeout: Duration,
    /// How long a query may take. Default 30 seconds.
    pub sql_timeout: Duration,
    /// Rows of a query that a page shows. Default 1,000.
    pub sql_rows: usize,
    /// Rows of a query that are downloaded as CSV, and of a chart's query. Default 100,000.
    pub csv_rows: usize,
    /// Bytes of a query's result. Default 16 MiB.
    pub sql_bytes: usize,
    /// Queries that run at once; further ones wait. Default 4.
    pub sql_queries: usize,
    /// How long a stop waits for requests in progress. Default 5 seconds.
    pub stop_timeout: Duration,
}

impl Default for ConsoleLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            live_streams: 256,
            live_pages: 64,
            body_bytes: 64 << 10,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            sql_timeout: Duration::from_secs(30),
            sql_rows: 1_000,
            csv_rows: 100_000,
            sql_bytes: 16 << 20,
            sql_queries: 4,
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// What machines ask: metrics, and whether the process lives and is ready.
#[derive(Clone)]
pub struct ConsoleProbes {
    /// The text of `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Its content type. Default: OpenMetrics 1.0.
    pub metrics_content_type: &'static str,
    /// Whether the process works; the error says why not, in one line.
    pub health: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Whether it reads; the error says why not, in one line.
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Default for ConsoleProbes {
    fn default() -> Self {
        Self {
            metrics: Arc::new(|| "# EOF\n".to_owned()),
            metrics_content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            health: Arc::new(|| Ok(())),
            ready: Arc::new(|| Ok(())),
        }
    }
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            token: None,
            tls: None,
            behind_proxy: false,
            proxy_user_header: None,
            allowed_hosts: Vec::new(),
            limits: ConsoleLimits::default(),
            probes: ConsoleProbes::default(),
            clock: Arc::new(wall_clock_us),
        }
    }
}

impl ConsoleSettings {
    /// Refuses what would show the pipeline to a network.
    ///
    /// # Errors
    /// `Exposed`: beyond loopback without a token, or without TLS. `Setting`: a setting that cannot be meant.
    pub fn check(&self) -> Result<(), ConsoleStartError> {
        let setting = |key, fact: &str| Err(ConsoleStartError::Setting { key, fact: fact.to_owned() });
        if self.token.as_ref().is_some_and(|token| token.expose().len() < MIN_TOKEN_BYTES) {
            return setting("token", "is shorter than 16 characters, which can be guessed");
        }
        match &self.proxy_user_header {
            Some(_) if !self.behind_proxy => {
                return setting("user_header", "needs behind_proxy = true: without a proxy anyone can send it");
            }
            Some(name) if axum::http::HeaderName::try_from(name.as_str()).is_err() => {
                return setting("user_header", "is not the name of an HTTP header");
            }
            _ => {}
        }
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        let missing = match (self.is_guarded(), self.tls.is_some() || self.behind_proxy) {
            (true, true) => return Ok(()),
            (false, true) => "a token",
            (true, false) => "TLS",
            (false, false) => "a token and TLS",
        };
        Err(ConsoleStartError::Exposed { address: self.listen, missing })
    }

    /// Requests have to prove who sends them.
    fn is_guarded(&self) -> bool {
        self.token.is_some() || self.proxy_user_header.is_some()
    }

    /// Browsers reach it by `https`.
    pub(crate) fn is_https(&self) -> bool {
        self.tls.is_some() || self.behind_proxy
    }
}

fn wall_clock_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
