//! One suite that every store passes: memory and a local folder always, S3, Google Cloud Storage and
//! Azure when `cargo xtask test` has started a server for them. Start at [`suite`].

#[path = "backends/gcs_front.rs"]
mod gcs_front;
#[path = "backends/suite.rs"]
mod suite;

use turnstile_lake::{Lake, StoreOptions};

/// Where one test's lake lies: its own place on a shared server.
struct Place {
    url: String,
    options: StoreOptions,
}

impl Place {
    fn below(scheme: &str, bucket: &str, options: StoreOptions) -> Self {
        Self { url: format!("{scheme}://{bucket}/test-{}", uuid::Uuid::new_v4().simple()), options }
    }

    async fn lake(&self) -> Lake {
        Lake::open(&self.url, &self.options).await.unwrap()
    }
}

fn s3() -> Place {
    let server = turnstile_testkit::s3();
    let options = StoreOptions::default()
        .set("aws_endpoint", server.endpoint)
        .set("aws_allow_http", "true")
        .set("aws_region", server.region)
        .set("aws_access_key_id", server.access_key)
        .set("aws_secret_access_key", server.secret_key);
    Place::below("s3", server.bucket, options)
}

fn azure() -> Place {
    let server = turnstile_testkit::azure();
    let options = StoreOptions::default()
        .set("azure_endpoint", format!("{}/{}", server.endpoint, server.account))
        .set("azure_allow_http", "true")
        .set("azure_storage_account_name", server.account)
        .set("azure_storage_account_key", server.key);
    Place::below("az", server.container, options)
}

/// Through the front: the server behind it does not speak the XML API's create-if-absent.
async fn gcs() -> Place {
    let server = turnstile_testkit::gcs();
    let front = gcs_front::GcsFrontDouble::start(&server.endpoint).await;
    let key = format!(
        r#"{{"gcs_base_url":"{front}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#
    );
    let options = StoreOptions::default().set("google_service_account_key", key).set("google_allow_http", "true");
    Place::below("gs", server.bucket, options)
}

#[tokio::test]
async fn a_lake_in_memory_keeps_the_ledgers_promises() {
    suite::run(&Lake::open("memory:", &StoreOptions::default()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_in_a_local_folder_keeps_the_ledgers_promises() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place { url: format!("file:{}/lake", folder.path().display()), options: StoreOptions::default() };
    suite::run(&place.lake().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an S3 server: cargo xtask test"]
async fn a_lake_on_s3_keeps_the_ledgers_promises() {
    suite::run(&s3().lake().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an Azure Blob server: cargo xtask test"]
async fn a_lake_on_azure_keeps_the_ledgers_promises() {
    suite::run(&azure().lake().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Google Cloud Storage server: cargo xtask test"]
async fn a_lake_on_gcs_keeps_the_ledgers_promises() {
    suite::run(&gcs().await.lake().await).await;
}

#[tokio::test]
#[ignore = "needs an S3 server: cargo xtask test"]
async fn a_bucket_that_does_not_exist_is_named_and_the_secret_is_not() {
    let options = s3().options;
    let error = Lake::open("s3://no-such-bucket/x", &options).await.unwrap_err();
    let mut text = format!("{error:?} {error}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(" {cause}"));
        source = cause.source();
    }
    assert!(text.contains("no-such-bucket") && !text.contains(turnstile_testkit::s3().secret_key), "{text}");
}
