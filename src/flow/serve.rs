//! The warehouse behind the PostgreSQL wire.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use turnstile_pipeline::Pipeline;
use turnstile_warehouse::Warehouse;
use turnstile_wire::{Credentials, DataFusionError, Database, Password, ServeSettings, Server, TlsFiles, WireError};

use crate::exit::Exit;
use crate::report::Failure;

/// The environment variable that holds the password of the PostgreSQL port.
pub(crate) const PASSWORD: &str = "TURNSTILE_WAREHOUSE_PASSWORD";

/// The user whose password that is.
pub(crate) const USER: &str = "turnstile";

struct Served(Warehouse);

impl Database for Served {
    fn session(&self) -> BoxFuture<'_, Result<turnstile_wire::SessionContext, DataFusionError>> {
        async { self.0.session().await.map_err(|error| DataFusionError::External(Box::new(error))) }.boxed()
    }
}

/// Lets PostgreSQL clients ask `warehouse` at `listen`. Without `tls` the pipeline's files of certificate and key are taken.
pub(crate) async fn serve(
    pipeline: &Pipeline,
    warehouse: Warehouse,
    listen: SocketAddr,
    tls: Option<(PathBuf, PathBuf)>,
) -> anyhow::Result<Server> {
    let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty());
    let usual = ServeSettings::default();
    let settings = pipeline.warehouse.as_ref();
    let configured = settings.and_then(|settings| settings.tls.as_ref());
    let tls = tls.or_else(|| configured.map(|(certificate, key)| (certificate.into(), key.into())));
    let settings = ServeSettings {
        listen,
        credentials: password.map(|p| Credentials { user: USER.to_owned(), password: Password::new(p) }),
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        statement_timeout: warehouse.limits().statement_timeout,
        max_rows: settings.and_then(|settings| settings.max_rows),
        max_connections: settings
            .and_then(|settings| settings.max_connections)
            .map_or(usual.max_connections, |most| most as usize),
        ..usual
    };
    Server::start(Arc::new(Served(warehouse)), settings).await.map_err(wire_failed)
}

fn wire_failed(error: WireError) -> anyhow::Error {
    let fact = error.to_string();
    let hint = format!("the password comes from {PASSWORD}, for the user {USER}; another address: --listen");
    let failure = Failure::new(Exit::Config, fact).hint(hint);
    match std::error::Error::source(&error).map(ToString::to_string) {
        Some(cause) => failure.cause(anyhow::anyhow!(cause)).into(),
        None => failure.into(),
    }
}

/// An address such as `127.0.0.1:5433`.
pub(crate) fn address(text: &str) -> anyhow::Result<SocketAddr> {
    text.parse().map_err(|_| {
        Failure::new(Exit::Config, format!("{text:?} is no address to listen at"))
            .hint("write an IP address and a port: 127.0.0.1:5433")
            .into()
    })
}
