//! What every verb that talks to a cluster needs: which cluster, when to stop, and what an error means for the caller.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use kafka::{ClientSettings, ReadError};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit::Exit;
use crate::flow;
pub(crate) use crate::flow::client as client_failure;
use crate::report::Failure;

/// Which cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Java-style properties file of the Kafka client; may be left out when --bootstrap is given
    #[arg(long, value_name = "FILE", default_value = kafka::DEFAULT_PROPERTIES)]
    config: PathBuf,
    /// Broker addresses; they win over the file's, and without --config no file is read
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    /// Give up when no broker has answered for this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = kafka::DEFAULT_CONNECT_TIMEOUT.as_secs())]
    connect_timeout: u64,
}

impl ClusterArgs {
    /// The client's settings. Waiting for a broker ends when `stop` is set.
    pub(crate) fn settings(&self, stop: &Arc<AtomicBool>) -> anyhow::Result<ClientSettings> {
        let is_default = self.config.as_os_str() == kafka::DEFAULT_PROPERTIES;
        let settings = match &self.bootstrap {
            Some(servers) if is_default => ClientSettings::from_servers(servers),
            Some(servers) => ClientSettings::from_properties(&self.config)
                .and_then(|settings| settings.with("bootstrap.servers", servers, "--bootstrap")),
            None => ClientSettings::from_properties(&self.config),
        };
        let settings = settings.map_err(|error| {
            Failure::new(Exit::Config, error.to_string())
                .hint("name a properties file with --config, or a broker with --bootstrap")
        })?;
        Ok(settings.with_connect_timeout(Duration::from_secs(self.connect_timeout)).with_stop(stop.clone()))
    }
}

/// A second signal within this time of the first is taken for the same one: shells and supervisors often
/// signal a process and its group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// A flag that SIGINT and SIGTERM set; a later second signal ends the process at once.
pub(crate) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let armed = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, armed.clone())
            .context("signal handler")?;
        signal_hook::flag::register(signal, stop.clone()).context("signal handler")?;
    }
    let stopped = stop.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            std::thread::sleep(SAME_SIGNAL / 10);
        }
        std::thread::sleep(SAME_SIGNAL);
        armed.store(true, Ordering::Relaxed);
    })?;
    Ok(stop)
}

/// What an error of reading means where a person chose the position.
pub(crate) fn read_failure(error: ReadError) -> anyhow::Error {
    match error {
        ReadError::OffsetOutOfRange { .. } => Failure::new(Exit::SourceData, error.to_string())
            .hint("records were deleted or the topic was created anew; choose where to begin with --from")
            .into(),
        other => flow::read_failed(other),
    }
}
