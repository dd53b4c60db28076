//! psql, psycopg and JDBC as people use them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use turnstile_testkit::servers::Certificates;
use turnstile_wire::{TlsFiles, WireCredentials, WirePassword};

use crate::scene::Scene;

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(name)
}

/// Runs a client beside the server, which needs this thread.
async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("the client starts")).await.unwrap()
}

fn psql(scene: &Scene, more: &str) -> Command {
    let mut command = Command::new("psql");
    let address = format!("host=127.0.0.1 port={} user=reader dbname=turnstile {more}", scene.port());
    command.args(["--no-psqlrc", "--no-password", "-d", &address]).env_clear().env("LC_ALL", "C.UTF-8");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

async fn says(scene: &Scene, sql: &str) -> String {
    let mut command = psql(scene, "");
    command.args(["-c", sql]);
    let output = run(command).await;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && complained.is_empty(), "{sql}: {said}{complained}");
    said.into_owned()
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn psql_lists_and_describes_tables() {
    let scene = Scene::start().await;
    let tables = says(&scene, "\\dt").await;
    assert!(tables.contains("ext_turnstile") && tables.contains("fact_turnstile"), "{tables}");
    assert!(says(&scene, "\\d").await.contains("ext_turnstile"));
    assert!(says(&scene, "\\dn").await.contains("_turnstile"));
    assert!(says(&scene, "\\l").await.contains("turnstile"));
    let table = says(&scene, "\\d ext_turnstile").await;
    assert!(table.contains("entries") && table.contains("bigint"), "{table}");
    assert!(table.contains("timestamp with time zone"), "{table}");
    assert!(says(&scene, "\\d _turnstile.files").await.contains("rows"));
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn psql_draws_the_caret_under_the_fault() {
    let scene = Scene::start().await;
    let mut command = psql(&scene, "");
    command.args(["-c", "SELECT station, entrys FROM ext_turnstile"]);
    let output = run(command).await;
    let expected = "ERROR:  column \"entrys\" does not exist\n\
                    LINE 1: SELECT station, entrys FROM ext_turnstile\n                        ^\n\
                    HINT:  perhaps you meant entries\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn psql_comes_in_by_tls_and_password() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(dir.path()).unwrap();
    let scene = Scene::with(|settings| {
        let pair = &certificates.server;
        settings.tls = Some(TlsFiles { certificate: pair.certificate.clone(), key: pair.key.clone() });
        settings.credentials = Some(WireCredentials { user: "reader".into(), password: WirePassword::new("s3cret") });
    })
    .await;
    for binding in ["disable", "require"] {
        let mut command = psql(&scene, &format!("sslmode=require channel_binding={binding}"));
        command.args(["-At", "-c", "SELECT 1", "-c", "\\conninfo"]).env("PGPASSWORD", "s3cret");
        let output = run(command).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.starts_with("1\n") && said.contains("SSL"), "{binding}: {output:?}");
    }
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn psycopg_reads_types_binds_parameters_and_keeps_cursors() {
    let scene = Scene::start().await;
    let mut command = Command::new(turnstile_testkit::python());
    command.arg(program("reader.py")).arg(scene.port().to_string());
    let output = run(command).await;
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn jdbc_reads_the_catalog_and_fetches_in_pieces() {
    let scene = Scene::start().await;
    let mut command = Command::new("java");
    command.arg("-cp").arg(turnstile_testkit::jdbc()).arg(program("Reader.java")).arg(scene.port().to_string());
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
