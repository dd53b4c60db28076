//! External accounts: a token of another party is exchanged for one of Google's (workload identity federation).
//!
//! Source: AIP-4117 and the guide "Workload identity federation". The other party's token comes from a file or a URL;
//! those of AWS and of an executable are refused by name.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::CredentialProvider;
use object_store::gcp::GcpCredential;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::super::settings::is_private;
use super::{Fault, body_of};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// How long the exchange may take.
const TIME: Duration = Duration::from_secs(10);
/// A token is not used in its last minute: a request may take as long.
const MARGIN: Duration = Duration::from_secs(60);
/// Longest answer that is read; a token has a few thousand bytes.
const ANSWER_BYTES: usize = 64 << 10;

/// Where the other party's token is.
#[derive(Debug)]
enum Subject {
    File(PathBuf),
    Url { url: String, headers: Vec<(String, String)> },
}

/// Exchanges tokens, and keeps the last one while it is good.
pub(super) struct External {
    audience: String,
    kind: String,
    token_url: String,
    impersonation_url: Option<String>,
    subject: Subject,
    /// The field of the subject's JSON that holds the token; `None`: the whole text is the token.
    field: Option<String>,
    client: Client,
    kept: Mutex<Option<(Arc<GcpCredential>, Instant)>>,
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("External").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl External {
    /// Takes the settings out of the file's JSON.
    pub(super) fn read(json: Value) -> Result<Self, Fault> {
        let text = |key: &str| -> Result<String, Fault> {
            json[key].as_str().map(str::to_owned).ok_or_else(|| format!("it has no `{key}`").into())
        };
        let source = &json["credential_source"];
        let subject = if let Some(file) = source["file"].as_str() {
            Subject::File(file.into())
        } else if let (Some(url), None) = (source["url"].as_str(), source["environment_id"].as_str()) {
            let headers = source["headers"].as_object().into_iter().flatten();
            let headers = headers.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
            Subject::Url { url: url.into(), headers: headers.collect() }
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
        let client = Client::builder().timeout(TIME).redirect(Policy::none()).build()?;
        let (audience, kind) = (text("audience")?, text("subject_token_type")?);
        Ok(Self { audience, kind, token_url, impersonation_url, subject, field, client, kept: Mutex::default() })
    }

    async fn fetch(&self) -> Result<(String, Duration), Fault> {
        let form = [
            ("grant_type", EXCHANGE),
            ("audience", &self.audience),
            ("scope", SCOPE),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token_type", &self.kind),
            ("subject_token", &self.subject_token().await?),
        ];
        let answer = self.ask(self.client.post(&self.token_url).form(&form), "the token exchange").await?;
        let token = answer["access_token"].as_str().ok_or("the token exchange answered without a token")?;
        let Some(url) = &self.impersonation_url else {
            let secs = answer["expires_in"].as_u64().ok_or("the token exchange did not say until when")?;
            return Ok((token.to_owned(), Duration::from_secs(secs)));
        };
        let body = json!({ "scope": [SCOPE] }).to_string();
        let request = self.client.post(url).bearer_auth(token).header("Content-Type", "application/json").body(body);
        let answer = self.ask(request, "the service account's impersonation").await?;
        let token = answer["accessToken"].as_str().ok_or("the impersonation answered without a token")?;
        let until = answer["expireTime"].as_str().ok_or("the impersonation did not say until when")?;
        let left = chrono::DateTime::parse_from_rfc3339(until)?.to_utc() - chrono::Utc::now();
        Ok((token.to_owned(), left.to_std().unwrap_or_default()))
    }

    async fn subject_token(&self) -> Result<String, Fault> {
        let text = match &self.subject {
            Subject::File(path) => {
                tokio::fs::read_to_string(path).await.map_err(|e| format!("{}: {e}", path.display()))?
            }
            Subject::Url { url, headers } => {
                let mut request = self.client.get(url);
                for (key, value) in headers {
                    request = request.header(key, value);
                }
                String::from_utf8(self.send(request, "the other party").await?)?
            }
        };
        let Some(field) = &self.field else { return Ok(text.trim().to_owned()) };
        let json: Value = serde_json::from_str(&text).map_err(|_| "the other party's token is no JSON")?;
        Ok(json[field].as_str().ok_or_else(|| format!("the other party's JSON has no `{field}`"))?.to_owned())
    }

    async fn ask(&self, request: reqwest::RequestBuilder, who: &str) -> Result<Value, Fault> {
        let body = self.send(request, who).await?;
        serde_json::from_slice(&body).map_err(|_| format!("{who} answered something that is no JSON").into())
    }

    /// The body of an answer that is good. A bad one is told by its status alone: its text may repeat a token.
    async fn send(&self, request: reqwest::RequestBuilder, who: &str) -> Result<Vec<u8>, Fault> {
        let response = request.send().await.map_err(|e| format!("{who}: {}", e.without_url()))?;
        if !response.status().is_success() {
            return Err(format!("{who} answered {}", response.status()).into());
        }
        body_of(response, who, ANSWER_BYTES).await
    }
}

impl CredentialProvider for External {
    type Credential = GcpCredential;

    fn get_credential<'a, 'b>(
        &'a self,
    ) -> Pin<Box<dyn Future<Output = object_store::Result<Arc<GcpCredential>>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let mut kept = self.kept.lock().await;
            if let Some((credential, until)) = &*kept
                && *until > Instant::now()
            {
                return Ok(Arc::clone(credential));
            }
            let fetched = self.fetch().await;
            let (bearer, left) =
                fetched.map_err(|source| object_store::Error::Generic { store: "external account", source })?;
            let credential = Arc::new(GcpCredential { bearer });
            *kept = Some((Arc::clone(&credential), Instant::now() + left.saturating_sub(MARGIN)));
            Ok(credential)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(source: Value, token_url: &str) -> Result<External, Fault> {
        External::read(json!({
            "type": "external_account", "audience": "//iam.googleapis.com/x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": token_url, "credential_source": source,
        }))
    }

    #[test]
    fn a_token_is_not_exchanged_in_the_open() {
        let fault = account(json!({"file": "t"}), "http://sts.example.com/v1/token").unwrap_err().to_string();
        assert!(fault.contains("neither https nor on loopback"), "{fault}");
    }

    #[test]
    fn aws_and_executables_are_refused() {
        for source in [json!({"environment_id": "aws1", "url": "http://169.254.169.254"}), json!({"executable": {}})] {
            let fault = account(source, "https://sts.googleapis.com/v1/token").unwrap_err().to_string();
            assert!(fault.contains("neither a file nor a URL"), "{fault}");
        }
    }

    #[tokio::test]
    async fn the_other_partys_token_is_the_files_text_or_a_field_of_it() {
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
