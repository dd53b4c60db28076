//! Addresses of the shared servers, handed down in environment variables.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::servers::PrefectHome;

/// The names of the variables: the contract between `cargo xtask test` and this crate.
pub mod var {
    /// Bootstrap servers of the shared Apache Kafka broker, `host:port`.
    pub const KAFKA: &str = "TURNSTILE_TEST_KAFKA";
    /// The folder with Kafka's jars and the formatted template, see [`crate::servers::KafkaHome`].
    pub const KAFKA_HOME: &str = "TURNSTILE_TEST_KAFKA_HOME";
    /// URL of the S3 server.
    pub const S3: &str = "TURNSTILE_TEST_S3";
    /// URL of the Google Cloud Storage server (JSON API).
    pub const GCS: &str = "TURNSTILE_TEST_GCS";
    /// URL of the Azure Blob server.
    pub const AZURE: &str = "TURNSTILE_TEST_AZURE";
    /// The same URL under the name that `object_store` reads when it uses the emulator.
    pub const AZURITE_BLOB_STORAGE_URL: &str = "AZURITE_BLOB_STORAGE_URL";
    /// URL of the schema registry, as Confluent's clients take it.
    pub const REGISTRY: &str = "TURNSTILE_TEST_REGISTRY";
    /// URL of the emulator of BigQuery.
    pub const BIGQUERY: &str = "TURNSTILE_TEST_BIGQUERY";
    /// The folder that stands for Cloud Storage before that emulator: `gs://bucket/x` is `bucket/x` in it.
    pub const BIGQUERY_STORAGE: &str = "TURNSTILE_TEST_BIGQUERY_STORAGE";
    /// A Python interpreter that has confluent-kafka and psycopg.
    pub const PYTHON: &str = "TURNSTILE_TEST_PYTHON";
    /// A Python interpreter beside which hadolint and ShellCheck lie, and that has Docker Compose as a package.
    pub const CHECKERS: &str = "TURNSTILE_TEST_CHECKERS";
    /// A Python interpreter that has pyspark, with Spark itself.
    pub const SPARK: &str = "TURNSTILE_TEST_SPARK";
    /// The folder with the jars of Spark's Kafka source.
    pub const SPARK_JARS: &str = "TURNSTILE_TEST_SPARK_JARS";
    /// A Python interpreter that has prometheus-client, openlineage-python and opentelemetry-proto.
    pub const TELEMETRY: &str = "TURNSTILE_TEST_TELEMETRY";
    /// Prometheus' checker of rules.
    pub const PROMTOOL: &str = "TURNSTILE_TEST_PROMTOOL";
    /// The Chromium that opens the console's pages.
    pub const BROWSER: &str = "TURNSTILE_TEST_BROWSER";
    /// The folder in which Node finds puppeteer-core, which drives that browser, and axe-core.
    pub const BROWSER_MODULES: &str = "TURNSTILE_TEST_BROWSER_MODULES";
    /// The jar of PostgreSQL's JDBC driver.
    pub const JDBC: &str = "TURNSTILE_TEST_JDBC";
    /// URL of the Prefect server's API, with `/api`.
    pub const PREFECT: &str = "TURNSTILE_TEST_PREFECT";
    /// A Python interpreter that has Prefect.
    pub const PREFECT_PYTHON: &str = "TURNSTILE_TEST_PREFECT_PYTHON";
    /// Port of the PostgreSQL server on 127.0.0.1.
    pub const POSTGRES: &str = "TURNSTILE_TEST_POSTGRES";
    /// The folder with that server's certificates.
    pub const POSTGRES_CERTIFICATES: &str = "TURNSTILE_TEST_POSTGRES_CERTIFICATES";
}

/// The bucket or container that exists on every object store.
pub(crate) const BUCKET: &str = "lake";
/// The S3 server's access key.
pub(crate) const S3_ACCESS_KEY: &str = "test";
/// The S3 server's secret key.
pub(crate) const S3_SECRET_KEY: &str = "testtest";

/// The PostgreSQL server's superuser.
pub(crate) const POSTGRES_USER: &str = "turnstile";
/// The superuser's password.
pub(crate) const POSTGRES_PASSWORD: &str = "turnstile-pw";

/// The shared S3 server. Path-style addresses, plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// The region to sign for.
    pub region: &'static str,
    /// A bucket that exists.
    pub bucket: &'static str,
    /// The access key id.
    pub access_key: &'static str,
    /// The secret key.
    pub secret_key: &'static str,
}

/// The shared Google Cloud Storage server: its JSON API only. No authentication, plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gcs {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// A bucket that exists.
    pub bucket: &'static str,
}

/// The shared Azure Blob server. Account and key are the emulator's well-known ones, plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Azure {
    /// `http://127.0.0.1:PORT`, without the account.
    pub endpoint: String,
    /// The account's name.
    pub account: &'static str,
    /// The account's key, base64.
    pub key: &'static str,
    /// A container that exists.
    pub container: &'static str,
}

/// A PostgreSQL server: passwords by SCRAM, TLS for those who ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// Always loopback.
    pub host: String,
    /// The port.
    pub port: u16,
    /// A superuser; its own database is `postgres`.
    pub user: &'static str,
    /// The superuser's password.
    pub password: &'static str,
    /// The authority that signed the server's certificate (for 127.0.0.1 and localhost), PEM.
    pub authority: PathBuf,
    /// Another authority, that did not.
    pub other_authority: PathBuf,
}

/// The shared emulator of BigQuery. No authentication, plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigQuery {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// The project to ask in.
    pub project: &'static str,
    /// The folder that stands for Cloud Storage.
    pub storage: PathBuf,
}

/// The emulator's project.
pub(crate) const BIGQUERY_PROJECT: &str = "test";

