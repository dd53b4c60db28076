//! The types shared by reading and the engine.
//!
//! In: the bytes a reader fetched from Kafka. Out: [`MessageBatch`], a columnar batch of payloads in
//! shared buffers, with the position of every message; writer schemas, those of Avro as a table of types ([`AvroSchema`]).
//! Refuses to know who reads, who decodes and where results go. It is a separate crate so that reading does not depend
//! on the engine, nor the lake on either.
//! Positions and counters are recorded in the ledger: their JSON is part of its format.
//! Start at [`MessageBatch`]; a reader fills one through [`BatchBuilder`].

mod avro_schema;
mod batch;
mod counters;
mod excluded;
mod failed_window;
mod partition_position;
mod position;
mod schema;

pub use avro_schema::{AvroSchema, AvroShape, AvroType, AvroTypeId, LogicalType};
pub use batch::{BatchBuilder, MessageBatch, PartitionRun, Payloads};
pub use counters::Counters;
pub use excluded::ExcludedMessages;
pub use failed_window::{FailedGroup, FailedWindow};
pub use partition_position::PartitionPosition;
pub use position::{OffsetRange, SourcePosition, TopicPartition};
pub use schema::{SchemaKind, WriterSchema};
