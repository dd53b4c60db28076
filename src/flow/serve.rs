//! The warehouse behind the PostgreSQL wire.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use turnstile_warehouse::Warehouse;
use turnstile_wire::{
    DataFusionError, Database, ServeSettings, TlsFiles, WireCredentials, WireError, WirePassword, WireServer,
};

use super::context::Context;
use crate::exit::Exit;
use crate::report::Failure;

/// The environment variable that holds the password of the PostgreSQL port.
pub(crate) const PASSWORD: &str = "TURNSTILE_WAREHOUSE_PASSWORD";

/// The user whose password that is.
pub(crate) const USER: &str = "turnstile";

/// Where PostgreSQL clients connect when nothing says where.
pub(crate) const LISTEN: &str = "127.0.0.1:5433";

struct Served(Warehouse);

impl Database for Served {
    fn session(&self) -> BoxFuture<'_, Result<turnstile_wire::SessionContext, DataFusionError>> {
        async { self.0.session().await.map_err(|error| DataFusionError::External(Box::new(error))) }.boxed()
    }

    fn is_replaced(&self, error: &DataFusionError) -> bool {
        turnstile_warehouse::is_replaced(error)
    }
}

/// Lets PostgreSQL clients ask the context's warehouse at `listen`. Without `tls` the pipeline's files of certificate and
/// key are taken.
pub(crate) async fn serve(
    context: &Context,
    listen: SocketAddr,
    tls: Option<(PathBuf, PathBuf)>,
) -> anyhow::Result<WireServer> {
    let warehouse = context.warehouse().await?.clone();
    let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty());
    let usual = ServeSettings::default();
    let settings = context.pipeline().warehouse.as_ref();
    let configured = settings.and_then(|settings| settings.tls.as_ref());
    let tls = tls.or_else(|| configured.map(|(certificate, key)| (certificate.into(), key.into())));
    let settings = ServeSettings {
        listen,
        credentials: password.map(|p| WireCredentials { user: USER.to_owned(), password: WirePassword::new(p) }),
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        statement_timeout: warehouse.limits().statement_timeout,
        max_rows: settings.and_then(|settings| settings.max_rows),
        max_connections: settings
            .and_then(|settings| settings.max_connections)
            .map_or(usual.max_connections, |most| most as usize),
        ..usual
    };
    WireServer::start(Arc::new(Served(warehouse)), settings).await.map_err(wire_failed)
}

fn wire_failed(error: WireError) -> anyhow::Error {
    let hint = match &error {
        WireError::Settings { key: "listen" | "credentials", .. } => {
            format!("set a password in {PASSWORD}, for the user {USER}, or listen on 127.0.0.1: --listen")
        }
        WireError::Settings { key, .. } => format!("set [warehouse] {key} above 0"),
        WireError::Listen { .. } => "choose another address or port (--listen), or stop the process there".to_owned(),
        WireError::Tls { .. } => "give a certificate and its private key as PEM files".to_owned(),
        WireError::Catalog(_) => "this is a bug in turnstile; please report it".to_owned(),
    };
    Failure::of(Exit::Config, error).hint(hint).into()
}

/// An address such as `127.0.0.1:5433`.
pub(crate) fn address(text: &str) -> anyhow::Result<SocketAddr> {
    text.parse().map_err(|_| {
        Failure::new(Exit::Config, format!("{text:?} is not an address to listen on"))
            .hint("write an IP address and a port: 127.0.0.1:5433")
            .into()
    })
}
