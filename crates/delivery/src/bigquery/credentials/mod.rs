//! Access tokens for BigQuery and Cloud Storage.
//!
//! In: where the credentials are. Out: a bearer token that is still valid.
//! `object_store` handles service accounts, users' own credentials and the metadata server; its tokens are for all of
//! Google Cloud. External accounts, which it lacks, are in [`external`], and a Prefect server's blocks in [`prefect`]. Start at [`Tokens::bearer`].

mod body;
mod external;
mod google;
mod prefect;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use parking_lot::RwLock;
use turnstile_values::BoxError;

use self::google::{TokenProvider, from_file, from_text, google_provider};
use self::prefect::PrefectCredentials;
use super::settings::BigQueryCredentials;
use crate::error::{TargetError, TargetSettingsError};

/// Where `gcloud auth application-default login` stores credentials, below the home folder.
const GCLOUD_FILE: &str = ".config/gcloud/application_default_credentials.json";
/// The variable that names a file of credentials.
const FILE_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// Provides tokens, and fetches a new one when the last one expires or was rejected.
pub(super) struct Tokens {
    credentials: BigQueryCredentials,
    target: String,
    /// Replaced as a whole by [`Tokens::refresh`]: a provider caches its token and cannot be made to drop it.
    provider: RwLock<Option<TokenProvider>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads the credentials; requests no token yet.
    pub(super) fn new(credentials: BigQueryCredentials, target: &str) -> Result<Self, TargetSettingsError> {
        let provider = provider(&credentials).map_err(|source| unusable(&credentials, source))?;
        Ok(Self { credentials, target: target.into(), provider: RwLock::new(provider) })
    }

    /// The token; `None` without credentials.
    ///
    /// # Errors
    /// `Unreachable` if no token is issued.
    pub(super) async fn bearer(&self) -> Result<Option<String>, TargetError> {
        let Some(provider) = self.current() else { return Ok(None) };
        match provider.get_credential().await {
            Ok(credential) => Ok(Some(credential.bearer.clone())),
            Err(source) => Err(TargetError::Unreachable { target: self.target.clone(), source: Box::new(source) }),
        }
    }

    /// The last token was rejected: the next call fetches a new one.
    pub(super) fn refresh(&self) -> Result<(), TargetError> {
        let fresh = provider(&self.credentials)
            .map_err(|source| unusable(&self.credentials, source).into_refusal(&self.target))?;
        *self.provider.write() = fresh;
        Ok(())
    }

    fn current(&self) -> Option<TokenProvider> {
        self.provider.read().clone()
    }
}

/// The object store uses the same tokens, so that one refresh serves both.
#[async_trait]
impl CredentialProvider for Tokens {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        match self.current() {
            Some(provider) => provider.get_credential().await,
            None => Ok(Arc::new(GcpCredential { bearer: String::new() })),
        }
    }
}

fn provider(credentials: &BigQueryCredentials) -> Result<Option<TokenProvider>, BoxError> {
    match credentials {
        BigQueryCredentials::None => Ok(None),
        BigQueryCredentials::Json(text) => from_text(text.expose(), None).map(Some),
        BigQueryCredentials::File(path) => from_file(path).map(Some),
        BigQueryCredentials::PrefectBlock(block) => Ok(Some(Arc::new(PrefectCredentials::from_environment(block)?))),
        BigQueryCredentials::Default => {
            let named = std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
            let known = std::env::var_os("HOME").map(|home| Path::new(&home).join(GCLOUD_FILE));
            match named.or(known.filter(|path| path.exists())) {
                Some(path) => from_file(&path).map(Some),
                None => google_provider(GoogleCloudStorageBuilder::new()).map(Some),
            }
        }
    }
}

fn unusable(credentials: &BigQueryCredentials, source: BoxError) -> TargetSettingsError {
    let which = match credentials {
        BigQueryCredentials::File(path) => format!("the credentials in {}", path.display()),
        BigQueryCredentials::Json(_) => "the credentials in the settings".to_owned(),
        BigQueryCredentials::PrefectBlock(block) => format!("the credentials in the Prefect block {block}"),
        _ => "the default credentials".to_owned(),
    };
    let reason = format!("{which} cannot be used");
    TargetSettingsError::new("credentials", reason, "see docs/warehouse-bigquery.md, Credentials").caused_by(source)
}

#[cfg(test)]
mod tests {
    use turnstile_values::Secret;

    use super::*;

    #[test]
    fn a_file_without_credentials_is_named_and_its_text_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.json");
        std::fs::write(&path, "hunter2").unwrap();
        let error = Tokens::new(BigQueryCredentials::File(path.clone()), "BigQuery p.d").unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("key.json") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn an_unsupported_type_of_credentials_is_named() {
        let json = r#"{"type":"impersonated_service_account"}"#;
        let error = Tokens::new(BigQueryCredentials::Json(Secret::new(json)), "BigQuery p.d").unwrap_err();
        assert!(format!("{error:?}").contains("impersonated_service_account"));
    }

    #[tokio::test]
    async fn there_is_no_token_without_credentials() {
        let tokens = Tokens::new(BigQueryCredentials::None, "BigQuery p.d").unwrap();
        assert_eq!(tokens.bearer().await.unwrap(), None);
    }
}
