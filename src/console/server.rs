//! Serves the console of a pipeline where its settings say.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use turnstile_console::data::ConsoleData;
use turnstile_console::{ConsoleLimits, ConsoleProbes, ConsoleServer, ConsoleSettings, ConsoleStartError, server_tls};
use turnstile_pipeline::ConsoleSection;
use turnstile_values::duration;

use crate::exit::Exit;
use crate::flow::{self, PortChoice, read_secret};
use crate::report::Failure;

/// Where browsers find it when nothing says where.
pub(crate) const LISTEN: &str = "127.0.0.1:8080";

/// Serves `data` as `given` and `choice` say; `None`: nothing says where.
///
/// # Errors
/// A setting is wrong, or the address cannot be used.
pub(crate) async fn serve(
    given: &ConsoleSection,
    data: Arc<dyn ConsoleData>,
    probes: ConsoleProbes,
    choice: PortChoice,
) -> anyhow::Result<Option<ConsoleServer>> {
    let configured = given.listen.as_deref().map(flow::address).transpose()?;
    let start = async |listen: SocketAddr| {
        let settings = settings(given, listen, probes.clone())?;
        ConsoleServer::start(settings, data.clone(), None).await.map_err(failed)
    };
    match (configured, choice) {
        (Some(listen), _) => start(listen).await.map(Some),
        (None, PortChoice::AsConfigured) => Ok(None),
        (None, PortChoice::Any) => match start(flow::address(LISTEN)?).await {
            Ok(server) => Ok(Some(server)),
            // Something else may be there.
            Err(_) => start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map(Some),
        },
    }
}

fn settings(given: &ConsoleSection, listen: SocketAddr, probes: ConsoleProbes) -> anyhow::Result<ConsoleSettings> {
    let token = given.token.as_ref().map(|source| read_secret(source, "a token for the console")).transpose()?;
    let tls = given.tls.as_ref().map(|(certificate, key)| server_tls(certificate.as_ref(), key.as_ref()));
    let tls = tls.transpose().map_err(failed)?;
    let usual = ConsoleLimits::default();
    let limits = ConsoleLimits {
        connections: given.max_connections as usize,
        live_streams: given.max_live_pages as usize,
        sql_timeout: duration::from_us(given.statement_timeout_us),
        sql_rows: given.max_rows as usize,
        ..usual
    };
    Ok(ConsoleSettings {
        listen,
        token,
        tls,
        behind_proxy: given.behind_proxy,
        proxy_user_header: given.user_header.clone(),
        allowed_hosts: given.hosts.clone(),
        limits,
        probes,
        ..ConsoleSettings::default()
    })
}

fn failed(error: ConsoleStartError) -> anyhow::Error {
    let hint = match &error {
        ConsoleStartError::Bind { .. } => "set [console] listen to another address, or stop the process there",
        _ => "",
    };
    Failure::of(Exit::Config, error).hint(hint).into()
}

/// How often a console looks at a ledger that another process writes.
pub(crate) const FOLLOW_EVERY: Duration = Duration::from_secs(1);
