//! Where a lake is: its URL, and the store behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use crate::lake_error::LakeError;

/// Settings of a store: `object_store`'s own keys, such as `aws_endpoint`, `aws_region`,
/// `google_service_account`, `azure_storage_account_name`, `allow_http`.
///
/// What is not set comes from the environment, by the same names in capitals. Values may be
/// credentials: `Debug` prints keys only.
#[derive(Clone, Default)]
pub struct StoreOptions(BTreeMap<String, String>);

impl StoreOptions {
    /// Sets one key.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for StoreOptions {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(settings: I) -> Self {
        Self(settings.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A lake's URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Local(PathBuf),
    Memory,
    S3 { bucket: String, prefix: String },
    Gcs { bucket: String, prefix: String },
    Azure { container: String, prefix: String },
}

impl Location {
    /// Takes `file:DIR`, `memory:`, `s3://BUCKET[/PREFIX]`, `gs://…`, `az://…` apart.
    pub(crate) fn parse(url: &str) -> Result<Self, LakeError> {
        let refuse = |reason| Err(LakeError::Url { url: url.to_owned(), reason });
        let Some((scheme, rest)) = url.split_once(':') else {
            return refuse("it has no scheme; a local folder is written file:DIR");
        };
        if scheme == "file" {
            let folder = rest.strip_prefix("//").unwrap_or(rest);
            if folder.is_empty() {
                return refuse("it names no folder");
            }
            return Ok(Self::Local(PathBuf::from(folder)));
        }
        if scheme == "memory" {
            return Ok(Self::Memory);
        }
        let Some(rest) = rest.strip_prefix("//") else { return refuse("after the scheme, // is missing") };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return refuse("it names no bucket");
        }
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_matches('/').to_owned());
        match scheme {
            "s3" => Ok(Self::S3 { bucket, prefix }),
            "gs" => Ok(Self::Gcs { bucket, prefix }),
            "az" => Ok(Self::Azure { container: bucket, prefix }),
            _ => refuse("the scheme must be file, s3, gs, az or memory"),
        }
    }

    /// The object store behind a location that is not a local folder.
    pub(crate) fn objects(&self, url: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>, LakeError> {
        match self {
            Self::Local(folder) => {
                let local = object_store::local::LocalFileSystem::new_with_prefix(folder);
                Ok(Arc::new(local.map_err(|e| settings(url, e))?))
            }
            Self::Memory => Ok(Arc::new(InMemory::new())),
            Self::S3 { bucket, prefix } => Ok(below(prefix, s3(url, bucket, options)?)),
            Self::Gcs { bucket, prefix } => Ok(below(prefix, gcs(url, bucket, options)?)),
            Self::Azure { container, prefix } => Ok(below(prefix, azure(url, container, options)?)),
        }
    }
}

fn below(prefix: &str, objects: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    if prefix.is_empty() { objects } else { Arc::new(PrefixStore::new(objects, Path::from(prefix))) }
}

fn settings(url: &str, source: object_store::Error) -> LakeError {
    LakeError::Settings { url: url.to_owned(), source }
}

/// The ledger sends a call again itself, so the client's own retries stay short: a commit that is
/// stuck for minutes inside the client could report it to no one.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn retry() -> object_store::RetryConfig {
    object_store::RetryConfig {
        max_retries: 4,
        retry_timeout: std::time::Duration::from_secs(20),
        ..object_store::RetryConfig::default()
    }
}

#[cfg(feature = "s3")]
fn s3(url: &str, bucket: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let mut builder = object_store::aws::AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry());
    for (key, value) in &options.0 {
        builder = builder.with_config(key.parse().map_err(|e| settings(url, e))?, value);
    }
    Ok(Arc::new(builder.build().map_err(|e| settings(url, e))?))
}

#[cfg(feature = "gcs")]
fn gcs(url: &str, bucket: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let mut builder =
        object_store::gcp::GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(retry());
    for (key, value) in &options.0 {
        builder = builder.with_config(key.parse().map_err(|e| settings(url, e))?, value);
    }
    Ok(Arc::new(builder.build().map_err(|e| settings(url, e))?))
}

#[cfg(feature = "azure")]
fn azure(url: &str, container: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let mut builder =
        object_store::azure::MicrosoftAzureBuilder::from_env().with_container_name(container).with_retry(retry());
    for (key, value) in &options.0 {
        builder = builder.with_config(key.parse().map_err(|e| settings(url, e))?, value);
    }
    Ok(Arc::new(builder.build().map_err(|e| settings(url, e))?))
}

#[cfg(not(feature = "s3"))]
fn s3(url: &str, _: &str, _: &StoreOptions) -> Result<Arc<dyn ObjectStore>, LakeError> {
    Err(LakeError::NotBuilt { url: url.to_owned(), feature: "s3" })
}

#[cfg(not(feature = "gcs"))]
fn gcs(url: &str, _: &str, _: &StoreOptions) -> Result<Arc<dyn ObjectStore>, LakeError> {
    Err(LakeError::NotBuilt { url: url.to_owned(), feature: "gcs" })
}

#[cfg(not(feature = "azure"))]
fn azure(url: &str, _: &str, _: &StoreOptions) -> Result<Arc<dyn ObjectStore>, LakeError> {
    Err(LakeError::NotBuilt { url: url.to_owned(), feature: "azure" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_url_is_understood() {
        let local = |folder: &str| Location::Local(PathBuf::from(folder));
        assert_eq!(Location::parse("file:./lake/turnstile").unwrap(), local("./lake/turnstile"));
        assert_eq!(Location::parse("file:///srv/lake").unwrap(), local("/srv/lake"));
        assert_eq!(Location::parse("memory:").unwrap(), Location::Memory);
        let s3 = Location::S3 { bucket: "b".into(), prefix: "a/c".into() };
        assert_eq!(Location::parse("s3://b/a/c/").unwrap(), s3);
        assert_eq!(Location::parse("gs://b").unwrap(), Location::Gcs { bucket: "b".into(), prefix: String::new() });
    }

    #[test]
    fn a_url_that_names_no_place_is_refused_with_the_reason() {
        for (url, reason) in [
            ("lake", "no scheme"),
            ("file:", "no folder"),
            ("s3:/b", "// is missing"),
            ("s3:///b", "no bucket"),
            ("ftp://b", "must be"),
        ] {
            let error = Location::parse(url).unwrap_err().to_string();
            assert!(error.contains(url) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn credentials_are_not_in_debug() {
        let options = StoreOptions::default().set("aws_secret_access_key", "hunter2");
        let text = format!("{options:?}");
        assert!(text.contains("aws_secret_access_key") && !text.contains("hunter2"), "{text}");
    }
}
