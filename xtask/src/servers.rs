//! The shared test servers: started together, described by the variables that tests read.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use turnstile_testkit::servers::{
    BigQueryEmulator, HttpServer, KafkaConfig, KafkaServer, PostgresServer, PrefectHome, PrefectServer, RegistryServer,
    start_azurite, start_fake_gcs, start_versity,
};
use turnstile_testkit::var;

use crate::fetch::{self, Fetched};
use crate::{debian, place};

/// Enough for the tests of all rooms at once; the small default serves one test.
const KAFKA_HEAP_MB: u32 = 256;

/// All shared servers. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Servers {
    kafka: KafkaServer,
    s3: HttpServer,
    gcs: HttpServer,
    azure: HttpServer,
    registry: RegistryServer,
    postgres: PostgresServer,
    bigquery: BigQueryEmulator,
    prefect: PrefectServer,
    variables: Vec<(&'static str, String)>,
}

impl Servers {
    /// Starts every server on a free loopback port; their files go to `dir`.
    ///
    /// # Errors
    /// When one does not come up: the others are stopped again.
    pub(crate) fn start(fetched: &Fetched, dir: &Path) -> Result<Self> {
        let begin = Instant::now();
        println!(
            "xtask: starting Kafka, versitygw, fake-gcs-server, azurite, bqemulator, Apicurio Registry, Prefect and PostgreSQL on loopback …"
        );
        let folder = |name: &str| -> Result<_> {
            let folder = dir.join(name);
            fs::create_dir_all(&folder)?;
            Ok(folder)
        };
        let (kafka_dir, azure_dir, prefect_dir) = (folder("kafka")?, folder("azurite")?, folder("prefect")?);
        let config = KafkaConfig::default().heap_mb(KAFKA_HEAP_MB).data(kafka_dir);
        let (kafka, azure, prefect) = std::thread::scope(|scope| {
            let azure = scope.spawn(|| start_azurite(&fetched.azurite, &azure_dir));
            let prefect = scope.spawn(|| PrefectServer::start(&PrefectHome::at(&fetched.prefect), &prefect_dir));
            let kafka = KafkaServer::start(&fetched.kafka, config);
            (kafka, joined(azure), joined(prefect))
        });
        let (kafka, azure, prefect) = (kafka?, azure?, prefect?);
        let registry = RegistryServer::start(&fetched.registry, &folder("apicurio")?)?;
        let bigquery = BigQueryEmulator::start(&fetched.bigquery, &folder("bqemulator")?)?;
        let s3 = start_versity(&fetched.versitygw, &folder("versitygw")?)?;
        let gcs = start_fake_gcs(&fetched.fake_gcs_server, &folder("fake-gcs-server")?)?;
        let postgres = PostgresServer::start()?;
        println!("xtask: servers ready in {:.1} s; their logs are in {}", begin.elapsed().as_secs_f32(), dir.display());
        let variables = vec![
            (var::KAFKA, kafka.bootstrap()),
            (var::KAFKA_HOME, fetched.kafka_dir.display().to_string()),
            (var::S3, s3.endpoint()),
            (var::GCS, gcs.endpoint()),
            (var::AZURE, azure.endpoint()),
            (var::AZURITE_BLOB_STORAGE_URL, azure.endpoint()),
            (var::REGISTRY, registry.url()),
            (var::BIGQUERY, bigquery.server().endpoint()),
            (var::BIGQUERY_STORAGE, bigquery.storage().display().to_string()),
            (var::PREFECT, prefect.api()),
            (var::PREFECT_PYTHON, fetched.prefect.display().to_string()),
            (var::BROWSER, fetched.browser.display().to_string()),
            (var::BROWSER_MODULES, fetched.browser_modules.display().to_string()),
            (var::PYTHON, fetched.python.display().to_string()),
            (var::CHECKERS, fetched.checkers.display().to_string()),
            (var::TELEMETRY, fetched.telemetry.display().to_string()),
            (var::PROMTOOL, fetched.promtool.display().to_string()),
            (var::SPARK, fetched.spark.display().to_string()),
            (var::SPARK_JARS, fetched.spark_jars.display().to_string()),
            (var::JDBC, fetched.jdbc.display().to_string()),
            (var::POSTGRES, postgres.address().port.to_string()),
            (var::POSTGRES_CERTIFICATES, postgres.certificates_dir().display().to_string()),
        ];
        Ok(Self { kafka, s3, gcs, azure, registry, bigquery, postgres, prefect, variables })
    }

    /// The variables that tests read, see `testkit::var`.
    pub(crate) fn set_variables(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// Names the servers that ended unexpectedly, which explains failures of their tests.
    pub(crate) fn ended(&mut self) -> Vec<&'static str> {
        let servers = [
            ("Apache Kafka", self.kafka.process_mut()),
            ("versitygw", self.s3.process_mut()),
            ("fake-gcs-server", self.gcs.process_mut()),
            ("azurite", self.azure.process_mut()),
            ("Apicurio Registry", self.registry.server_mut().process_mut()),
            ("PostgreSQL", self.postgres.process_mut()),
            ("bqemulator", self.bigquery.server_mut().process_mut()),
            ("Prefect", self.prefect.process_mut()),
        ];
        servers.into_iter().filter_map(|(name, p)| (!p.is_running().unwrap_or(false)).then_some(name)).collect()
    }
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The `servers` chore: starts them and keeps them until the terminal says stop.
pub(crate) fn run(fetch_only: bool) -> Result<bool> {
    debian::install_missing(true)?;
    let fetched = fetch::all()?;
    if fetch_only {
        return Ok(true);
    }
    let scratch = place::scratch()?;
    let servers = Servers::start(&fetched, scratch.path())?;
    for (name, value) in &servers.variables {
        println!("export {name}={value}");
    }
    eprintln!("running until Ctrl-C, or the end of input (Ctrl-D)");
    // Ctrl-C ends this process at once; the servers' guards see that and end the servers.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(true)
}
