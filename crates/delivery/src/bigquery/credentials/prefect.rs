//! Credentials from a Prefect server: a block `gcp-credentials`, or the one that a `gcs-bucket` block refers to.
//!
//! In: the block's name, the server's address and key from the environment, as for Prefect's own client. Out:
//! tokens of the service account in the block. The block is read when the first token is needed, and again after one
//! was rejected. Source: Prefect 3.8, `GET /block_types/slug/{type}/block_documents/name/{name}?include_secrets=true`;
//! a recorded response is in `recorded/`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::gcp::GcpCredential;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::sync::Mutex;
use turnstile_values::{BoxError, caused};

use super::super::settings::is_private;
use super::body::read_body;
use super::google::{TokenProvider, from_file, from_text};

/// Where the server is, with `/api`. Prefect's own name.
const URL_VARIABLE: &str = "PREFECT_API_URL";
/// The key of Prefect Cloud; a self-hosted server may need none.
const KEY_VARIABLE: &str = "PREFECT_API_KEY";
/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest response that is read; a block with its type's documentation has some ten thousand bytes.
const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// What Prefect shows instead of a secret.
const OBSCURED: &str = "********";

/// A block, and the credentials read from it.
pub(super) struct PrefectCredentials {
    kind: BlockKind,
    name: String,
    api: String,
    key: Option<String>,
    client: Client,
    cached: Mutex<Option<TokenProvider>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Credentials,
    Bucket,
}

impl BlockKind {
    fn slug(self) -> &'static str {
        match self {
            Self::Credentials => "gcp-credentials",
            Self::Bucket => "gcs-bucket",
        }
    }
}

impl fmt::Debug for PrefectCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefectCredentials").field("block", &self.block()).finish_non_exhaustive()
    }
}

impl PrefectCredentials {
    /// The block `TYPE/NAME` of the server that the environment names. Sends no request yet.
    pub(super) fn from_environment(block: &str) -> Result<Self, BoxError> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let api = variable(URL_VARIABLE)
            .ok_or_else(|| format!("{URL_VARIABLE} is not set: where is the Prefect server of block {block}?"))?;
        Self::new(block, &api, variable(KEY_VARIABLE))
    }

    fn new(block: &str, api: &str, key: Option<String>) -> Result<Self, BoxError> {
        let known = [BlockKind::Credentials, BlockKind::Bucket];
        let parts = block.split_once('/').and_then(|(slug, name)| {
            let kind = known.into_iter().find(|kind| kind.slug() == slug)?;
            // It goes into an address as it is: Prefect's own rule for the names of blocks.
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            (!name.is_empty() && name.chars().all(plain)).then_some((kind, name))
        });
        let (kind, name) =
            parts.ok_or_else(|| format!("{block:?} is neither gcp-credentials/NAME nor gcs-bucket/NAME"))?;
        if !is_private(api) {
            return Err(format!("{URL_VARIABLE} is neither https nor on loopback, and a key would come from it").into());
        }
        let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build()?;
        let api = api.trim_end_matches('/').to_owned();
        Ok(Self { kind, name: name.to_owned(), api, key, client, cached: Mutex::default() })
    }

    fn block(&self) -> String {
        format!("{}/{}", self.kind.slug(), self.name)
    }

    /// Reads the block. Errors do not repeat the server's message: it may contain a secret.
    async fn fetch(&self) -> Result<TokenProvider, BoxError> {
        let path = format!("block_types/slug/{}/block_documents/name/{}", self.kind.slug(), self.name);
        let mut request = self.client.get(format!("{}/{path}?include_secrets=true", self.api));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.map_err(|e| caused("the Prefect server", e.without_url()))?;
        match response.status() {
            StatusCode::NOT_FOUND => return Err(format!("the Prefect server has no block {}", self.block()).into()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let status = response.status();
                return Err(format!("the Prefect server answered {status}: check {KEY_VARIABLE}").into());
            }
            status if !status.is_success() => return Err(format!("the Prefect server answered {status}").into()),
            _ => {}
        }
        let body = read_body(response, "the Prefect server", MAX_RESPONSE_BYTES).await?;
        let document: Value =
            serde_json::from_slice(&body).map_err(|_| "the Prefect server answered something other than JSON")?;
        self.provider(&document["data"]).map_err(|e| caused(format!("block {}", self.block()), e))
    }

    fn provider(&self, data: &Value) -> Result<TokenProvider, BoxError> {
        let credentials = match self.kind {
            BlockKind::Credentials => data,
            // With secrets, the response contains the block that it refers to.
            BlockKind::Bucket => &data["gcp_credentials"],
        };
        match (&credentials["service_account_info"], credentials["service_account_file"].as_str()) {
            (Value::Object(info), _) if info.values().any(|value| value.as_str() == Some(OBSCURED)) => {
                Err("its secrets are obscured: the key may not read them".into())
            }
            (info @ Value::Object(_), _) => from_text(&info.to_string(), None),
            (Value::String(text), _) => from_text(text, None),
            (_, Some(file)) => from_file(Path::new(file)),
            // Prefect would use the machine's own credentials, which were not asked for.
            _ => Err("it has neither service_account_info nor service_account_file".into()),
        }
    }
}

