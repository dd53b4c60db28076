//! One connection: opened, used with timeouts, closed when it is dropped.
//!
//! A session is cached only after success. Any failure, also a dropped future, drops it, and the server rolls back what was
//! not committed.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, CopyInSink, Row};
use turnstile_values::{BoxError, caused};

use super::error::{PgError, classify, unreachable};
use super::options::SslMode;
use super::settings::PostgresSettings;
use super::tls;
use crate::error::{TargetError, TargetSettingsError};

/// How much longer than the server's own timeout we wait for a silent server.
const RESPONSE_MARGIN: Duration = Duration::from_secs(10);
/// How soon either side notices that the other's machine is gone: the first keepalive probe, and the next ones.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

/// Memory of the server for each sort or hash table: its default of 4 MB makes it sort on disk what fits in memory.
const WORK_MEM: &str = "64MB";

/// An open connection.
pub(super) struct PgSession {
    client: Client,
    connection: JoinHandle<()>,
    /// Why the connection ended, which the client does not know.
    ended: Arc<OnceLock<Arc<PgError>>>,
    target: String,
    limit: Duration,
}

impl Drop for PgSession {
    fn drop(&mut self) {
        // A peer that has stopped reading would block the task for ever.
        self.connection.abort();
    }
}

impl PgSession {
    /// Connects and logs in.
    pub(super) async fn open(settings: &PostgresSettings) -> Result<Self, TargetError> {
        let target = settings.to_string();
        let refuse = |error: TargetSettingsError| error.into_refusal(&target);
        let tls = tls::connector(settings).map_err(refuse)?;
        let config = config(settings).map_err(refuse)?;
        let connecting = timeout(settings.connect_timeout, config.connect(tls)).await;
        let timed_out =
            || unreachable(&target, format!("no login within {:?} (connect_timeout)", settings.connect_timeout));
        let opened = connecting.map_err(|_| timed_out())?;
        let (client, mut connection) = opened.map_err(|error| classify(&target, "connecting", error))?;
        let ended = Arc::new(OnceLock::new());
        let note = Arc::clone(&ended);
        let connection = tokio::spawn(async move {
            // The client notices the end when the connection is dropped: the reason is set by then.
            if let Err(error) = (&mut connection).await {
                let _ = note.set(Arc::new(PgError(error)));
            }
        });
        Ok(Self { client, connection, ended, target, limit: settings.statement_timeout + RESPONSE_MARGIN })
    }

    /// Whether the connection is known to have ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The server, for messages.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// Begins a transaction with the settings' timeouts; the user's server-side settings do not affect it.
    ///
    /// It is the first statement on a connection that may have been idle for an hour: its timeout is that of a login.
    pub(super) async fn begin(&self, settings: &PostgresSettings) -> Result<(), TargetError> {
        let statement = settings.statement_timeout.as_millis();
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
             SET LOCAL search_path = pg_catalog, pg_temp; \
             SET LOCAL client_min_messages = warning; \
             SET LOCAL work_mem = '{WORK_MEM}'; \
             SET LOCAL statement_timeout = {statement}; \
             SET LOCAL idle_in_transaction_session_timeout = {statement}; \
             SET LOCAL lock_timeout = {}; \
             SET LOCAL tcp_keepalives_idle = {}; \
             SET LOCAL tcp_keepalives_interval = {}; \
             SET LOCAL tcp_keepalives_count = {KEEPALIVE_COUNT}",
            settings.lock_timeout.as_millis(),
            KEEPALIVE_IDLE.as_secs(),
            KEEPALIVE_INTERVAL.as_secs(),
        );
        let timed_out = |_| unreachable(&self.target, format!("no response within {:?}", settings.connect_timeout));
        timeout(settings.connect_timeout, self.execute_batch(&begin, "beginning a transaction"))
            .await
            .map_err(timed_out)?
    }

    /// Runs statements without parameters.
    pub(super) async fn execute_batch(&self, sql: &str, action: &str) -> Result<(), TargetError> {
        self.with_timeout(action, self.client.batch_execute(sql)).await
    }

    /// Runs one statement and returns its rows.
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        action: &str,
    ) -> Result<Vec<Row>, TargetError> {
        self.with_timeout(action, self.client.query_typed(sql, parameters)).await
    }

    /// Runs one statement and returns how many rows it affected.
    pub(super) async fn execute(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        action: &str,
    ) -> Result<u64, TargetError> {
        self.with_timeout(action, self.client.execute_typed(sql, parameters)).await
    }

    /// Begins a COPY into the server.
    pub(super) async fn copy_in(&self, sql: &str, action: &str) -> Result<CopyInSink<Bytes>, TargetError> {
        self.with_timeout(action, self.client.copy_in(sql)).await
    }

    /// Waits for a response with a timeout: a server whose machine froze sends neither data nor an error.
    pub(super) async fn with_timeout<T>(
        &self,
        action: &str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, TargetError> {
        match timeout(self.limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_closed() => {
                let why: BoxError = match self.ended.get() {
                    Some(error) => Box::new(Arc::clone(error)),
                    None => "the connection was closed".into(),
                };
                Err(unreachable(&self.target, caused(action, why)))
            }
            Ok(Err(error)) => Err(classify(&self.target, action, error)),
            Err(_) => Err(unreachable(&self.target, format!("{action}: no response within {:?}", self.limit))),
        }
    }
}

fn config(settings: &PostgresSettings) -> Result<Config, TargetSettingsError> {
    let mut config = Config::new();
    config.host(&settings.host).port(settings.port).dbname(&settings.database).user(&settings.user);
    config.application_name(&settings.application_name).connect_timeout(settings.connect_timeout);
    config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL).keepalives_retries(KEEPALIVE_COUNT);
    config.tcp_user_timeout(KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_COUNT);
    config.ssl_mode(match settings.sslmode {
        // A local socket cannot be intercepted, and servers offer no TLS there.
        _ if settings.is_local_socket() => tokio_postgres::config::SslMode::Disable,
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
    });
    if let Some(secret) = settings.password.read(settings)? {
        config.password(secret.expose());
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::ChannelBinding;
    use turnstile_values::Secret;

    use super::super::options::PostgresOptions;
    use super::*;

    #[tokio::test]
    #[ignore = "needs servers: cargo xtask test"]
    async fn a_login_over_tls_can_be_bound_to_the_channel() {
        let server = turnstile_testkit::postgres();
        let url = format!("postgres://{}@{}:{}/postgres", server.user, server.host, server.port);
        let options = PostgresOptions { url: Some(Secret::new(url)), ..PostgresOptions::default() };
        let environment = |name: &str| (name == "PGPASSWORD").then(|| server.password.to_owned());
        for (sslmode, is_bound) in [(SslMode::Require, true), (SslMode::Disable, false)] {
            let options = PostgresOptions { sslmode: Some(sslmode), ..options.clone() };
            let settings = PostgresSettings::new(options, environment).unwrap();
            let mut config = config(&settings).unwrap();
            config.channel_binding(ChannelBinding::Require);
            let connected = config.connect(tls::connector(&settings).unwrap()).await;
            assert_eq!(connected.is_ok(), is_bound, "{sslmode:?}: {:?}", connected.err());
        }
    }
}
