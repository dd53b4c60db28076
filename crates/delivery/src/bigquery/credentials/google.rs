//! Providers of tokens by a file of credentials, or its text.

use std::path::Path;
use std::sync::Arc;

use object_store::CredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use serde_json::Value;
use turnstile_values::BoxError;

use super::external::ExternalAccount;

/// The builder requires a bucket's name; no bucket is accessed to get a token.
const NO_BUCKET: &str = "none";

/// Provides tokens for all of Google Cloud.
pub(super) type TokenProvider = Arc<dyn CredentialProvider<Credential = GcpCredential>>;

/// The provider of a file's credentials.
pub(super) fn from_file(path: &Path) -> Result<TokenProvider, BoxError> {
    let text = std::fs::read_to_string(path)?;
    from_text(&text, Some(path))
}

/// The provider of credentials in JSON, from the file at `path` where there is one.
pub(super) fn from_text(text: &str, path: Option<&Path>) -> Result<TokenProvider, BoxError> {
    // The parser's own message could repeat a piece of the key.
    let json: Value = serde_json::from_str(text).map_err(|e| format!("it is not JSON (line {})", e.line()))?;
    match (json["type"].as_str(), path) {
        (Some("external_account"), _) => Ok(Arc::new(ExternalAccount::read(json)?)),
        (Some("service_account"), _) => {
            google_provider(GoogleCloudStorageBuilder::new().with_service_account_key(text))
        }
        (Some("authorized_user"), Some(path)) => {
            google_provider(GoogleCloudStorageBuilder::new().with_application_credentials(path.display().to_string()))
        }
        (Some("authorized_user"), None) => Err("a user's own credentials are taken from a file only".into()),
        (Some(other), _) => Err(format!("credentials of type {other} are not supported").into()),
        (None, _) => Err("it has no `type`".into()),
    }
}

/// The provider that `object_store` builds.
pub(super) fn google_provider(builder: GoogleCloudStorageBuilder) -> Result<TokenProvider, BoxError> {
    let store = builder.with_bucket_name(NO_BUCKET).build()?;
    Ok(Arc::clone(store.credentials()))
}
