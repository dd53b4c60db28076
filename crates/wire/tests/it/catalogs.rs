//! What BI tools ask before they ask for data.

use crate::scene::{Scene, text};

#[tokio::test]
async fn a_client_learns_where_it_is() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    assert_eq!(text(&client, "SELECT current_database()").await, "turnstile");
    assert_eq!(text(&client, "SELECT current_schema()").await, "public");
    assert!(text(&client, "SELECT version()").await.starts_with("PostgreSQL 16"));
    assert_eq!(text(&client, "SHOW server_version").await, "16.6");
}

#[tokio::test]
async fn information_schema_lists_tables_and_columns() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let sql = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!(text(&client, sql).await, "3");
    let sql = "SELECT column_name FROM information_schema.columns \
               WHERE table_name = 'ext_turnstile' ORDER BY ordinal_position LIMIT 1";
    assert_eq!(text(&client, sql).await, "ca");
}

#[tokio::test]
async fn a_table_keeps_its_number_from_one_statement_to_the_next() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let number = "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                  WHERE c.relname = 'ext_turnstile' AND n.nspname = 'public'";
    let oid = text(&client, number).await;
    assert_eq!(text(&client, number).await, oid);
    let columns = format!("SELECT count(*) FROM pg_catalog.pg_attribute WHERE attrelid = {oid} AND attnum > 0");
    assert_eq!(text(&client, &columns).await, "10");
}
