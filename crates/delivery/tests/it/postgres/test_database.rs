//! A database for one test, and queries that bypass the target.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Config, NoTls, SimpleQueryMessage};
use turnstile_delivery::postgres::{PostgresOptions, PostgresSettings, PostgresTarget};
use turnstile_testkit::Postgres;
use turnstile_values::duration;

/// One database. It stays until the server goes.
#[derive(Debug, Clone)]
pub(super) struct TestDatabase {
    pub(super) server: Postgres,
    pub(super) name: String,
}

impl TestDatabase {
    /// Makes a database on the shared server.
    pub(super) async fn new() -> Self {
        Self::on(turnstile_testkit::postgres()).await
    }

    /// Creates one on a server for this test.
    pub(super) async fn on(server: Postgres) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = Self { server, name: "postgres".into() };
        admin.sql(&format!("CREATE DATABASE {name}")).await;
        Self { name, ..admin }
    }

    /// The superuser's settings, with more keys or other values.
    pub(super) fn settings(&self, more: &[(&str, &str)]) -> PostgresSettings {
        self.settings_with_password(more, self.server.password)
    }

    pub(super) fn settings_with_password(&self, more: &[(&str, &str)], password: &str) -> PostgresSettings {
        let mut options = PostgresOptions {
            host: Some(self.server.host.clone()),
            port: Some(self.server.port),
            database: Some(self.name.clone()),
            user: Some(self.server.user.into()),
            ..PostgresOptions::default()
        };
        for (key, value) in more {
            let text = || Some((*value).to_owned());
            let time = || Some(duration::parse(value).unwrap());
            match *key {
                "host" => options.host = text(),
                "port" => options.port = Some(value.parse().unwrap()),
                "database" => options.database = text(),
                "user" => options.user = text(),
                "schema" => options.schema = text(),
                "adopt" => options.adopt = text(),
                "sslmode" => options.sslmode = Some(value.parse().unwrap()),
                "root_certificate" => options.root_certificate = Some(value.into()),
                "connect_timeout" => options.connect_timeout = time(),
                "statement_timeout" => options.statement_timeout = time(),
                "lock_timeout" => options.lock_timeout = time(),
                key => panic!("{key}"),
            }
        }
        PostgresSettings::new(options, |name| (name == "PGPASSWORD").then(|| password.to_owned())).unwrap()
    }

    pub(super) fn target(&self) -> PostgresTarget {
        PostgresTarget::new(self.settings(&[]))
    }

    /// Runs statements as the superuser; the rows of all of them, values as text joined by `|`.
    pub(super) async fn sql(&self, sql: &str) -> Vec<String> {
        self.try_sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}: {:?}", error.as_db_error()))
    }

    pub(super) async fn try_sql(&self, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host(&self.server.host).port(self.server.port).dbname(&self.name);
        config.user(self.server.user).password(self.server.password);
        let (client, connection) = config.connect(NoTls).await?;
        let connection = tokio::spawn(connection);
        let answer = client.simple_query(sql).await;
        drop(client);
        let _ = connection.await;
        let rows = answer?.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let text = |row: tokio_postgres::SimpleQueryRow| {
            let values = (0..row.len()).map(|nth| row.get(nth).unwrap_or("NULL").to_owned());
            values.collect::<Vec<_>>().join("|")
        };
        Ok(rows.map(text).collect())
    }
}
