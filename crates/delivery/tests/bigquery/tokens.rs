//! Credentials. Against `RecordingApi`, which also stands for Google's token exchange.

use std::process::Command;

use serde_json::{Value, json};
use turnstile_delivery::bigquery::{BigQueryCredentials, BigQuerySettings, BigQueryTarget};
use turnstile_delivery::{Target, TargetError};
use turnstile_values::Secret;

use crate::recording::{RecordedRequest, RecordingApi, Reply};

/// An external account whose tokens are exchanged at `endpoint`, in its own folder.
fn external(endpoint: &str, impersonation: bool) -> (BigQueryCredentials, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let subject = dir.path().join("subject");
    std::fs::write(&subject, "the-others-token\n").unwrap();
    let mut account = json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/x/providers/y",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{endpoint}/sts"),
        "credential_source": {"file": subject},
    });
    if impersonation {
        account["service_account_impersonation_url"] = json!(format!("{endpoint}/impersonate"));
    }
    let path = dir.path().join("account.json");
    std::fs::write(&path, account.to_string()).unwrap();
    (BigQueryCredentials::File(path), dir)
}

fn bearer(asked: &RecordedRequest) -> &str {
    asked.header("authorization").unwrap_or_default()
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once() {
    let mut issued = 0;
    let api = RecordingApi::start(1, move |asked, _| {
        if asked.path == "/sts" {
            issued += 1;
            return Some(Reply::ok(json!({"access_token": format!("token-{issued}"), "expires_in": 3600})));
        }
        (bearer(asked) == "Bearer token-1").then(|| Reply::error(401, "authError", "Invalid BigQueryCredentials"))
    })
    .await;
    let (credentials, _dir) = external(&api.endpoint, false);
    let mut target = BigQueryTarget::new(BigQuerySettings { credentials, ..api.settings() }).unwrap();
    assert_eq!(target.position().await.unwrap().unwrap().load, 1);
    assert_eq!(target.position().await.unwrap().unwrap().load, 1);
    let asked = api.asked();
    let exchange = asked.iter().find(|asked| asked.path == "/sts").unwrap();
    let form = String::from_utf8_lossy(&exchange.body);
    assert!(form.contains("subject_token=the-others-token") && form.contains("cloud-platform"), "{form}");
    assert_eq!(api.count(|asked| asked.path == "/sts"), 2, "the second token is kept");
}

#[tokio::test]
async fn a_token_that_is_rejected_twice_is_refused() {
    let api = RecordingApi::start(1, |asked, _| match asked.path.as_str() {
        "/sts" => Some(Reply::ok(json!({"access_token": "hunter2", "expires_in": 3600}))),
        _ => Some(Reply::error(401, "authError", "Invalid BigQueryCredentials")),
    })
    .await;
    let (credentials, _dir) = external(&api.endpoint, false);
    let mut target = BigQueryTarget::new(BigQuerySettings { credentials, ..api.settings() }).unwrap();
    let error = target.position().await.unwrap_err();
    assert!(matches!(error, TargetError::Refused { .. }));
    let shown = format!("{error} {error:?} {target:?}");
    assert!(shown.contains("Invalid BigQueryCredentials") && !shown.contains("hunter2"), "{shown}");
    assert_eq!(api.count(|asked| asked.path.contains("/data?")), 2);
}

#[tokio::test]
async fn an_external_account_may_act_for_a_service_account() {
    let api = RecordingApi::start(1, |asked, _| match asked.path.as_str() {
        "/sts" => Some(Reply::ok(json!({"access_token": "federated", "expires_in": 3600}))),
        "/impersonate" if bearer(asked) == "Bearer federated" => {
            Some(Reply::ok(json!({"accessToken": "account", "expireTime": "2099-01-01T00:00:00Z"})))
        }
        _ if bearer(asked) != "Bearer account" => Some(Reply::error(403, "accessDenied", "another token")),
        _ => None,
    })
    .await;
    let (credentials, _dir) = external(&api.endpoint, true);
    let mut target = BigQueryTarget::new(BigQuerySettings { credentials, ..api.settings() }).unwrap();
    assert_eq!(target.position().await.unwrap().unwrap().load, 1);
}

#[tokio::test]
async fn a_failed_exchange_is_reported_without_tokens() {
    let refuse =
        |asked: &RecordedRequest, _| (asked.path == "/sts").then(|| Reply::error(400, "x", "the-others-token is bad"));
    let api = RecordingApi::start(1, refuse).await;
    let (credentials, _dir) = external(&api.endpoint, false);
    let mut target = BigQueryTarget::new(BigQuerySettings { credentials, ..api.settings() }).unwrap();
    let error = target.position().await.unwrap_err();
    let shown = format!("{error:?}");
    assert!(shown.contains("the token exchange answered 400") && !shown.contains("the-others-token"), "{shown}");
}

/// The claims of a bearer token that is a JSON Web Token.
fn claims(bearer: &str) -> Value {
    let middle = bearer.trim_start_matches("Bearer ").split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url(middle)).unwrap()
}

/// RFC 4648, section 5, without padding.
fn base64url(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for byte in text.bytes() {
        bits = (bits << 6) | DIGITS.iter().position(|digit| *digit == byte).unwrap() as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    out
}

#[tokio::test]
async fn a_service_account_signs_its_own_token_for_google_cloud() {
    let api = RecordingApi::start(1, |_, _| None).await;
    // A key made for this test: none is kept anywhere.
    let mut openssl = Command::new("openssl");
    let key = openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).output().unwrap();
    assert!(key.status.success(), "openssl: {}", String::from_utf8_lossy(&key.stderr));
    let account = json!({
        "type": "service_account", "private_key_id": "k1", "client_email": "loader@p.iam.gserviceaccount.com",
        "private_key": String::from_utf8(key.stdout).unwrap(),
    });
    let credentials = BigQueryCredentials::Json(Secret::new(account.to_string()));
    let mut target = BigQueryTarget::new(BigQuerySettings { credentials, ..api.settings() }).unwrap();
    target.position().await.unwrap();
    let claims = claims(bearer(&api.asked()[0]));
    assert_eq!(claims["iss"], "loader@p.iam.gserviceaccount.com");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
}
