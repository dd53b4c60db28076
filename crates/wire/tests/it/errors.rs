//! Errors are reported as PostgreSQL's clients expect them.

use tokio_postgres::error::ErrorPosition;

use crate::scene::{Scene, server_error, text};

#[tokio::test]
async fn a_syntax_error_has_its_place_in_both_protocols() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let sql = "SELECT station\nFORM ext_turnstile WHERE";
    for error in [server_error(client.simple_query(sql).await), server_error(client.query(sql, &[]).await)] {
        assert_eq!((error.code().code(), error.severity()), ("42601", "ERROR"));
        assert!(matches!(error.position(), Some(ErrorPosition::Original(21..))), "{error:?}");
        assert!(!error.message().contains('\n'));
    }
}

#[tokio::test]
async fn an_unknown_table_lists_the_nearest() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let error = server_error(client.query("SELECT * FROM ext_turnstyle", &[]).await);
    assert_eq!((error.code().code(), error.message()), ("42P01", "relation \"ext_turnstyle\" does not exist"));
    assert_eq!(error.hint(), Some("perhaps you meant one of ext_turnstile, fact_turnstile"));
    assert_eq!(error.position(), Some(&ErrorPosition::Original(15)));
}

#[tokio::test]
async fn an_unknown_column_lists_the_nearest() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let error = server_error(client.query("SELECT stations FROM ext_turnstile", &[]).await);
    assert_eq!((error.code().code(), error.hint()), ("42703", Some("perhaps you meant station")));
    assert_eq!(error.position(), Some(&ErrorPosition::Original(8)));
}

#[tokio::test]
async fn what_changes_is_refused_in_both_protocols() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    for sql in [
        "INSERT INTO ext_turnstile (exits) VALUES (1)",
        "DELETE FROM ext_turnstile",
        "CREATE TABLE t (a int)",
        "DROP TABLE ext_turnstile",
        "TRUNCATE ext_turnstile",
        "COPY ext_turnstile TO '/tmp/x'",
        "EXPLAIN ANALYZE INSERT INTO ext_turnstile (exits) VALUES (1)",
        "SET datafusion.execution.batch_size = 1",
    ] {
        assert_eq!(server_error(client.simple_query(sql).await).code().code(), "25006", "{sql}");
        assert_eq!(server_error(client.execute(sql, &[]).await).code().code(), "25006", "{sql}");
    }
    assert_eq!(text(&client, "SELECT count(*) FROM ext_turnstile").await, "6");
}

#[tokio::test]
async fn a_query_beyond_the_memory_ends_and_the_server_lives() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let greedy = "SELECT a.value, count(*) FROM generate_series(1, 20000000) a GROUP BY a.value ORDER BY 2 DESC";
    let error = server_error(client.simple_query(greedy).await);
    assert_eq!(error.code().code(), "53200", "{error:?}");
    assert!(error.hint().is_some());
    assert_eq!(text(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_connection_lives() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let error = server_error(client.simple_query("SELECT panics(exits) FROM ext_turnstile").await);
    assert_eq!(error.code().code(), "XX000");
    assert_eq!(text(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn arithmetic_that_fails_has_its_own_codes() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let code = async |sql| server_error(client.simple_query(sql).await).code().code().to_owned();
    assert_eq!(code("SELECT exits / 0 FROM ext_turnstile").await, "22012");
    assert_eq!(code("SELECT CAST(station AS bigint) FROM ext_turnstile").await, "22P02");
    assert_eq!(code("SELECT summ(exits) FROM ext_turnstile").await, "42883");
}
