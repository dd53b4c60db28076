//! Fetches the test servers by package name into `<target>/servers`.
//!
//! Each has a folder whose name holds its version, and a stamp written last: a folder without the stamp
//! was left by an interrupted fetch and is fetched again. A second run does not use the network.

mod azurite;
mod bigquery;
mod browser;
mod go;
mod jdbc;
mod kafka;
mod maven;
mod promtool;
pub(crate) mod python;
mod registry;
mod spark;
mod step;

use std::path::PathBuf;

use anyhow::Result;
use turnstile_testkit::servers::{Azurite, BigQueryHome, KafkaHome};

use crate::place;

/// Everything that tests need, fetched.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) kafka: KafkaHome,
    pub(crate) kafka_dir: PathBuf,
    pub(crate) versitygw: PathBuf,
    pub(crate) fake_gcs_server: PathBuf,
    pub(crate) azurite: Azurite,
    pub(crate) python: PathBuf,
    pub(crate) checkers: PathBuf,
    pub(crate) telemetry: PathBuf,
    pub(crate) promtool: PathBuf,
    pub(crate) spark: PathBuf,
    pub(crate) spark_jars: PathBuf,
    pub(crate) registry: PathBuf,
    pub(crate) jdbc: PathBuf,
    pub(crate) bigquery: BigQueryHome,
    pub(crate) prefect: PathBuf,
    pub(crate) browser: PathBuf,
    pub(crate) browser_modules: PathBuf,
}

/// Fetches what is missing. What mostly waits for a network goes beside what mostly computes.
pub(crate) fn all() -> Result<Fetched> {
    let _lock = place::lock()?;
    std::thread::scope(|scope| {
        let computing = scope.spawn(|| -> Result<_> { Ok((go::versitygw()?, go::fake_gcs_server()?)) });
        let python = python::tests()?;
        let checkers = python::checkers()?;
        let telemetry = python::telemetry()?;
        let promtool = promtool::program()?;
        let (spark, spark_jars) = (python::spark()?, spark::kafka_jars()?);
        let bigquery = bigquery::emulator()?;
        let prefect = python::prefect()?;
        let kafka_dir = kafka::home()?;
        let registry = registry::runner()?;
        let jdbc = jdbc::driver()?;
        let azurite = azurite::installed()?;
        let (browser, browser_modules) = (browser::chromium()?, browser::modules()?);
        let (versitygw, fake_gcs_server) = join(computing)?;
        let kafka = KafkaHome::at(&kafka_dir);
        Ok(Fetched {
            kafka,
            kafka_dir,
            versitygw,
            fake_gcs_server,
            azurite,
            python,
            checkers,
            telemetry,
            promtool,
            spark,
            spark_jars,
            registry,
            jdbc,
            bigquery,
            prefect,
            browser,
            browser_modules,
        })
    })
}

/// Fetches Spark alone: the Python of an environment that has it, and the folder with the jars of its Kafka source.
pub(crate) fn spark() -> Result<(PathBuf, PathBuf)> {
    let _lock = place::lock()?;
    Ok((python::spark()?, spark::kafka_jars()?))
}

/// Fetches Kafka alone: what benchmarks need.
pub(crate) fn kafka() -> Result<KafkaHome> {
    kafka_dir().map(KafkaHome::at)
}

/// The same, as the folder that tests and examples get.
pub(crate) fn kafka_dir() -> Result<PathBuf> {
    let _lock = place::lock()?;
    kafka::home()
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
