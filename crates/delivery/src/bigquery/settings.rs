//! Where BigQuery is, the credentials, and the limits on memory and waiting.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::credentials::BigQueryCredentials;
use super::error::refused;
use crate::TargetError;

/// The public API.
const PUBLIC: &str = "https://bigquery.googleapis.com";
/// Parts of a resumable upload are multiples of this. Source: Google's guide "Upload data", resumable uploads.
const UPLOAD_UNIT: usize = 256 << 10;
/// The wait before the first retry; doubled for each further one.
const RETRY_WAIT_MS: u64 = 500;

/// How BigQuery is reached. `Debug` shows no secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BigQuerySettings {
    /// The project that owns the dataset and pays for the jobs.
    pub project: String,
    /// The dataset; created when it is missing.
    pub dataset: String,
    /// Where the dataset lies and jobs run, such as `US`, `EU`, `europe-west3`. A bucket to load from must be there too.
    #[serde(default = "location")]
    pub location: String,
    /// The API's address. An address other than the public one must be `https:` or on loopback.
    #[serde(default = "endpoint")]
    pub endpoint: String,
    /// The credentials: `"default"`, `"none"`, `{ file = "…" }`, `{ json = "…" }`, `{ prefect_block = "TYPE/NAME" }`.
    #[serde(default)]
    pub credentials: BigQueryCredentials,
    /// `gs://BUCKET/PREFIX` that Parquet files are written to before BigQuery loads them. Without it they are uploaded.
    #[serde(default)]
    pub stage: Option<String>,
    /// A folder used instead of Cloud Storage: `gs://BUCKET/X` is `FOLDER/BUCKET/X`. For an emulator on this machine;
    /// refused with the public endpoint.
    #[serde(default)]
    pub storage_root: Option<PathBuf>,
    /// The warehouse whose rows, if the dataset holds them, are replaced by this one's.
    #[serde(default)]
    pub adopt: Option<String>,
    /// Bytes of one Parquet file; about twice as much memory is used while it is written. Default 64 MiB.
    #[serde(default = "part_bytes")]
    pub part_bytes: usize,
    /// Uploads up to this many bytes go as one request, larger ones in chunks. Default 5 MB.
    #[serde(default = "multipart_bytes")]
    pub multipart_bytes: usize,
    /// Bytes of one chunk of a larger upload, a multiple of 262,144. Default 8 MiB.
    #[serde(default = "upload_bytes")]
    pub upload_bytes: usize,
    /// Hours until BigQuery removes a staging table that a crash left behind. Default 24.
    #[serde(default = "stage_hours")]
    pub stage_hours: u32,
    /// Seconds that one request may take. Default 60.
    #[serde(default = "request_secs")]
    pub request_secs: u64,
    /// Seconds for which a transient failure is retried before the delivery is postponed. Default 30.
    #[serde(default = "retry_secs")]
    pub retry_secs: u64,
    /// Milliseconds before the first retry; doubled each time. Default 500.
    #[serde(default = "retry_wait_ms")]
    pub retry_wait_ms: u64,
    /// Seconds for which a job is awaited. It goes on afterwards, and the next attempt of the same delivery finds it. Default 600.
    #[serde(default = "job_secs")]
    pub job_secs: u64,
}

fn location() -> String {
    "US".to_owned()
}
fn endpoint() -> String {
    PUBLIC.to_owned()
}
fn part_bytes() -> usize {
    64 << 20
}
fn multipart_bytes() -> usize {
    5_000_000
}
fn upload_bytes() -> usize {
    8 << 20
}
fn stage_hours() -> u32 {
    24
}
fn request_secs() -> u64 {
    60
}
fn retry_secs() -> u64 {
    30
}
fn retry_wait_ms() -> u64 {
    RETRY_WAIT_MS
}
fn job_secs() -> u64 {
    600
}

impl BigQuerySettings {
    /// The keys whose values are whole numbers; all others are text.
    pub const NUMBERS: [&str; 8] = [
        "part_bytes",
        "multipart_bytes",
        "upload_bytes",
        "stage_hours",
        "request_secs",
        "retry_secs",
        "retry_wait_ms",
        "job_secs",
    ];

    /// Settings with every default, for a project and a dataset.
    pub fn new(project: impl Into<String>, dataset: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            dataset: dataset.into(),
            location: location(),
            endpoint: endpoint(),
            credentials: BigQueryCredentials::default(),
            stage: None,
            storage_root: None,
            adopt: None,
            part_bytes: part_bytes(),
            multipart_bytes: multipart_bytes(),
            upload_bytes: upload_bytes(),
            stage_hours: stage_hours(),
            request_secs: request_secs(),
            retry_secs: retry_secs(),
            retry_wait_ms: retry_wait_ms(),
            job_secs: job_secs(),
        }
    }

    /// The target's name in messages, without secrets.
    pub(super) fn name(&self) -> String {
        format!("BigQuery {}.{}", self.project, self.dataset)
    }

    pub(super) fn request_time(&self) -> Duration {
        Duration::from_secs(self.request_secs)
    }

    /// Refuses settings that cannot work.
    pub(super) fn check(&self) -> Result<(), TargetError> {
        let wrong = |key: &str, why: &str| Err(refused(&self.name(), format!("{key} {why}"), format!("set {key}")));
        if !self.project.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c)) || self.project.is_empty() {
            return wrong("project", "is not a project id");
        }
        if !self.dataset.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || self.dataset.is_empty() {
            return wrong("dataset", "may hold letters, digits and underscores only");
        }
        // A bearer token is as good as a password to anybody who intercepts it.
        if !matches!(self.credentials, BigQueryCredentials::None) && !is_private(&self.endpoint) {
            return wrong("endpoint", "is neither https nor on loopback, and credentials would be sent to it");
        }
        if self.storage_root.is_some() && self.endpoint == PUBLIC {
            return wrong("storage_root", "is for an emulator, and the endpoint is the public one");
        }
        if self.upload_bytes == 0 || !self.upload_bytes.is_multiple_of(UPLOAD_UNIT) {
            return wrong("upload_bytes", "is not a multiple of 262144");
        }
        if self.part_bytes == 0 || self.stage_hours == 0 || self.retry_wait_ms == 0 {
            return wrong("part_bytes, stage_hours or retry_wait_ms", "is 0");
        }
        Ok(())
    }
}

/// Whether a connection there is private: encrypted, or on this machine.
pub(super) fn is_private(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let loopback = match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<BigQuerySettings, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = read(r#"{"project":"p","dataset":"d","datset":"x"}"#).unwrap_err().to_string();
        assert!(error.contains("datset"), "{error}");
    }

    #[test]
    fn a_key_given_as_text_is_not_shown() {
        let settings = read(r#"{"project":"p","dataset":"d","credentials":{"json":"hunter2"}}"#).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn a_token_is_sent_over_https_or_not_at_all() {
        let mut settings = BigQuerySettings::new("p", "d");
        settings.check().unwrap();
        settings.endpoint = "http://bigquery.example.com".into();
        assert!(settings.check().unwrap_err().to_string().contains("endpoint"));
        settings.credentials = BigQueryCredentials::None;
        settings.check().unwrap();
        assert!(is_private("http://127.0.0.1:9050") && !is_private("http://127.0.0.1.example.com"));
    }

    #[test]
    fn a_folder_instead_of_cloud_storage_is_refused_with_the_public_endpoint() {
        let settings = BigQuerySettings { storage_root: Some("x".into()), ..BigQuerySettings::new("p", "d") };
        assert!(settings.check().unwrap_err().to_string().contains("storage_root"));
    }
}
