//! What is asked is answered, and each answer is of one moment.

use std::time::SystemTime;

use futures::{StreamExt, pin_mut};
use tokio_postgres::types::ToSql;

use crate::scene::{Scene, server_error, text};

#[tokio::test]
async fn unquoted_names_fold_to_lower_case() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let sql = "SELECT STATION, ENTRIES, EXITS FROM ext_turnstile WHERE STATION LIKE 'Test%' ORDER BY Entries";
    let rows = client.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!((rows[0].get::<_, &str>(0), rows[0].get::<_, i64>("entries")), ("Test Station 1", 10));
}

#[tokio::test]
async fn a_prepared_statement_sees_new_data_each_time() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let statement = client.prepare("SELECT count FROM session_count").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(client.query_one(&statement, &[]).await.unwrap().get::<_, i64>(0));
    }
    assert!(seen[0] < seen[1] && seen[1] < seen[2], "{seen:?}");
}

#[tokio::test]
async fn each_statement_of_a_message_has_its_own_session() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let before = scene.tables.sessions();
    client.simple_query("SELECT 1; SELECT 2; SELECT 3").await.unwrap();
    assert_eq!(scene.tables.sessions() - before, 3);
}

#[tokio::test]
async fn parameters_take_their_types_from_the_columns() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let sql = "SELECT sum(exits) FROM ext_turnstile WHERE station = $1 AND entries >= $2";
    let row = client.query_one(sql, &[&"Test Station 1", &40_i64]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 4);
}

#[tokio::test]
async fn instants_come_in_utc_until_another_zone_is_set() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let sql = "SELECT start FROM ext_turnstile ORDER BY start LIMIT 1";
    assert_eq!(text(&client, sql).await, "2024-01-06 05:00:00.000000+00");
    let instant: SystemTime = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(instant.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 1_704_517_200);

    client.simple_query("SET timezone = 'America/New_York'").await.unwrap();
    assert_eq!(text(&client, sql).await, "2024-01-06 00:00:00.000000-05");
    let instant: SystemTime = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(instant.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 1_704_517_200);
}

#[tokio::test]
async fn a_portal_is_taken_in_pieces() {
    let scene = Scene::start().await;
    let mut client = scene.client().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT exits FROM ext_turnstile ORDER BY exits", &[]).await.unwrap();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        sizes.push(transaction.query_portal(&portal, 4).await.unwrap().len());
    }
    transaction.commit().await.unwrap();
    assert_eq!(sizes, [4, 2, 0]);
}

#[tokio::test]
async fn a_cursor_is_taken_in_pieces_and_ends_with_its_transaction() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    client.simple_query("BEGIN; DECLARE c CURSOR FOR SELECT exits FROM ext_turnstile ORDER BY exits").await.unwrap();
    assert_eq!(text(&client, "FETCH FORWARD 2 FROM c").await, "1");
    assert_eq!(text(&client, "FETCH ALL FROM c").await, "3");
    client.simple_query("COMMIT").await.unwrap();
    assert_eq!(server_error(client.simple_query("FETCH NEXT FROM c").await).code().code(), "34000");
}

#[tokio::test]
async fn a_long_answer_is_streamed() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let none: [&dyn ToSql; 0] = [];
    let rows = client.query_raw("SELECT * FROM generate_series(1, 300000)", none).await.unwrap();
    pin_mut!(rows);
    let mut sum = 0;
    while let Some(row) = rows.next().await {
        sum += row.unwrap().get::<_, i64>(0);
    }
    assert_eq!(sum, 300_000 * 300_001 / 2);
}

#[tokio::test]
async fn transactions_are_words_that_clients_count_on() {
    let scene = Scene::start().await;
    let mut client = scene.client().await;
    let transaction = client.transaction().await.unwrap();
    assert_eq!(server_error(transaction.query("SELECT nothing", &[]).await).code().code(), "42703");
    assert_eq!(server_error(transaction.query("SELECT 1", &[]).await).code().code(), "25P02");
    transaction.rollback().await.unwrap();
    assert_eq!(text(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_plan_is_explained_with_its_times() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    for sql in ["EXPLAIN SELECT * FROM ext_turnstile", "EXPLAIN ANALYZE SELECT * FROM ext_turnstile"] {
        assert!(!text(&client, sql).await.is_empty());
    }
}

#[tokio::test]
async fn more_rows_than_allowed_are_an_error_not_a_cut_answer() {
    let scene = Scene::with(|settings| settings.max_rows = Some(5)).await;
    let client = scene.client().await;
    assert_eq!(text(&client, "SELECT count(*) FROM ext_turnstile").await, "6");
    assert_eq!(client.query("SELECT 1 FROM ext_turnstile LIMIT 5", &[]).await.unwrap().len(), 5);
    assert_eq!(server_error(client.query("SELECT 1 FROM ext_turnstile", &[]).await).code().code(), "54000");
}

#[tokio::test]
async fn settings_are_shown_as_they_are() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    client.simple_query("SET statement_timeout = '2s'; SET search_path TO _turnstile").await.unwrap();
    assert_eq!(text(&client, "SHOW statement_timeout").await, "2000ms");
    assert_eq!(text(&client, "SELECT sum(rows) FROM files").await, "7");
    client.simple_query("RESET ALL").await.unwrap();
    assert_eq!(text(&client, "SHOW statement_timeout").await, "300000ms");
    assert_eq!(client.query_one("SHOW TimeZone", &[]).await.unwrap().get::<_, &str>(0), "UTC");
}
