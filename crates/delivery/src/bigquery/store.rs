//! Cloud Storage: the files that BigQuery loads, and the list of an external table's files.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};

use super::BigQuerySettings;
use super::credentials::Tokens;
use crate::error::{TargetError, TargetSettingsError};

/// Objects below one `gs://` URL.
#[derive(Debug, Clone)]
pub(super) struct BucketStore {
    objects: Arc<dyn ObjectStore>,
    bucket: String,
    prefix: String,
    target: String,
}

impl BucketStore {
    /// Parses `gs://BUCKET[/PREFIX]` and creates a client for the bucket.
    pub(super) fn open(
        settings: &BigQuerySettings,
        url: &str,
        tokens: &Arc<Tokens>,
    ) -> Result<Self, TargetSettingsError> {
        let Some((bucket, prefix)) = split(url) else {
            let reason = format!("{url} does not have the form gs://BUCKET/PREFIX");
            return Err(TargetSettingsError::new("stage", reason, "BigQuery loads from Cloud Storage"));
        };
        let unusable = |source: object_store::Error| {
            let error =
                TargetSettingsError::new("stage", format!("{url} cannot be used"), "check the URL and the credentials");
            error.caused_by(source)
        };
        let objects: Arc<dyn ObjectStore> = match &settings.storage_root {
            Some(root) => {
                let folder = root.join(bucket);
                std::fs::create_dir_all(&folder)
                    .and_then(|()| folder.canonicalize())
                    .map_err(|error| {
                        let reason = format!("the folder {} cannot be used", folder.display());
                        TargetSettingsError::new("storage_root", reason, "name a folder that can be written")
                            .caused_by(error)
                    })
                    .and_then(|folder| LocalFileSystem::new_with_prefix(folder).map_err(unusable))
                    .map(Arc::new)?
            }
            None => {
                let retry =
                    RetryConfig { retry_timeout: Duration::from_secs(settings.retry_secs), ..RetryConfig::default() };
                let tokens = Arc::clone(tokens) as Arc<dyn object_store::CredentialProvider<Credential = _>>;
                let builder = GoogleCloudStorageBuilder::new().with_bucket_name(bucket).with_retry(retry);
                Arc::new(builder.with_credentials(tokens).build().map_err(unusable)?)
            }
        };
        Ok(Self { objects, bucket: bucket.to_owned(), prefix: prefix.to_owned(), target: settings.name() })
    }

    /// The address of an object.
    pub(super) fn url(&self, name: &str) -> String {
        format!("gs://{}/{}", self.bucket, self.path(name))
    }

    /// Writes an object and replaces an older one of that name atomically.
    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), TargetError> {
        match self.objects.put(&self.path(name), bytes.into()).await {
            Ok(_) => Ok(()),
            Err(source) => Err(self.error(name, source)),
        }
    }

    /// Deletes an object, if it exists.
    pub(super) async fn delete(&self, name: &str) -> Result<(), object_store::Error> {
        match self.objects.delete(&self.path(name)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    fn path(&self, name: &str) -> Path {
        let separator = if self.prefix.is_empty() { "" } else { "/" };
        Path::from(format!("{}{separator}{name}", self.prefix))
    }

    fn error(&self, name: &str, source: object_store::Error) -> TargetError {
        use object_store::Error;
        match source {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::NotFound { .. } => {
                TargetError::Refused {
                    target: self.target.clone(),
                    reason: format!("{} was not written", self.url(name)),
                    hint: "the bucket must exist, and the account needs roles/storage.objectUser on it".into(),
                    source: Some(Box::new(source)),
                }
            }
            other => TargetError::Unreachable { target: self.url(name), source: Box::new(other) },
        }
    }
}

/// Bucket and prefix of a `gs://` URL.
pub(super) fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("gs://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let prefix = prefix.trim_matches('/');
    let valid = !bucket.is_empty() && bucket.chars().all(plain) && !bucket.starts_with('.') && !prefix.contains('*');
    valid.then_some((bucket, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_bucket_and_a_prefix() {
        assert_eq!(split("gs://b/x/y/"), Some(("b", "x/y")));
        assert_eq!(split("gs://b"), Some(("b", "")));
        for wrong in ["s3://b/x", "gs://", "gs:///x", "gs://../x", "gs://b/*"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
