//! TLS, passwords, permissions.

use turnstile_delivery::postgres::PostgresTarget;
use turnstile_delivery::{Scope, Target};
use turnstile_testkit::servers::PostgresServer;

use super::city::{change, dim, load, names, refusal, windows};
use super::test_database::TestDatabase;

/// The words for which a position cannot be asked for with these settings.
async fn refused(database: &TestDatabase, more: &[(&str, &str)]) -> (String, String) {
    refusal(PostgresTarget::new(database.settings(more)).position().await.unwrap_err())
}

/// Whether the session that answers is encrypted, as the server has it.
async fn is_encrypted(database: &TestDatabase, more: &[(&str, &str)]) -> bool {
    let mut settings = database.settings(more);
    settings.application_name = "asked".into();
    let mut target = PostgresTarget::new(settings);
    target.position().await.unwrap();
    let ask = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE application_name = 'asked' AND datname = current_database()";
    let answer = database.sql(ask).await;
    drop(target);
    // The next question must not find this session.
    while !database.sql(ask).await.is_empty() {}
    answer == ["t"]
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn each_tls_mode_encrypts_or_not_as_it_says() {
    let database = TestDatabase::new().await;
    let ca = database.server.authority.to_str().unwrap();
    assert!(!is_encrypted(&database, &[("sslmode", "disable")]).await);
    assert!(is_encrypted(&database, &[("sslmode", "prefer")]).await);
    assert!(is_encrypted(&database, &[("sslmode", "require")]).await);
    assert!(is_encrypted(&database, &[("sslmode", "verify-ca"), ("root_certificate", ca)]).await);
    let full = [("sslmode", "verify-full"), ("root_certificate", ca)];
    assert!(is_encrypted(&database, &full).await);
    assert!(is_encrypted(&database, &[&full[..], &[("host", "localhost")]].concat()).await);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn rows_go_over_tls_as_well() {
    let database = TestDatabase::new().await;
    let ca = database.server.authority.to_str().unwrap();
    let mut target = PostgresTarget::new(database.settings(&[("sslmode", "verify-full"), ("root_certificate", ca)]));
    let rows: Vec<(String, i64)> = (0..20_000).map(|n| (format!("station {n}"), n)).collect();
    let rows: Vec<(&str, i64, i64)> = rows.iter().map(|(name, n)| (name.as_str(), 0, *n)).collect();
    target.apply(&load(1, vec![windows(&[0], &rows)])).await.unwrap();
    assert_eq!(database.sql("SELECT count(*), sum(entries) FROM turnstile.fact").await, ["20000|199990000"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_server_that_another_authority_signed_is_refused() {
    let database = TestDatabase::new().await;
    let other = database.server.other_authority.to_str().unwrap();
    for mode in ["verify-ca", "verify-full"] {
        let (reason, hint) = refused(&database, &[("sslmode", mode), ("root_certificate", other)]).await;
        assert!(reason.contains("UnknownIssuer"), "{reason}");
        assert!(hint.contains("root_certificate"), "{hint}");
    }
    // The system's authorities did not sign it either.
    let (reason, _) = refused(&database, &[("sslmode", "verify-full")]).await;
    assert!(reason.contains("UnknownIssuer") || reason.contains("no authority"), "{reason}");
    let (reason, _) = refused(&database, &[("sslmode", "verify-ca"), ("root_certificate", "missing.pem")]).await;
    assert!(reason.contains("missing.pem cannot be read"), "{reason}");
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_certificate_for_another_name_passes_verify_ca_alone() {
    // Loopback all the same, and none of the names in the certificate.
    let server = PostgresServer::start_on("127.0.0.2").unwrap();
    let database = TestDatabase::on(server.address()).await;
    let ca = ("root_certificate", database.server.authority.to_str().unwrap());
    let (reason, hint) = refused(&database, &[("sslmode", "verify-full"), ca]).await;
    assert!(reason.contains("not valid for name"), "{reason}");
    assert!(hint.contains("verify-ca"), "{hint}");
    PostgresTarget::new(database.settings(&[("sslmode", "verify-ca"), ca])).position().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_socket_of_this_machine_is_reached_by_its_folder() {
    let server = PostgresServer::start().unwrap();
    let database = TestDatabase::on(server.address()).await;
    let mut target = PostgresTarget::new(database.settings(&[("host", server.socket_dir().to_str().unwrap())]));
    target.apply(&load(1, vec![windows(&[0], &[("A", 0, 1)])])).await.unwrap();
    assert_eq!(database.sql("SELECT station FROM turnstile.fact").await, ["A"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_server_without_tls_is_refused_if_tls_is_required() {
    let server = PostgresServer::start_without_tls().unwrap();
    let database = TestDatabase::on(server.address()).await;
    let (reason, hint) = refused(&database, &[("sslmode", "require")]).await;
    assert!(reason.contains("server does not support TLS"), "{reason}");
    assert!(hint.contains("ssl = on"), "{hint}");
    PostgresTarget::new(database.settings(&[("sslmode", "prefer")])).position().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_server_that_requires_tls_is_named_if_tls_is_disabled() {
    let database = TestDatabase::new().await;
    // Made by whichever run of this test came first.
    let _ = database.try_sql("CREATE DATABASE tls_only").await;
    let (_, hint) = refused(&database, &[("database", "tls_only"), ("sslmode", "disable")]).await;
    assert!(hint.contains("pg_hba.conf") && hint.contains("sslmode"), "{hint}");
    PostgresTarget::new(database.settings(&[("database", "tls_only")])).position().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_wrong_password_or_none_is_refused_and_never_shown() {
    let database = TestDatabase::new().await;
    let settings = database.settings_with_password(&[], "hush-hush");
    let error = PostgresTarget::new(settings.clone()).position().await.unwrap_err();
    let shown = format!("{error} {error:?} {settings:?}");
    assert!(!shown.contains("hush-hush"), "{shown}");
    let (reason, hint) = refusal(error);
    assert!(reason.contains("password authentication failed"), "{reason}");
    assert!(hint.contains("PGPASSWORD"), "{hint}");
    let mut without = settings;
    without.password = turnstile_delivery::postgres::PostgresPassword::None;
    let (_, hint) = refusal(PostgresTarget::new(without).position().await.unwrap_err());
    assert!(hint.contains("PGPASSWORD"), "{hint}");
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_missing_database_and_a_missing_permission_say_what_to_do() {
    let database = TestDatabase::new().await;
    let (_, hint) = refused(&database, &[("database", "nowhere")]).await;
    assert!(hint.contains("create the database"), "{hint}");

    let user = format!("loader_{}", database.name);
    database.sql(&format!("CREATE ROLE {user} LOGIN PASSWORD 'pw'")).await;
    let settings = database.settings_with_password(&[("user", &user)], "pw");
    let first = load(1, vec![change(dim(), Scope::Keys, names(&[(1, "one")]))]);
    let (reason, hint) = refusal(PostgresTarget::new(settings.clone()).apply(&first).await.unwrap_err());
    assert!(reason.contains("creating schema turnstile: permission denied"), "{reason}");
    assert!(hint.contains("permissions"), "{hint}");

    // What the documentation says is enough.
    database.sql(&format!("CREATE SCHEMA turnstile AUTHORIZATION {user}")).await;
    let mut target = PostgresTarget::new(settings);
    target.apply(&first).await.unwrap();
    target.apply(&load(2, vec![change(dim(), Scope::Keys, names(&[(1, "uno")]))])).await.unwrap();
    assert_eq!(database.sql("SELECT name FROM turnstile.dim").await, ["uno"]);
}
