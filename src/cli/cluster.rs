//! What every verb that talks to a cluster needs: which cluster, and how to report its errors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turnstile_kafka::{ClientSettings, ReadError, SettingsError};

use crate::exit::Exit;
use crate::flow;
pub(crate) use crate::flow::client as client_failure;
use crate::report::Failure;

/// Which cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Java-style properties file of the Kafka client; if the default file does not exist, the broker is localhost:9092
    #[arg(long, value_name = "FILE", default_value = turnstile_kafka::DEFAULT_PROPERTIES)]
    config: PathBuf,
    /// Broker addresses; they override the file's, and without --config no file is read
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    /// Give up when no broker has answered for this many seconds [default: 30; of `lag`, for a pipeline: 5]
    #[arg(long, value_name = "SECONDS")]
    connect_timeout: Option<u64>,
}

impl ClusterArgs {
    /// The client's settings. Waiting for a broker ends at shutdown.
    pub(crate) fn settings(&self, shutdown: &CancellationToken) -> anyhow::Result<ClientSettings> {
        let settings = self.merged().map_err(|error| client_failure(error.into()))?;
        Ok(settings.with_connect_timeout(self.connect_timeout()).with_shutdown(shutdown.clone()))
    }

    /// The file's settings, overridden by those of the environment, overridden by the arguments'.
    fn merged(&self) -> Result<ClientSettings, SettingsError> {
        let environment = ClientSettings::from_environment()?;
        let (file, servers) = self.location_with(&environment);
        let settings = match file {
            Some(file) => ClientSettings::from_properties(file)?.over(environment),
            None => environment,
        };
        match servers {
            Some(servers) => settings.with("bootstrap.servers", &servers, "--bootstrap"),
            None => Ok(settings),
        }
    }

    /// The properties file to read, and the brokers that override the file's and the environment's.
    pub(crate) fn location(&self) -> anyhow::Result<(Option<&Path>, Option<String>)> {
        let environment = ClientSettings::from_environment().map_err(|error| client_failure(error.into()))?;
        Ok(self.location_with(&environment))
    }

    /// The default file is read only if nothing else names a broker. If it does not exist either, the local broker is used,
    /// with a message.
    fn location_with(&self, environment: &ClientSettings) -> (Option<&Path>, Option<String>) {
        let is_default = self.config.as_os_str() == turnstile_kafka::DEFAULT_PROPERTIES;
        match &self.bootstrap {
            Some(servers) => ((!is_default).then_some(self.config.as_path()), Some(servers.clone())),
            None if is_default && !environment.servers().is_empty() => (None, None),
            None if is_default && !exists(&self.config) => {
                eprintln!("{} does not exist: using the broker at {LOCAL_BROKER}", turnstile_kafka::DEFAULT_PROPERTIES);
                (None, Some(LOCAL_BROKER.to_owned()))
            }
            None => (Some(&self.config), None),
        }
    }

    /// Whether the arguments say which cluster.
    pub(crate) fn is_named(&self) -> bool {
        self.bootstrap.is_some() || self.config.as_os_str() != turnstile_kafka::DEFAULT_PROPERTIES
    }

    /// How long to wait for a broker.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout_or(turnstile_kafka::DEFAULT_CONNECT_TIMEOUT)
    }

    /// The same, where a verb has its own default.
    pub(crate) fn connect_timeout_or(&self, default: Duration) -> Duration {
        self.connect_timeout.map_or(default, Duration::from_secs)
    }
}

/// The broker when nothing names one: where a Kafka with default settings listens.
const LOCAL_BROKER: &str = "localhost:9092";

/// Whether a file exists; one that cannot be read does, and reading it reports the error.
fn exists(file: &Path) -> bool {
    let file = match (file.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => file.to_owned(),
    };
    file.symlink_metadata().is_ok()
}

/// What a read error means when the start position was chosen on the command line.
pub(crate) fn read_failure(error: ReadError) -> anyhow::Error {
    match error {
        ReadError::OffsetOutOfRange { .. } => Failure::of(Exit::SourceData, error)
            .hint("records were deleted or the topic was recreated; choose where to start with --from")
            .into(),
        other => flow::read_failed(other),
    }
}
