//! What a session can be asked.

use turnstile_spark::{Explanation, Relation, SparkError};

use crate::server::{session, shared};

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_session_has_settings_and_views() {
    let session = session(shared()).await;
    assert!(session.version().starts_with("4."), "{}", session.version());
    session.set([("spark.sql.session.timeZone", "Asia/Kolkata"), ("spark.sql.shuffle.partitions", "3")]).await.unwrap();
    assert_eq!(session.get("spark.sql.session.timeZone").await.unwrap().as_deref(), Some("Asia/Kolkata"));
    assert_eq!(session.get("spark.turnstile.none").await.unwrap(), None);

    session.create_view("numbers", Relation::sql("SELECT id, id * 2 AS twice FROM range(10)")).await.unwrap();
    let schema = session.schema(&Relation::sql("SELECT twice FROM numbers")).await.unwrap();
    assert!(schema.contains("twice: long"), "{schema}");
    // A view of that name is replaced.
    session.create_view("numbers", Relation::sql("SELECT 'a' AS twice")).await.unwrap();
    let schema = session.schema(&Relation::sql("SELECT twice FROM numbers")).await.unwrap();
    assert!(schema.contains("twice: string"), "{schema}");
    let plan = session.explain(&Relation::sql("SELECT twice FROM numbers"), Explanation::Simple).await.unwrap();
    assert!(plan.contains("Physical Plan"), "{plan}");
    session.release().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_session_can_be_returned_to_by_its_number() {
    let first = session(shared()).await;
    first.create_view("kept", Relation::sql("SELECT 1 AS one")).await.unwrap();
    let mut remote = shared();
    remote.session_id = Some(first.id());
    drop(first);
    let second = session(remote).await;
    assert!(second.schema(&Relation::sql("SELECT one FROM kept")).await.unwrap().contains("one: integer"));
    second.release().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn what_spark_refuses_has_its_class_and_sqlstate() {
    let session = session(shared()).await;
    let error = session.schema(&Relation::sql("SELECT x FROM nowhere")).await.unwrap_err();
    let SparkError::Spark { class, sql_state, message, stack } = &error else { panic!("{error:?}") };
    assert_eq!((class.as_str(), sql_state.as_deref()), ("TABLE_OR_VIEW_NOT_FOUND", Some("42P01")));
    assert!(message.starts_with("The table or view `nowhere` cannot be found."), "{message}");
    assert!(!message.contains("SQLSTATE") && message.ends_with("line 1 pos 14"), "{message}");
    assert!(!error.to_string().contains("\n  at "), "{error}");
    assert!(stack.iter().any(|line| line.contains("at org.apache.spark")), "{stack:?}");
    let error = session.schema(&Relation::sql("SELEC 1")).await.unwrap_err();
    assert!(matches!(&error, SparkError::Spark { class, .. } if class == "PARSE_SYNTAX_ERROR"), "{error:?}");
    session.release().await.unwrap();
}
