//! A pipeline on an Apache Spark cluster.
//!
//! In: a pipeline, and the address of a Spark Connect server ([`SparkAddress`]). Out: the pipeline as Spark's SQL
//! ([`SparkPlan`]); sessions with streaming queries, their progress and their failures.
//! Refuses to know Kafka's settings, the lake and the ledger.
//! Start at [`SparkPlan::of`] and [`Session::open`]; the protocol's messages are in `connect/messages`.

mod address;
mod connect;
mod error;
mod plan;
mod prepare;

pub use address::{SparkAddress, SparkAddressError};
pub use connect::{
    DataSource, Explanation, QueryHandle, QueryState, Relation, RunningQuery, Session, SessionSettings, StreamSink,
    StreamTrigger,
};
pub use error::SparkError;
pub use plan::{DETAIL, FIELD, KEY, MESSAGES_VIEW, REASON, ROWS_VIEW, SENT, SparkPlan, VALUE};
