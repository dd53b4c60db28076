//! TLS, passwords, permissions.

use turnstile_delivery::postgres::PostgresTarget;
use turnstile_delivery::{Scope, Target};
use turnstile_testkit::servers::PostgresServer;

use super::city::{change, dim, load, names, refusal, windows};
use super::place::Place;

/// The words for which a position cannot be asked for with these settings.
async fn refused(place: &Place, more: &[(&str, &str)]) -> (String, String) {
    refusal(PostgresTarget::new(place.settings(more)).position().await.unwrap_err())
}

/// Whether the session that answers is encrypted, as the server has it.
async fn is_encrypted(place: &Place, more: &[(&str, &str)]) -> bool {
    let mut settings = place.settings(more);
    settings.application_name = "asked".into();
    let mut target = PostgresTarget::new(settings);
    target.position().await.unwrap();
    let ask = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE application_name = 'asked' AND datname = current_database()";
    let answer = place.sql(ask).await;
    drop(target);
    // The next question must not find this session.
    while !place.sql(ask).await.is_empty() {}
    answer == ["t"]
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn each_tls_mode_encrypts_or_not_as_it_says() {
    let place = Place::new().await;
    let ca = place.server.authority.to_str().unwrap();
    assert!(!is_encrypted(&place, &[("sslmode", "disable")]).await);
    assert!(is_encrypted(&place, &[("sslmode", "prefer")]).await);
    assert!(is_encrypted(&place, &[("sslmode", "require")]).await);
    assert!(is_encrypted(&place, &[("sslmode", "verify-ca"), ("root_certificate", ca)]).await);
    let full = [("sslmode", "verify-full"), ("root_certificate", ca)];
    assert!(is_encrypted(&place, &full).await);
    assert!(is_encrypted(&place, &[&full[..], &[("host", "localhost")]].concat()).await);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn rows_go_over_tls_as_well() {
    let place = Place::new().await;
    let ca = place.server.authority.to_str().unwrap();
    let mut target = PostgresTarget::new(place.settings(&[("sslmode", "verify-full"), ("root_certificate", ca)]));
    let rows: Vec<(String, i64)> = (0..20_000).map(|n| (format!("station {n}"), n)).collect();
    let rows: Vec<(&str, i64, i64)> = rows.iter().map(|(name, n)| (name.as_str(), 0, *n)).collect();
    target.apply(&load(1, vec![windows(&[0], &rows)])).await.unwrap();
    assert_eq!(place.sql("SELECT count(*), sum(entries) FROM turnstile.fact").await, ["20000|199990000"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_server_that_another_authority_signed_is_refused() {
    let place = Place::new().await;
    let other = place.server.other_authority.to_str().unwrap();
    for mode in ["verify-ca", "verify-full"] {
        let (reason, hint) = refused(&place, &[("sslmode", mode), ("root_certificate", other)]).await;
        assert!(reason.contains("UnknownIssuer"), "{reason}");
        assert!(hint.contains("root_certificate"), "{hint}");
    }
    // The system's authorities did not sign it either.
    let (reason, _) = refused(&place, &[("sslmode", "verify-full")]).await;
    assert!(reason.contains("UnknownIssuer") || reason.contains("no authority"), "{reason}");
    let (reason, _) = refused(&place, &[("sslmode", "verify-ca"), ("root_certificate", "missing.pem")]).await;
    assert!(reason.contains("missing.pem cannot be read"), "{reason}");
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_certificate_for_another_name_passes_verify_ca_alone() {
    // Loopback all the same, and none of the names in the certificate.
    let server = PostgresServer::start_on("127.0.0.2").unwrap();
    let place = Place::on(server.address()).await;
    let ca = ("root_certificate", place.server.authority.to_str().unwrap());
    let (reason, hint) = refused(&place, &[("sslmode", "verify-full"), ca]).await;
    assert!(reason.contains("not valid for name"), "{reason}");
    assert!(hint.contains("verify-ca"), "{hint}");
    PostgresTarget::new(place.settings(&[("sslmode", "verify-ca"), ca])).position().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_socket_of_this_machine_is_reached_by_its_folder() {
    let server = PostgresServer::start().unwrap();
    let place = Place::on(server.address()).await;
    let mut target = PostgresTarget::new(place.settings(&[("host", server.socket_dir().to_str().unwrap())]));
    target.apply(&load(1, vec![windows(&[0], &[("A", 0, 1)])])).await.unwrap();
    assert_eq!(place.sql("SELECT station FROM turnstile.fact").await, ["A"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let server = PostgresServer::start_without_tls().unwrap();
    let place = Place::on(server.address()).await;
    let (reason, hint) = refused(&place, &[("sslmode", "require")]).await;
    assert!(reason.contains("server does not support TLS"), "{reason}");
    assert!(hint.contains("ssl = on"), "{hint}");
    PostgresTarget::new(place.settings(&[("sslmode", "prefer")])).position().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_server_that_wants_tls_is_named_where_none_is_spoken() {
    let place = Place::new().await;
    // Made by whichever run of this test came first.
    let _ = place.try_sql("CREATE DATABASE tls_only").await;
    let (_, hint) = refused(&place, &[("database", "tls_only"), ("sslmode", "disable")]).await;
    assert!(hint.contains("pg_hba.conf") && hint.contains("sslmode"), "{hint}");
    PostgresTarget::new(place.settings(&[("database", "tls_only")])).position().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_wrong_password_or_none_is_refused_and_never_shown() {
    let place = Place::new().await;
    let settings = place.settings_with_password(&[], "hush-hush");
    let fault = PostgresTarget::new(settings.clone()).position().await.unwrap_err();
    let shown = format!("{fault} {fault:?} {settings:?}");
    assert!(!shown.contains("hush-hush"), "{shown}");
    let (reason, hint) = refusal(fault);
    assert!(reason.contains("password authentication failed"), "{reason}");
    assert!(hint.contains("PGPASSWORD"), "{hint}");
    let mut without = settings;
    without.password = turnstile_delivery::postgres::Password::None;
    let (_, hint) = refusal(PostgresTarget::new(without).position().await.unwrap_err());
    assert!(hint.contains("PGPASSWORD"), "{hint}");
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_missing_database_and_a_missing_permission_say_what_to_do() {
    let place = Place::new().await;
    let (_, hint) = refused(&place, &[("database", "nowhere")]).await;
    assert!(hint.contains("create the database"), "{hint}");

    let user = format!("loader_{}", place.database);
    place.sql(&format!("CREATE ROLE {user} LOGIN PASSWORD 'pw'")).await;
    let settings = place.settings_with_password(&[("user", &user)], "pw");
    let first = load(1, vec![change(dim(), Scope::Keys, names(&[(1, "one")]))]);
    let (reason, hint) = refusal(PostgresTarget::new(settings.clone()).apply(&first).await.unwrap_err());
    assert!(reason.contains("creating schema turnstile: permission denied"), "{reason}");
    assert!(hint.contains("permissions"), "{hint}");

    // What the documentation says is enough.
    place.sql(&format!("CREATE SCHEMA turnstile AUTHORIZATION {user}")).await;
    let mut target = PostgresTarget::new(settings);
    target.apply(&first).await.unwrap();
    target.apply(&load(2, vec![change(dim(), Scope::Keys, names(&[(1, "uno")]))])).await.unwrap();
    assert_eq!(place.sql("SELECT name FROM turnstile.dim").await, ["uno"]);
}
