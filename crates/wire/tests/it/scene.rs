//! A server on a free port, and clients for it.

use std::sync::Arc;

use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use turnstile_wire::{ServeSettings, WireServer};

use crate::tables::Tables;

pub(crate) struct Scene {
    pub(crate) server: WireServer,
    pub(crate) tables: Arc<Tables>,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ServeSettings)) -> Self {
        let mut settings = ServeSettings { listen: "127.0.0.1:0".parse().unwrap(), ..ServeSettings::default() };
        change(&mut settings);
        let tables = Arc::new(Tables::default());
        let database = Arc::clone(&tables) as Arc<dyn turnstile_wire::Database>;
        Self { server: WireServer::start(database, settings).await.unwrap(), tables }
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.address().port()
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port()).user("reader").dbname("turnstile");
        config
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&self.config()).await.unwrap()
    }
}

pub(crate) async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The error that the server sent.
pub(crate) fn server_error<T>(outcome: Result<T, tokio_postgres::Error>) -> DbError {
    match outcome {
        Ok(_) => panic!("no error"),
        Err(error) => error.as_db_error().unwrap_or_else(|| panic!("not from the server: {error:?}")).clone(),
    }
}

/// The first column of the first row, as text, by the simple protocol.
pub(crate) async fn text(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    row.unwrap_or_else(|| panic!("no rows: {sql}"))
}
