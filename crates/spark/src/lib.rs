//! A pipeline on an Apache Spark cluster.
//!
//! In: a pipeline, and the address of a Spark Connect server ([`SparkAddress`]). Out: the pipeline as Spark's SQL
//! ([`SparkPlan`]); sessions with streaming queries, their progress, their failures and the files that they leave.
//! Refuses to know Kafka's settings, the lake and the ledger.
//! Start at [`SparkPlan::of`] and [`Session::open`]; the protocol's messages are in `connect/messages`.

mod address;
mod connect;
mod error;
mod files;
mod plan;
mod prepare;

pub use address::{SparkAddress, SparkAddressError};
pub use connect::{
    DataSource, Explanation, QueryHandle, QueryState, Relation, RunningQuery, Session, SessionSettings, StreamSink,
    StreamTrigger,
};
pub use error::SparkError;
pub use files::{
    BatchFiles, BatchOffsets, BatchProgress, BlockRanges, PartitionOffsets, SinkFile, SinkLog, SparkWindowBounds,
    SparkWindowRows, UnknownFormat, compact_path, offsets_of_blocks, offsets_path, sink_path,
};
pub use plan::{
    DETAIL, FIELD, KEY, MESSAGES_VIEW, OBSERVED_MESSAGES, OBSERVED_ROWS, OBSERVED_STREAM, REASON, ROWS_VIEW,
    RegistrySchemas, SENT, SparkPlan, VALUE, asked_schema, schema_ids,
};
