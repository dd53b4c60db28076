//! Where a Prefect server is, and how much it may be asked.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use turnstile_values::{Secret, is_private};

/// Settings of the connection to Prefect.
#[derive(Debug, Clone)]
pub struct PrefectSettings {
    /// `http://127.0.0.1:4200/api`, or `https://api.prefect.cloud/api/accounts/…/workspaces/…`.
    pub api: String,
    /// `user:password` of a self-hosted server, or a key of Prefect Cloud; `None`: the server asks for none.
    pub key: Option<Secret>,
    /// Requests in a minute, at most. Prefect Cloud's smallest plan allows about 250 for all of a workspace's clients.
    pub requests_per_minute: u32,
    /// Tags that every run gets, besides `turnstile` and the pipeline's name.
    pub tags: Vec<String>,
    /// Names and values that every run gets as labels.
    pub labels: Vec<(String, String)>,
    /// The folder for what was not delivered yet. One process uses it at a time; others get one beside it.
    pub spool: PathBuf,
    /// Bytes that the folder may hold; beyond them the oldest are dropped.
    pub spool_bytes: u64,
    /// How often the server is asked whether a person cancelled the run.
    pub poll: Duration,
    /// How often the server is sent a heartbeat of the run, for automations that look for it.
    pub heartbeat: Duration,
    /// How long the server may take to answer one request.
    pub timeout: Duration,
    /// How long the end of a run waits for the delivery of what is left.
    pub drain: Duration,
}

impl PrefectSettings {
    /// The defaults, for the server at `api` and the folder `spool`.
    pub fn new(api: impl Into<String>, spool: impl Into<PathBuf>) -> Self {
        Self {
            api: api.into(),
            key: None,
            requests_per_minute: 60,
            tags: Vec::new(),
            labels: Vec::new(),
            spool: spool.into(),
            spool_bytes: 64 << 20,
            poll: Duration::from_secs(10),
            heartbeat: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }
}

/// The address `api`, checked; `keyed`: a key is sent to it.
///
/// # Errors
/// A sentence: it is no address, or a key would be sent over an open connection.
pub(super) fn checked(api: &str, keyed: bool) -> Result<Url, String> {
    let url = Url::parse(api).map_err(|e| format!("{api:?} is no address: {e}"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("the address holds a user, a password or a query; the key has its own setting".into());
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("{api:?} is neither an http nor an https address"));
    }
    if keyed && !is_private(url.scheme(), url.host_str()) {
        return Err(format!("{api} is neither https nor on loopback, and the key would be sent to it"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sent_over_https_or_on_loopback_only() {
        let url = |api: &str, key: bool| checked(api, key).map(|_| ());
        for (api, key, expected) in [
            ("http://127.0.0.1:4200/api", true, ""),
            ("https://api.prefect.cloud/api/accounts/a/workspaces/w", true, ""),
            ("http://prefect.internal:4200/api", false, ""),
            ("http://prefect.internal:4200/api", true, "neither https nor on loopback"),
            ("http://127.0.0.1.example.com/api", true, "neither https nor on loopback"),
            ("http://user:hunter2@127.0.0.1/api", false, "the key has its own setting"),
            ("127.0.0.1:4200", false, ""),
            ("ftp://host/api", false, "neither an http nor an https address"),
        ] {
            let result = url(api, key);
            match (result, expected) {
                (Ok(()), "") => assert_ne!(api, "127.0.0.1:4200"),
                (Err(_), "") => assert_eq!(api, "127.0.0.1:4200"),
                (Err(error), _) => assert!(error.contains(expected) && !error.contains("hunter2"), "{error}"),
                (Ok(()), _) => panic!("{api} was taken"),
            }
        }
    }
}