/// The emulator's account, the same on every installation.
/// Source: Microsoft's documentation of Azurite, "well-known storage account and key".
pub(crate) const AZURE_ACCOUNT: &str = "devstoreaccount1";
/// The key of [`AZURE_ACCOUNT`]; public, and good for nothing but the emulator.
pub(crate) const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Bootstrap servers of the shared broker, `host:port`.
///
/// # Panics
/// When the variable is not set: the test was not run by `cargo xtask test`.
pub fn kafka() -> String {
    text(var::KAFKA)
}

/// The shared S3 server.
///
/// # Panics
/// As [`kafka`].
pub fn s3() -> S3 {
    S3 {
        endpoint: text(var::S3),
        region: "us-east-1",
        bucket: BUCKET,
        access_key: S3_ACCESS_KEY,
        secret_key: S3_SECRET_KEY,
    }
}

/// The shared Google Cloud Storage server.
///
/// # Panics
/// As [`kafka`].
pub fn gcs() -> Gcs {
    Gcs { endpoint: text(var::GCS), bucket: BUCKET }
}

/// The shared Azure Blob server.
///
/// # Panics
/// As [`kafka`].
pub fn azure() -> Azure {
    Azure { endpoint: text(var::AZURE), account: AZURE_ACCOUNT, key: AZURE_KEY, container: BUCKET }
}

/// The shared PostgreSQL server. Each test creates its own database.
///
/// # Panics
/// As [`kafka`].
pub fn postgres() -> Postgres {
    let certificates = PathBuf::from(text(var::POSTGRES_CERTIFICATES));
    let port = text(var::POSTGRES);
    Postgres {
        host: "127.0.0.1".into(),
        port: port.parse().unwrap_or_else(|_| panic!("{} is not a port: {port}", var::POSTGRES)),
        user: POSTGRES_USER,
        password: POSTGRES_PASSWORD,
        authority: certificates.join("ca.pem"),
        other_authority: certificates.join("other-ca.pem"),
    }
}

/// The shared emulator of BigQuery.
///
/// # Panics
/// As [`kafka`].
pub fn bigquery() -> BigQuery {
    let storage = text(var::BIGQUERY_STORAGE).into();
    BigQuery { endpoint: text(var::BIGQUERY), project: BIGQUERY_PROJECT, storage }
}

/// URL of the shared schema registry, as Confluent's clients take it.
///
/// # Panics
/// As [`kafka`].
pub fn registry() -> String {
    text(var::REGISTRY)
}

/// URL of the shared Prefect server's API, with `/api`. It asks for no key.
///
/// # Panics
/// As [`kafka`].
pub fn prefect() -> String {
    text(var::PREFECT)
}

/// Where Prefect is installed, for a test that kills its server or gives it a password.
///
/// # Panics
/// As [`kafka`].
pub fn prefect_home() -> PrefectHome {
    PrefectHome::at(&PathBuf::from(text(var::PREFECT_PYTHON)))
}

/// A Python interpreter that has confluent-kafka.
///
/// # Panics
/// As [`kafka`].
pub fn python() -> PathBuf {
    text(var::PYTHON).into()
}

/// A Python interpreter beside which hadolint and ShellCheck lie, and that has Docker Compose as a package.
///
/// # Panics
/// As [`kafka`].
pub fn checkers() -> PathBuf {
    text(var::CHECKERS).into()
}

/// A Python interpreter that has pyspark, with Spark itself.
///
/// # Panics
/// As [`kafka`].
pub fn spark() -> PathBuf {
    text(var::SPARK).into()
}

/// The folder with the jars of Spark's Kafka source.
///
/// # Panics
/// As [`kafka`].
pub fn spark_jars() -> PathBuf {
    text(var::SPARK_JARS).into()
}

/// A Python interpreter that has prometheus-client, openlineage-python and opentelemetry-proto.
///
/// # Panics
/// As [`kafka`].
pub fn telemetry() -> PathBuf {
    text(var::TELEMETRY).into()
}

/// Prometheus' checker of rules.
///
/// # Panics
/// As [`kafka`].
pub fn promtool() -> PathBuf {
    text(var::PROMTOOL).into()
}

/// The Chromium that opens the console's pages.
///
/// # Panics
/// As [`kafka`].
pub fn browser() -> PathBuf {
    text(var::BROWSER).into()
}

/// The folder in which Node finds puppeteer-core, which drives that browser, and axe-core, which judges pages.
///
/// # Panics
/// As [`kafka`].
pub fn browser_modules() -> PathBuf {
    text(var::BROWSER_MODULES).into()
}

/// The jar of PostgreSQL's JDBC driver.
///
/// # Panics
/// As [`kafka`].
pub fn jdbc() -> PathBuf {
    text(var::JDBC).into()
}

pub(crate) fn text(name: &str) -> String {
    match required(name, std::env::var_os(name)) {
        Ok(value) => value,
        // A test without its server has not passed: it fails, and names the command to run.
        Err(fault) => panic!("{fault}"),
    }
}

fn required(name: &str, value: Option<OsString>) -> Result<String, String> {
    let value = value.filter(|v| !v.is_empty()).ok_or(format!("{name} is not set: run `cargo xtask test`"))?;
    value.into_string().map_err(|v| format!("{name} is not UTF-8: {v:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_names_its_variable_and_the_command() {
        let fault = required(var::KAFKA, None).unwrap_err();
        assert_eq!(fault, "TURNSTILE_TEST_KAFKA is not set: run `cargo xtask test`");
        assert_eq!(required(var::KAFKA, Some("".into())), Err(fault));
    }

    #[test]
    fn a_given_address_is_passed_on_as_it_is() {
        assert_eq!(required(var::S3, Some("http://127.0.0.1:9".into())), Ok("http://127.0.0.1:9".into()));
    }
}
