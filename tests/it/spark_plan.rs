//! `turnstile check --engine spark`: what is refused, what is planned, and what a cluster says of it.

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use turnstile_testkit::servers::{Certificates, KeyPair, SparkHome, SparkServer, free_port};

use crate::scene::text;

const TURNSTILE: &str = env!("CARGO_BIN_EXE_turnstile");
const PIPELINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines");

/// The secret that must be seen nowhere.
const TOKEN: &str = "canary-token-7f3a";

fn check(pipeline: &str, more: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(TURNSTILE);
    command.args(["check", &format!("{PIPELINES}/{pipeline}.toml")]).args(more);
    if !more.contains(&"--engine") {
        command.args(["--engine", "spark"]);
    }
    command.env_remove("SPARK_REMOTE").envs(environment.iter().copied());
    command.output().unwrap()
}

#[test]
fn what_spark_cannot_do_is_listed_and_the_rest_is_planned() {
    let refused = check("mta-turnstile", &["--set", "stream.late=correct"], &[]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(text(&refused).contains("set late = \"drop\" or \"dead-letter\""), "{}", text(&refused));
    let registers = check("mta-registers", &["--json"], &[]);
    assert_eq!(registers.status.code(), Some(3));
    let answer: serde_json::Value = serde_json::from_slice(&registers.stdout).unwrap();
    let reasons = answer["refused"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason.as_str().unwrap().starts_with("increase(…)")), "{answer}");

    let planned = check("mta-turnstile", &[], &[]);
    assert!(planned.status.success(), "{}", text(&planned));
    let printed = String::from_utf8(planned.stdout).unwrap();
    for part in ["spark.sql.ansi.enabled = true", "watermark 5 minutes behind TIMESTAMP", "collect_set(struct("] {
        assert!(printed.contains(part), "no {part} in\n{printed}");
    }
    let planned = check("mta-stations", &["--json"], &[]);
    let answer: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!((&answer["ok"], &answer["engine"]), (&true.into(), &"spark".into()));
}

#[test]
fn a_server_that_is_down_is_an_error_at_once_and_no_token_is_shown() {
    let port = free_port().unwrap();
    let address = format!("sc://127.0.0.1:{port}/;use_ssl=false;token={TOKEN}");
    let began = Instant::now();
    let down = check("mta-turnstile", &[], &[("SPARK_REMOTE", &address)]);
    assert_eq!(down.status.code(), Some(4), "{}", text(&down));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(text(&down).contains("cannot be reached") && !text(&down).contains(TOKEN), "{}", text(&down));
    let argument = check("mta-turnstile", &["--remote", &address], &[]);
    assert_eq!(argument.status.code(), Some(3), "{}", text(&argument));
    assert!(text(&argument).contains("SPARK_REMOTE") && !text(&argument).contains(TOKEN), "{}", text(&argument));
    let embedded = check("mta-turnstile", &["--engine", "embedded", "--remote", "sc://spark"], &[]);
    assert_eq!(embedded.status.code(), Some(2), "{}", text(&embedded));
    let wrong = check("mta-turnstile", &["--remote", "spark:15002"], &[]);
    assert!(wrong.status.code() == Some(3) && text(&wrong).contains("sc://HOST"), "{}", text(&wrong));
}

/// Serves TLS for a server that has none, until the runtime is dropped; returns the port.
fn tls_before(server: String, pair: &KeyPair, runtime: &Runtime) -> u16 {
    let chain = CertificateDer::pem_file_iter(&pair.certificate).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let Ok(mut upstream) = TcpStream::connect(server).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
            });
        }
    });
    port
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_token_goes_over_tls_to_a_server_whose_certificate_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(&dir.path().join("certificates")).unwrap();
    let home = crate::spark_scene::home();
    let server = SparkServer::start(&home.property("spark.connect.authenticate.token", TOKEN), dir.path()).unwrap();
    let runtime = Runtime::new().unwrap();
    let behind = server.remote().strip_prefix("sc://").unwrap().to_owned();
    let trusted = ("SSL_CERT_FILE", certificates.authority.to_str().unwrap());
    let asked = |pair: &KeyPair, token: &str| {
        let port = tls_before(behind.clone(), pair, &runtime);
        let address = format!("sc://127.0.0.1:{port}/;token={token}");
        let began = Instant::now();
        loop {
            let output = check("mta-turnstile", &[], &[("SPARK_REMOTE", &address), trusted]);
            assert!(!text(&output).contains(TOKEN), "{}", text(&output));
            // A server that has just started answers its first call slowly.
            if !text(&output).contains("did not answer") || began.elapsed() > crate::scene::PATIENCE {
                return output;
            }
        }
    };
    let accepted = asked(&certificates.server, TOKEN);
    assert!(accepted.status.success() && text(&accepted).contains("the plan is accepted"), "{}", text(&accepted));
    let refused = asked(&certificates.server, "another-token");
    assert!(refused.status.code() == Some(4) && text(&refused).contains("refuses access"), "{}", text(&refused));
    for wrong in [&certificates.expired, &certificates.elsewhere, &certificates.stranger] {
        let output = asked(wrong, TOKEN);
        assert!(output.status.code() == Some(4) && text(&output).contains("certificate"), "{}", text(&output));
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_cluster_accepts_the_plans_and_the_lack_of_its_kafka_source_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let home = SparkHome::at(&turnstile_testkit::spark());
    let bare = SparkServer::start(&home, dir.path()).unwrap();
    // A server that has just started answers its first call slowly.
    let answered = |remote: &str, pipeline: &str| {
        let began = Instant::now();
        loop {
            let output = check(pipeline, &["--remote", remote], &[]);
            if !text(&output).contains("did not answer") || began.elapsed() > crate::scene::PATIENCE {
                return output;
            }
        }
    };
    let lacking = answered(&bare.remote(), "mta-turnstile");
    assert!(!lacking.status.success() && text(&lacking).contains("spark-sql-kafka-0-10_2.13"), "{}", text(&lacking));
    drop(bare);
    let whole = SparkServer::start(&crate::spark_scene::home(), dir.path()).unwrap();
    for pipeline in ["mta-turnstile", "mta-stations", "mta-avro"] {
        let accepted = answered(&whole.remote(), pipeline);
        assert!(accepted.status.success(), "{}", text(&accepted));
        let printed = String::from_utf8(accepted.stdout).unwrap();
        assert!(printed.contains("the plan is accepted") && printed.contains(" |-- ENTRIES: long"), "{printed}");
    }
}
