//! A pipeline's keys as settings of Kafka's client and of the lake.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turnstile_kafka::ClientSettings;
use turnstile_lake::{FileEncoding, StoreOptions};
use turnstile_pipeline::{FileFormat, Pipeline};

use super::fault::client;

/// Where the group's name comes from when none was given.
pub(crate) const GROUP_BY_NAME: &str = "the pipeline's name";

/// The Kafka client settings of a pipeline; `[source] kafka` wins over `[source] properties`.
pub(crate) fn client_settings(pipeline: &Pipeline, shutdown: &CancellationToken) -> anyhow::Result<ClientSettings> {
    let source = &pipeline.source;
    let origin = "[source] kafka";
    let wrong = |e: turnstile_kafka::SettingsError| client(e.into());
    let settings = match &source.properties {
        None => ClientSettings::from_map(source.kafka.clone(), origin).map_err(wrong)?,
        Some(file) => {
            let mut settings = ClientSettings::from_properties(file).map_err(wrong)?;
            for (key, value) in &source.kafka {
                settings = settings.with(key, value, origin).map_err(wrong)?;
            }
            settings
        }
    };
    // Lag tools know a consumer by its group; one that no file names is named as the pipeline.
    let settings = match settings.group() {
        Some(_) => settings,
        None => settings.with("group.id", &pipeline.name, GROUP_BY_NAME).map_err(wrong)?,
    };
    Ok(settings.with_shutdown(shutdown.clone()))
}

/// How long a store that refuses for now is asked again.
pub(crate) fn retry_for(pipeline: &Pipeline) -> Duration {
    Duration::from_micros(pipeline.lake.retry_for_us.max(0) as u64)
}

/// The store options of a pipeline's lake.
pub(crate) fn store_options(pipeline: &Pipeline) -> StoreOptions {
    pipeline.lake.options.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// The lake's word for a pipeline's file format.
pub(crate) fn file_format(pipeline: &Pipeline) -> FileEncoding {
    match pipeline.lake.format {
        FileFormat::CsvGz => FileEncoding::CsvGz,
        FileFormat::Parquet => FileEncoding::Parquet,
    }
}