#[async_trait]
impl CredentialProvider for PrefectCredentials {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let mut cached = self.cached.lock().await;
        let provider = match &*cached {
            Some(provider) => Arc::clone(provider),
            None => {
                let fetched = self.fetch().await;
                let fetched =
                    fetched.map_err(|source| object_store::Error::Generic { store: "Prefect block", source })?;
                Arc::clone(cached.insert(fetched))
            }
        };
        drop(cached);
        provider.get_credential().await
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex as Shared;

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What Prefect 3.8.8 answered to a real request, without the documentation of the types.
    const RECORDED: &str = include_str!("recorded/gcs-bucket.json");
    const SECRET: &str = "FAKE-NOT-A-KEY";

    /// A double of a Prefect server: it answers every GET with one response, and every POST with a token.
    struct PrefectDouble {
        api: String,
        asked: Arc<Shared<Vec<String>>>,
    }

    impl PrefectDouble {
        async fn start(answer: impl FnOnce(&str) -> (u16, Value)) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let api = format!("http://{}/api", listener.local_addr().unwrap());
            let (status, body) = answer(&api);
            let asked: Arc<Shared<Vec<String>>> = Arc::default();
            let record = Arc::clone(&asked);
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut bytes = vec![0; 64 << 10];
                    let read = stream.read(&mut bytes).await.unwrap();
                    let request = String::from_utf8_lossy(&bytes[..read]).into_owned();
                    let token = json!({"access_token": "token-1", "expires_in": 3600}).to_string();
                    let (status, body) =
                        if request.starts_with("POST") { (200, token) } else { (status, body.to_string()) };
                    record.lock().push(request);
                    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}", body.len());
                    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
                }
            });
            Self { api, asked }
        }

        /// The request lines, and whether the key was sent.
        fn gets(&self) -> Vec<(String, bool)> {
            let asked = self.asked.lock();
            let gets = asked.iter().filter(|request| request.starts_with("GET"));
            gets.map(|r| (r.lines().next().unwrap().to_owned(), r.to_lowercase().contains("bearer pnu_key"))).collect()
        }
    }

    fn recorded() -> (String, Value) {
        let recorded: Value = serde_json::from_str(RECORDED).unwrap();
        (recorded["request"]["path"].as_str().unwrap().to_owned(), recorded["response"]["body"].clone())
    }

    /// An account whose tokens come from the double itself; a service account's would come from Google.
    fn account(api: &str, subject: &Path) -> Value {
        json!({
            "type": "external_account", "audience": "//iam.googleapis.com/x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{api}/sts"), "credential_source": {"file": subject},
        })
    }

    #[tokio::test]
    async fn a_bucket_block_gives_the_credentials_that_it_refers_to() {
        let dir = tempfile::tempdir().unwrap();
        let subject = dir.path().join("subject");
        std::fs::write(&subject, "the-others-token").unwrap();
        let (path, document) = recorded();
        let server = PrefectDouble::start(|api| {
            let mut document = document.clone();
            document["data"]["gcp_credentials"]["service_account_info"] = account(api, &subject);
            (200, document)
        })
        .await;
        let prefect = PrefectCredentials::new("gcs-bucket/lake", &server.api, Some("pnu_key".to_owned())).unwrap();
        assert_eq!(prefect.get_credential().await.unwrap().bearer, "token-1");
        assert_eq!(prefect.get_credential().await.unwrap().bearer, "token-1");
        assert_eq!(server.gets(), [(format!("GET {path} HTTP/1.1"), true)], "as recorded, and once");
    }

    #[tokio::test]
    async fn a_credentials_block_gives_its_own_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let subject = dir.path().join("subject");
        std::fs::write(&subject, "the-others-token").unwrap();
        // No such read was recorded: the document is the one that the recorded block has within it.
        let document = |info: Value| {
            let (_, bucket) = recorded();
            let mut data = bucket["data"]["gcp_credentials"].clone();
            data["service_account_info"] = info;
            json!({"name": "lake-creds", "data": data})
        };
        let server = PrefectDouble::start(|api| (200, document(account(api, &subject)))).await;
        let prefect = PrefectCredentials::new("gcp-credentials/lake-creds", &format!("{}/", server.api), None).unwrap();
        assert_eq!(prefect.get_credential().await.unwrap().bearer, "token-1");
        let path = "/api/block_types/slug/gcp-credentials/block_documents/name/lake-creds?include_secrets=true";
        assert_eq!(server.gets(), [(format!("GET {path} HTTP/1.1"), false)]);
    }

    #[tokio::test]
    async fn an_error_shows_no_secret() {
        let (_, real) = recorded();
        let mut obscured = real.clone();
        obscured["data"]["gcp_credentials"]["service_account_info"]["private_key"] = json!(OBSCURED);
        let mut empty = real.clone();
        empty["data"]["gcp_credentials"] = json!({"project": "fake-project"});
        for (status, body, expected) in [
            // The recorded key is not valid: the key parser's message must not show it either.
            (200, real.clone(), "block gcs-bucket/lake: "),
            (200, obscured, "the key may not read them"),
            (200, empty, "neither service_account_info nor service_account_file"),
            (404, json!({"detail": SECRET}), "has no block gcs-bucket/lake"),
            (401, json!({"detail": SECRET}), "check PREFECT_API_KEY"),
            (500, json!({"detail": SECRET}), "answered 500"),
        ] {
            let server = PrefectDouble::start(|_| (status, body)).await;
            let prefect = PrefectCredentials::new("gcs-bucket/lake", &server.api, Some("pnu_key".to_owned())).unwrap();
            let error = prefect.get_credential().await.unwrap_err();
            let shown = format!("{} {error:?} {prefect:?}", turnstile_values::human::error(&error));
            assert!(shown.contains(expected), "{shown}");
            assert!(!shown.contains(SECRET) && !shown.contains("pnu_key"), "{shown}");
        }
    }

    #[test]
    fn a_block_is_named_by_type_and_name_and_read_over_https_or_loopback() {
        let new =
            |block: &str, api: &str| PrefectCredentials::new(block, api, None).map(|_| ()).map_err(|e| e.to_string());
        let here = "http://127.0.0.1:4200/api";
        assert_eq!(new("gcp-credentials/lake-creds", here), Ok(()));
        for block in ["lake", "s3-bucket/lake", "gcs-bucket/", "gcs-bucket/../x", "gcs-bucket/a?b"] {
            assert!(new(block, here).unwrap_err().contains("neither gcp-credentials/NAME nor"), "{block}");
        }
        let open = new("gcs-bucket/lake", "http://prefect.example.com/api").unwrap_err();
        assert!(open.contains("PREFECT_API_URL is neither https nor on loopback"), "{open}");
    }
}
