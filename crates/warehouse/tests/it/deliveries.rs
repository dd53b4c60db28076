//! What is delivered to other databases.

use futures::TryStreamExt;
use turnstile_delivery::{Delivery, Scope};
use turnstile_lake::FileEncoding;

use crate::story::{DAY, Story, WINDOW_US, load_all};

async fn rows(delivery: &Delivery, table: &str) -> u64 {
    let change = delivery.changes.iter().find(|change| change.table.name == table).unwrap();
    let batches: Vec<_> = change.rows.read().try_collect().await.unwrap();
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}

fn scope<'a>(delivery: &'a Delivery, table: &str) -> &'a Scope {
    &delivery.changes.iter().find(|change| change.table.name == table).unwrap().scope
}

#[tokio::test]
async fn a_new_database_receives_everything_and_a_known_one_what_changed() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    let warehouse = story.warehouse();
    assert!(warehouse.delivery(None).await.unwrap().is_none());
    story.publish(&[(0, 1, &[("a", 1), ("b", 2)]), (1, 1, &[("a", 3)])]).await;
    load_all(&warehouse).await;

    let first = warehouse.delivery(None).await.unwrap().unwrap();
    let names: Vec<&str> = first.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["dim_booth", "dim_station", "fact_turnstile"]);
    assert!(first.changes.iter().all(|change| change.scope == Scope::Everything));
    assert_eq!((rows(&first, "fact_turnstile").await, rows(&first, "dim_station").await), (3, 2));
    assert!(warehouse.delivery(Some(&first.to)).await.unwrap().is_none());

    story.publish(&[(0, 2, &[("a", 5)])]).await;
    load_all(&warehouse).await;
    let second = warehouse.delivery(Some(&first.to)).await.unwrap().unwrap();
    assert_eq!(second.from, Some(first.to));
    assert_eq!(*scope(&second, "fact_turnstile"), Scope::Windows(vec![DAY]));
    assert_eq!(rows(&second, "fact_turnstile").await, 1);
    assert!(second.changes.iter().all(|change| change.table.name != "dim_station"), "no station is new");

    story.publish(&[(2, 1, &[("c", 1)]), (3, 1, &[("a", 1)])]).await;
    load_all(&warehouse).await;
    let third = warehouse.delivery(Some(&second.to)).await.unwrap().unwrap();
    let windows = vec![DAY + 2 * WINDOW_US, DAY + 3 * WINDOW_US];
    assert_eq!(*scope(&third, "fact_turnstile"), Scope::Windows(windows));
    assert_eq!(*scope(&third, "dim_station"), Scope::Keys);
    assert_eq!(rows(&third, "dim_station").await, 3);
}

#[tokio::test]
async fn a_database_that_missed_loads_receives_all_of_them_at_once() {
    let mut story = Story::begin(FileEncoding::Parquet).await;
    let warehouse = story.warehouse();
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    load_all(&warehouse).await;
    let at = warehouse.delivery(None).await.unwrap().unwrap().to;
    for number in 1..80 {
        story.publish(&[(number, 1, &[("a", number)])]).await;
        load_all(&warehouse).await;
    }
    let delivery = warehouse.delivery(Some(&at)).await.unwrap().unwrap();
    assert_eq!(*scope(&delivery, "fact_turnstile"), Scope::Windows((1..80).map(|n| DAY + n * WINDOW_US).collect()));
    assert_eq!(rows(&delivery, "fact_turnstile").await, 79);
}

#[tokio::test]
async fn tables_are_known_before_the_first_load_and_a_lake_without_commits_has_no_files() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.lake = turnstile_lake::Lake::open("memory:", &turnstile_lake::StoreOptions::default()).await.unwrap();
    let warehouse = story.warehouse();
    let planned = warehouse.tables().await.unwrap();
    assert_eq!(
        planned.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(),
        ["dim_booth", "dim_station", "fact_turnstile"]
    );
    assert!(warehouse.current_files().await.unwrap().is_empty());

    // A load creates what was planned.
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let warehouse = story.warehouse();
    load_all(&warehouse).await;
    assert_eq!(warehouse.tables().await.unwrap(), planned);
    assert_eq!(
        warehouse.current_files().await.unwrap(),
        ["date=2026-08-01/p_20260801T000000Z_20260801T000500Z.csv.gz"]
    );
}
