//! External accounts: another identity provider's token is exchanged for one of Google's (workload identity federation).
//!
//! Source: AIP-4117 and the guide "Workload identity federation". The subject token comes from a file or a URL; AWS and
//! executable sources are refused by name.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::gcp::GcpCredential;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use turnstile_values::{BoxError, caused};

use super::super::settings::is_private;
use super::body::read_body;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// How long the exchange may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A token is not used in its last minute: a request may take that long.
const MARGIN: Duration = Duration::from_secs(60);
/// Longest response that is read; a token has a few thousand bytes.
const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// Where the identity provider's token comes from.
#[derive(Debug)]
enum SubjectToken {
    File(PathBuf),
    Url { url: String, headers: Vec<(String, String)> },
}

/// Exchanges tokens, and caches the last one while it is valid.
pub(super) struct ExternalAccount {
    audience: String,
    token_type: String,
    token_url: String,
    impersonation_url: Option<String>,
    subject: SubjectToken,
    /// The field of the source's JSON that holds the token; `None`: the whole text is the token.
    field: Option<String>,
    client: Client,
    cached: Mutex<Option<(Arc<GcpCredential>, Instant)>>,
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl ExternalAccount {
    /// Reads the settings from the file's JSON.
    pub(super) fn read(json: Value) -> Result<Self, BoxError> {
        let text = |key: &str| -> Result<String, BoxError> {
            json[key].as_str().map(str::to_owned).ok_or_else(|| format!("it has no `{key}`").into())
        };
        let source = &json["credential_source"];
        let subject = if let Some(file) = source["file"].as_str() {
            SubjectToken::File(file.into())
        } else if let (Some(url), None) = (source["url"].as_str(), source["environment_id"].as_str()) {
            let headers = source["headers"].as_object().into_iter().flatten();
            let headers = headers.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
            SubjectToken::Url { url: url.into(), headers: headers.collect() }
        } else {
            return Err("its `credential_source` is neither a file nor a URL".into());
        };
        let field = match source["format"]["type"].as_str() {
            Some("json") => {
                let name = source["format"]["subject_token_field_name"].as_str();
                Some(name.ok_or("its `credential_source.format` names no field")?.to_owned())
            }
            _ => None,
        };
        let token_url = text("token_url")?;
        let impersonation_url = json["service_account_impersonation_url"].as_str().map(str::to_owned);
        for url in [Some(&token_url), impersonation_url.as_ref()].into_iter().flatten() {
            if !is_private(url) {
                return Err(format!("{url} is neither https nor on loopback").into());
            }
        }
        let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build()?;
        let (audience, token_type) = (text("audience")?, text("subject_token_type")?);
        Ok(Self {
            audience,
            token_type,
            token_url,
            impersonation_url,
            subject,
            field,
            client,
            cached: Mutex::default(),
        })
    }

    async fn fetch(&self) -> Result<(String, Duration), BoxError> {
        let form = [
            ("grant_type", EXCHANGE),
            ("audience", &self.audience),
            ("scope", SCOPE),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token_type", &self.token_type),
            ("subject_token", &self.subject_token().await?),
        ];
        let answer = self.request_json(self.client.post(&self.token_url).form(&form), "the token exchange").await?;
        let token = answer["access_token"].as_str().ok_or("the token exchange answered without a token")?;
        let Some(url) = &self.impersonation_url else {
            let secs = answer["expires_in"].as_u64().ok_or("the token exchange did not say when it expires")?;
            return Ok((token.to_owned(), Duration::from_secs(secs)));
        };
        let body = json!({ "scope": [SCOPE] }).to_string();
        let request = self.client.post(url).bearer_auth(token).header("Content-Type", "application/json").body(body);
        let answer = self.request_json(request, "the service account's impersonation").await?;
        let token = answer["accessToken"].as_str().ok_or("the impersonation answered without a token")?;
        let until = answer["expireTime"].as_str().ok_or("the impersonation did not say when it expires")?;
        let left = chrono::DateTime::parse_from_rfc3339(until)?.to_utc() - chrono::Utc::now();
        Ok((token.to_owned(), left.to_std().unwrap_or_default()))
    }

    async fn subject_token(&self) -> Result<String, BoxError> {
        let text = match &self.subject {
            SubjectToken::File(path) => {
                tokio::fs::read_to_string(path).await.map_err(|e| caused(path.display().to_string(), e))?
            }
            SubjectToken::Url { url, headers } => {
                let mut request = self.client.get(url);
                for (key, value) in headers {
                    request = request.header(key, value);
                }
                String::from_utf8(self.send(request, "the identity provider").await?)?
            }
        };
        let Some(field) = &self.field else { return Ok(text.trim().to_owned()) };
        let json: Value = serde_json::from_str(&text).map_err(|_| "the identity provider's token is not JSON")?;
        Ok(json[field].as_str().ok_or_else(|| format!("the identity provider's JSON has no `{field}`"))?.to_owned())
    }

    async fn request_json(&self, request: reqwest::RequestBuilder, who: &str) -> Result<Value, BoxError> {
        let body = self.send(request, who).await?;
        serde_json::from_slice(&body).map_err(|_| format!("{who} answered something other than JSON").into())
    }

    /// The body of a successful response. An error is reported by its status alone: its body may repeat a token.
    async fn send(&self, request: reqwest::RequestBuilder, who: &str) -> Result<Vec<u8>, BoxError> {
        let response = request.send().await.map_err(|e| caused(who, e.without_url()))?;
        if !response.status().is_success() {
            return Err(format!("{who} answered {}", response.status()).into());
        }
        read_body(response, who, MAX_RESPONSE_BYTES).await
    }
}

#[async_trait]
impl CredentialProvider for ExternalAccount {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let mut cached = self.cached.lock().await;
        if let Some((credential, until)) = &*cached
            && *until > Instant::now()
        {
            return Ok(Arc::clone(credential));
        }
        let fetched = self.fetch().await;
        let (bearer, left) =
            fetched.map_err(|source| object_store::Error::Generic { store: "external account", source })?;
        let credential = Arc::new(GcpCredential { bearer });
        *cached = Some((Arc::clone(&credential), Instant::now() + left.saturating_sub(MARGIN)));
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(source: Value, token_url: &str) -> Result<ExternalAccount, BoxError> {
        ExternalAccount::read(json!({
            "type": "external_account", "audience": "//iam.googleapis.com/x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": token_url, "credential_source": source,
        }))
    }

    #[test]
    fn a_token_is_not_exchanged_over_plain_http() {
        let error = account(json!({"file": "t"}), "http://sts.example.com/v1/token").unwrap_err().to_string();
        assert!(error.contains("neither https nor on loopback"), "{error}");
    }

    #[test]
    fn aws_and_executables_are_refused() {
        for source in [json!({"environment_id": "aws1", "url": "http://169.254.169.254"}), json!({"executable": {}})] {
            let error = account(source, "https://sts.googleapis.com/v1/token").unwrap_err().to_string();
            assert!(error.contains("neither a file nor a URL"), "{error}");
        }
    }

    #[tokio::test]
    async fn the_subject_token_is_the_files_text_or_a_field_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "{\"id_token\":\"abc\"}\n").unwrap();
        let url = "https://sts.googleapis.com/v1/token";
        let whole = account(json!({"file": path}), url).unwrap();
        assert_eq!(whole.subject_token().await.unwrap(), "{\"id_token\":\"abc\"}");
        let format = json!({"type": "json", "subject_token_field_name": "id_token"});
        let field = account(json!({"file": path, "format": format}), url).unwrap();
        assert_eq!(field.subject_token().await.unwrap(), "abc");
    }
}
