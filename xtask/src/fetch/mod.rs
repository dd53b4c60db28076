//! Fetches the test servers by package name into `<target>/servers`.
//!
//! Each has a folder whose name holds its version, and a stamp written last: a folder without the stamp
//! was left by an interrupted fetch and is fetched again. A second run does not use the network.

mod azurite;
mod bigquery;
mod go;
mod jdbc;
mod kafka;
pub(crate) mod python;
mod registry;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
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
    pub(crate) spark: PathBuf,
    pub(crate) registry: PathBuf,
    pub(crate) jdbc: PathBuf,
    pub(crate) bigquery: BigQueryHome,
}

/// Fetches what is missing. What mostly waits for a network goes beside what mostly computes.
pub(crate) fn all() -> Result<Fetched> {
    let _lock = place::lock()?;
    std::thread::scope(|scope| {
        let computing = scope.spawn(|| -> Result<_> { Ok((go::versitygw()?, go::fake_gcs_server()?)) });
        let python = python::tests()?;
        let checkers = python::checkers()?;
        let spark = python::spark()?;
        let bigquery = bigquery::emulator()?;
        let kafka_dir = kafka::home()?;
        let registry = registry::runner()?;
        let jdbc = jdbc::driver()?;
        let azurite = azurite::installed()?;
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
            spark,
            registry,
            jdbc,
            bigquery,
        })
    })
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

/// One thing to fetch.
struct FetchStep<'a> {
    /// What it is, for people.
    what: &'a str,
    /// The client that fetches it, for people.
    by: &'a str,
    /// Its folder's name, with the version.
    folder: String,
}

impl FetchStep<'_> {
    /// Returns the folder, after filling it with `fill(folder, log)` if that was not done before.
    fn once(&self, fill: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
        let dir = place::servers().join(&self.folder);
        let stamp = dir.join("complete");
        if stamp.exists() {
            return Ok(dir);
        }
        println!("xtask: fetching {} by {} into {} …", self.what, self.by, dir.display());
        let begin = Instant::now();
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot clear {}", dir.display()))?;
        }
        fs::create_dir_all(&dir)?;
        let logs = place::servers().join("logs");
        fs::create_dir_all(&logs)?;
        let log = logs.join(format!("fetch-{}.log", self.folder));
        // The log of the last try is enough.
        let _ = fs::remove_file(&log);
        fill(&dir, &log).with_context(|| format!("{} was not fetched", self.what))?;
        fs::write(&stamp, "")?;
        println!("xtask: fetched {} in {} s", self.what, begin.elapsed().as_secs());
        Ok(dir)
    }
}
