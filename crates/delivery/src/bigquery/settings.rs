//! Where BigQuery is, the credentials, and the limits on memory and waiting.

use std::path::PathBuf;
use std::time::Duration;

use turnstile_values::Secret;

use crate::error::TargetSettingsError;

/// The public API.
const PUBLIC: &str = "https://bigquery.googleapis.com";
/// Chunks of a resumable upload are multiples of this. Source: Google's guide "Upload data", resumable uploads.
const UPLOAD_UNIT: usize = 256 << 10;

/// How BigQuery is reached. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct BigQuerySettings {
    /// The project that owns the dataset and pays for the jobs.
    pub project: String,
    /// The dataset; created when it is missing.
    pub dataset: String,
    /// Where the dataset lies and jobs run, such as `US`, `EU`, `europe-west3`. A bucket to load from must be there too.
    pub location: String,
    /// The API's address. An address other than the public one must be `https:` or on loopback.
    pub endpoint: String,
    /// The credentials: `"default"`, `"none"`, `{ file = "…" }`, `{ json = "…" }`, `{ prefect_block = "TYPE/NAME" }`.
    pub credentials: BigQueryCredentials,
    /// `gs://BUCKET/PREFIX` that Parquet files are written to before BigQuery loads them. Without it they are uploaded.
    pub stage: Option<String>,
    /// A folder used instead of Cloud Storage: `gs://BUCKET/X` is `FOLDER/BUCKET/X`. For an emulator on this machine;
    /// refused with the public endpoint.
    pub storage_root: Option<PathBuf>,
    /// The warehouse whose rows, if the dataset holds them, are replaced by this one's.
    pub adopt: Option<String>,
    /// Bytes of one Parquet file; about twice as much memory is used while it is written. Default 64 MiB.
    pub part_bytes: usize,
    /// Uploads up to this many bytes go as one request, larger ones in chunks. Default 5 MB.
    pub multipart_bytes: usize,
    /// Bytes of one chunk of a larger upload, a multiple of 262,144. Default 8 MiB.
    pub upload_bytes: usize,
    /// Hours until BigQuery removes a staging table that a crash left behind. Default 24.
    pub stage_hours: u32,
    /// Seconds that one request may take. Default 60.
    pub request_secs: u64,
    /// Seconds for which a transient failure is retried before the delivery is postponed. Default 30.
    pub retry_secs: u64,
    /// Milliseconds before the first retry; doubled each time. Default 500.
    pub retry_wait_ms: u64,
    /// Seconds for which a job is awaited. It keeps running afterwards, and the next attempt of the same delivery
    /// finds it. Default 600.
    pub job_secs: u64,
}

/// Which credentials are used.
#[derive(Debug, Clone, Default)]
pub enum BigQueryCredentials {
    /// Google's application default credentials: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, the one that
    /// `gcloud` stored, the metadata server of the machine (which also serves workload identity on GKE).
    #[default]
    Default,
    /// No credentials: for an emulator.
    None,
    /// A file: a service account's key, a user's own credentials, an external account (workload identity).
    File(PathBuf),
    /// The text of such a file, of a service account or an external account.
    Json(Secret),
    /// `gcp-credentials/NAME` or `gcs-bucket/NAME`: a block of the Prefect server that `PREFECT_API_URL` and
    /// `PREFECT_API_KEY` in the environment name.
    PrefectBlock(String),
}

impl BigQuerySettings {
    /// Settings with every default, for a project and a dataset.
    pub fn new(project: impl Into<String>, dataset: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            dataset: dataset.into(),
            location: "US".to_owned(),
            endpoint: PUBLIC.to_owned(),
            credentials: BigQueryCredentials::default(),
            stage: None,
            storage_root: None,
            adopt: None,
            part_bytes: 64 << 20,
            multipart_bytes: 5_000_000,
            upload_bytes: 8 << 20,
            stage_hours: 24,
            request_secs: 60,
            retry_secs: 30,
            retry_wait_ms: 500,
            job_secs: 600,
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
    pub(super) fn check(&self) -> Result<(), TargetSettingsError> {
        let wrong = |key, reason: &str, hint: &str| Err(TargetSettingsError::new(key, reason, hint));
        if !self.project.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c)) || self.project.is_empty() {
            return wrong("project", "it is not a project id", "write the id of a project, such as \"my-project-1\"");
        }
        if !self.dataset.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || self.dataset.is_empty() {
            return wrong("dataset", "it is not the name of a dataset", "use letters, digits and underscores only");
        }
        // A bearer token is as good as a password to anybody who intercepts it.
        if !matches!(self.credentials, BigQueryCredentials::None) && !is_private(&self.endpoint) {
            let reason = "it is neither https nor on loopback, and credentials would be sent to it";
            return wrong("endpoint", reason, "use https, or credentials = \"none\" for an emulator");
        }
        if self.storage_root.is_some() && self.endpoint == PUBLIC {
            return wrong("storage_root", "it is for an emulator, and the endpoint is the public one", "set endpoint");
        }
        if self.upload_bytes == 0 || !self.upload_bytes.is_multiple_of(UPLOAD_UNIT) {
            return wrong("upload_bytes", "it is not a multiple of 262144", "for example 8388608");
        }
        for (key, is_zero) in [
            ("part_bytes", self.part_bytes == 0),
            ("stage_hours", self.stage_hours == 0),
            ("retry_wait_ms", self.retry_wait_ms == 0),
        ] {
            if is_zero {
                return wrong(key, "it is 0", "write a number from 1");
            }
        }
        Ok(())
    }
}

/// Whether a connection there is private: encrypted, or on this machine.
pub(super) fn is_private(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    turnstile_values::is_private(url.scheme(), url.host_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_over_https_or_not_at_all() {
        let mut settings = BigQuerySettings::new("p", "d");
        settings.check().unwrap();
        settings.endpoint = "http://bigquery.example.com".into();
        assert_eq!(settings.check().unwrap_err().key, "endpoint");
        settings.credentials = BigQueryCredentials::None;
        settings.check().unwrap();
        assert!(is_private("http://127.0.0.1:9050") && !is_private("http://127.0.0.1.example.com"));
    }

    #[test]
    fn a_folder_instead_of_cloud_storage_is_refused_with_the_public_endpoint() {
        let settings = BigQuerySettings { storage_root: Some("x".into()), ..BigQuerySettings::new("p", "d") };
        assert_eq!(settings.check().unwrap_err().key, "storage_root");
    }
}
