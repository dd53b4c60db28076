//! One connection: opened, asked with limits, and gone when it is dropped.
//!
//! A session is kept only after everything went well. Whatever fails in between, an abandoned future included, drops
//! it, and the server undoes what was not committed.

use std::error::Error;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, CopyInSink, Row};

use super::fault::{refused, sorted, unreachable};
use super::settings::{PostgresSettings, SslMode};
use super::tls::Tls;
use crate::TargetError;

/// How much longer than the server's own limit we wait for a server that says nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// How soon either side notices that the other's machine is gone: the first question, and the two after it.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

/// What the server may take for each sort or hash table: with its default of 4 MB it sorts on disk what fits in memory.
const WORK_MEM: &str = "64MB";

/// An open connection.
pub(super) struct Session {
    client: Client,
    connection: JoinHandle<()>,
    /// Why the connection ended, which the client itself is not told.
    ended: Arc<OnceLock<String>>,
    target: String,
    limit: Duration,
}

impl Drop for Session {
    fn drop(&mut self) {
        // A peer that has stopped reading would keep the task for ever.
        self.connection.abort();
    }
}

impl Session {
    /// Connects and logs in.
    pub(super) async fn open(settings: &PostgresSettings) -> Result<Self, TargetError> {
        let target = settings.to_string();
        let tell = |(fact, hint): (String, String)| refused(&target, fact, hint);
        let tls = Tls::of(settings).map_err(tell)?;
        let config = config(settings).map_err(tell)?;
        let connecting = timeout(settings.connect_timeout, config.connect(tls)).await;
        let silent =
            || unreachable(&target, format!("no login within {:?} (connect_timeout)", settings.connect_timeout));
        let opened = connecting.map_err(|_| silent())?;
        let (client, mut connection) = opened.map_err(|fault| sorted(&target, "connecting", fault))?;
        let ended = Arc::new(OnceLock::new());
        let note = Arc::clone(&ended);
        let connection = tokio::spawn(async move {
            // The client hears of the end when the connection is dropped: the reason is there by then.
            if let Err(fault) = (&mut connection).await {
                let _ = note.set(fault.source().map_or(fault.to_string(), ToString::to_string));
            }
        });
        Ok(Self { client, connection, ended, target, limit: settings.statement_timeout + SILENCE })
    }

    /// Whether the connection is known to have ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The server, for messages.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// Begins a transaction with the settings' limits; the user's own settings do not bend it.
    ///
    /// It is the first question to a connection that may have been idle for an hour: it has no longer than a login.
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
        let silent = |_| unreachable(&self.target, format!("no answer within {:?}", settings.connect_timeout));
        timeout(settings.connect_timeout, self.run(&begin, "beginning a transaction")).await.map_err(silent)?
    }

    /// Runs statements without parameters.
    pub(super) async fn run(&self, sql: &str, doing: &str) -> Result<(), TargetError> {
        self.within(doing, self.client.batch_execute(sql)).await
    }

    /// Runs one statement and returns its rows.
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        doing: &str,
    ) -> Result<Vec<Row>, TargetError> {
        self.within(doing, self.client.query_typed(sql, parameters)).await
    }

    /// Runs one statement and returns how many rows it touched.
    pub(super) async fn execute(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        doing: &str,
    ) -> Result<u64, TargetError> {
        self.within(doing, self.client.execute_typed(sql, parameters)).await
    }

    /// Begins a COPY into the server.
    pub(super) async fn copy_in(&self, sql: &str, doing: &str) -> Result<CopyInSink<Bytes>, TargetError> {
        self.within(doing, self.client.copy_in(sql)).await
    }

    /// Waits for an answer, but not for ever: a server whose machine froze sends nothing, and no error either.
    pub(super) async fn within<T>(
        &self,
        doing: &str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, TargetError> {
        match timeout(self.limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(fault)) if fault.is_closed() => {
                let why = self.ended.get().map_or("the connection was closed", String::as_str);
                Err(unreachable(&self.target, format!("{doing}: {why}")))
            }
            Ok(Err(fault)) => Err(sorted(&self.target, doing, fault)),
            Err(_) => Err(unreachable(&self.target, format!("{doing}: no answer within {:?}", self.limit))),
        }
    }
}

fn config(settings: &PostgresSettings) -> Result<Config, (String, String)> {
    let mut config = Config::new();
    config.host(&settings.host).port(settings.port).dbname(&settings.database).user(&settings.user);
    config.application_name(&settings.application_name).connect_timeout(settings.connect_timeout);
    config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL).keepalives_retries(KEEPALIVE_COUNT);
    config.tcp_user_timeout(KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_COUNT);
    config.ssl_mode(match settings.sslmode {
        // Nobody can listen on a socket of this machine, and servers speak no TLS there.
        _ if settings.is_local_socket() => tokio_postgres::config::SslMode::Disable,
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
    });
    if let Some(secret) = settings.password.read(settings)? {
        config.password(secret.reveal());
    }
    Ok(config)
}
