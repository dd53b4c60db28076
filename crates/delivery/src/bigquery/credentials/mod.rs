//! Tokens to ask with.
//!
//! In: where the credentials are. Out: a bearer token that is still good.
//! Service accounts, users' own credentials and the metadata server are `object_store`'s to know, whose tokens are for
//! all of Google Cloud; what it lacks, external accounts, is in [`external`], and a Prefect server's blocks in
//! [`prefect`]. Start at [`Tokens::bearer`].

mod external;
mod prefect;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use object_store::CredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use serde::Deserialize;
use serde_json::Value;

use self::external::External;
use self::prefect::Prefect;
use super::fault::refused;
use crate::TargetError;

/// Any bucket's name: the builder asks for one, and none is reached to get a token.
const NO_BUCKET: &str = "none";
/// Where `gcloud auth application-default login` leaves credentials, below the home folder.
const WELL_KNOWN: &str = ".config/gcloud/application_default_credentials.json";
/// The variable that names a file of credentials.
const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// Who asks.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// As Google's own libraries look for them: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, the one that
    /// `gcloud` left, the metadata server of the machine (which also serves workload identity on GKE).
    #[default]
    Default,
    /// Nobody: for an emulator.
    None,
    /// A file: a service account's key, a user's own credentials, an external account (workload identity).
    File(PathBuf),
    /// The text of such a file, a service account's or an external account's.
    Json(String),
    /// `gcp-credentials/NAME` or `gcs-bucket/NAME`: a block of the Prefect server that `PREFECT_API_URL` and
    /// `PREFECT_API_KEY` in the environment name.
    PrefectBlock(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("Default"),
            Self::None => f.write_str("None"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Json(_) => f.write_str("Json(secret)"),
            Self::PrefectBlock(block) => f.debug_tuple("PrefectBlock").field(block).finish(),
        }
    }
}

type Provider = Arc<dyn CredentialProvider<Credential = GcpCredential>>;

/// Gives tokens, and fetches a new one when the last one runs out or was refused.
pub(super) struct Tokens {
    credentials: Credentials,
    target: String,
    /// Replaced as a whole by [`Tokens::forget`]: a provider keeps its token and cannot be told to drop it.
    provider: RwLock<Option<Provider>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads the credentials; asks nobody for a token yet.
    pub(super) fn new(credentials: Credentials, target: &str) -> Result<Self, TargetError> {
        let provider = provider(&credentials).map_err(|source| unreadable(target, &credentials, source))?;
        Ok(Self { credentials, target: target.into(), provider: RwLock::new(provider) })
    }

    /// The token; `None` when nobody asks.
    ///
    /// # Errors
    /// `Unreachable` when whoever issues tokens does not.
    pub(super) async fn bearer(&self) -> Result<Option<String>, TargetError> {
        let Some(provider) = self.current() else { return Ok(None) };
        match provider.get_credential().await {
            Ok(credential) => Ok(Some(credential.bearer.clone())),
            Err(source) => Err(TargetError::Unreachable { target: self.target.clone(), source: Box::new(source) }),
        }
    }

    /// The last token was refused: the next one is fetched anew.
    pub(super) fn forget(&self) -> Result<(), TargetError> {
        let fresh = provider(&self.credentials).map_err(|e| unreadable(&self.target, &self.credentials, e))?;
        *self.provider.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn current(&self) -> Option<Provider> {
        self.provider.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The object store asks through the same tokens, so that one refresh serves both.
impl CredentialProvider for Tokens {
    type Credential = GcpCredential;

    fn get_credential<'a, 'b>(
        &'a self,
    ) -> Pin<Box<dyn Future<Output = object_store::Result<Arc<GcpCredential>>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            match self.current() {
                Some(provider) => provider.get_credential().await,
                None => Ok(Arc::new(GcpCredential { bearer: String::new() })),
            }
        })
    }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn provider(credentials: &Credentials) -> Result<Option<Provider>, Fault> {
    match credentials {
        Credentials::None => Ok(None),
        Credentials::Json(text) => of_text(text, None).map(Some),
        Credentials::File(path) => of_file(path).map(Some),
        Credentials::PrefectBlock(block) => Ok(Some(Arc::new(Prefect::of_environment(block)?))),
        Credentials::Default => {
            let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
            let known = std::env::var_os("HOME").map(|home| Path::new(&home).join(WELL_KNOWN));
            match named.or(known.filter(|path| path.exists())) {
                Some(path) => of_file(&path).map(Some),
                None => google(GoogleCloudStorageBuilder::new()).map(Some),
            }
        }
    }
}

fn of_file(path: &Path) -> Result<Provider, Fault> {
    let text = std::fs::read_to_string(path)?;
    of_text(&text, Some(path))
}

fn of_text(text: &str, path: Option<&Path>) -> Result<Provider, Fault> {
    // The parser's own words could repeat a piece of the key.
    let json: Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON (line {})", e.line()))?;
    match (json["type"].as_str(), path) {
        (Some("external_account"), _) => Ok(Arc::new(External::read(json)?)),
        (Some("service_account"), _) => google(GoogleCloudStorageBuilder::new().with_service_account_key(text)),
        (Some("authorized_user"), Some(path)) => {
            google(GoogleCloudStorageBuilder::new().with_application_credentials(path.display().to_string()))
        }
        (Some("authorized_user"), None) => Err("a user's own credentials are taken from a file only".into()),
        (Some(other), _) => Err(format!("credentials of type {other} are not known").into()),
        (None, _) => Err("it has no `type`".into()),
    }
}

/// The whole of an answer of at most `most` bytes; `who` gave it.
async fn body_of(mut response: reqwest::Response, who: &str, most: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| e.without_url())? {
        body.extend_from_slice(&chunk);
        if body.len() > most {
            return Err(format!("{who} answered more than {most} bytes").into());
        }
    }
    Ok(body)
}

fn google(builder: GoogleCloudStorageBuilder) -> Result<Provider, Fault> {
    let store = builder.with_bucket_name(NO_BUCKET).build()?;
    Ok(Arc::clone(store.credentials()))
}

fn unreadable(target: &str, credentials: &Credentials, source: Fault) -> TargetError {
    let which = match credentials {
        Credentials::File(path) => format!("the credentials in {}", path.display()),
        Credentials::Json(_) => "the credentials in the settings".to_owned(),
        Credentials::PrefectBlock(block) => format!("the credentials in the Prefect block {block}"),
        _ => "the default credentials".to_owned(),
    };
    let error = refused(target, format!("{which} cannot be used"), "see docs/warehouse-bigquery.md, Credentials");
    match error {
        TargetError::Refused { target, reason, hint, .. } => {
            TargetError::Refused { target, reason, hint, source: Some(source) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_none_is_named_and_its_text_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.json");
        std::fs::write(&path, "hunter2").unwrap();
        let fault = Tokens::new(Credentials::File(path.clone()), "BigQuery p.d").unwrap_err();
        let shown = format!("{fault} {fault:?}");
        assert!(shown.contains("key.json") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_kind_of_credentials_that_is_not_known_is_named() {
        let json = r#"{"type":"impersonated_service_account"}"#;
        let fault = Tokens::new(Credentials::Json(json.into()), "BigQuery p.d").unwrap_err();
        assert!(format!("{fault:?}").contains("impersonated_service_account"));
    }

    #[tokio::test]
    async fn nobody_has_no_token() {
        let tokens = Tokens::new(Credentials::None, "BigQuery p.d").unwrap();
        assert_eq!(tokens.bearer().await.unwrap(), None);
    }
}
