//! A pipeline on an Apache Spark cluster.
//!
//! In: the address of a Spark Connect server ([`SparkAddress`]), relations and commands. Out: streaming queries, their progress and
//! their failures.
//! Refuses to know Kafka, the lake and the ledger: what runs is the caller's choice.
//! Start at [`Session::open`]; the protocol's messages are in `connect/messages`.

mod address;
mod connect;
mod error;

pub use address::{SparkAddress, SparkAddressError};
pub use connect::{
    DataSource, Explanation, QueryHandle, QueryState, Relation, RunningQuery, Session, SessionSettings, StreamSink,
    StreamTrigger,
};
pub use error::SparkError;
