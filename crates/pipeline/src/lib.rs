//! The pipeline file: source, schema, time rules, query, lake and warehouse, checked and planned.
//!
//! In: a TOML file, and values that override some of its keys. Out: a [`Pipeline`], whose [`Query`] holds expressions
//! that an engine evaluates unchanged; or every problem of the file as `file:line:column: fact; next step`.
//! Refuses to know who reads Kafka, where state is kept and what time it is; the only file it opens is
//! the pipeline's own. Start at [`Pipeline::from_path`]; then `query` for what becomes of the SQL.

mod alerts;
mod console;
mod describe;
mod endpoint;
mod error;
mod file;
mod functions;
mod lake;
mod message_format;
mod message_metadata;
mod pipeline;
mod properties;
mod query;
mod registry;
mod schema;
mod source;
mod spark;
mod stream;
mod targets;
mod timestamp;
mod topics;
mod track;
mod warehouse;

pub use alerts::AlertSettings;
pub use console::ConsoleSection;
pub use endpoint::PasswordSource;
pub use error::{PipelineError, Problem};
pub use functions::normalized_double;
pub use lake::{FileFormat, LakeSettings, PARTITION_KEY};
pub use message_format::MessageFormat;
pub use message_metadata::MessageMetadata;
pub use pipeline::Pipeline;
pub use properties::{Properties, is_secret};
pub use query::{
    Aggregate, AggregateKind, MESSAGE_ORDER, Query, SPARK_BLOCK, SPARK_BLOCKS, SPARK_HAVING, SPARK_MESSAGES,
    SparkQuery, WINDOW_END, WINDOW_START, WindowSpec, with_window,
};
pub use registry::RegistrySettings;
pub use schema::{Field, FieldKind};
pub use source::{EmptyText, FieldPolicy, SourceSettings};
pub use spark::SparkSettings;
pub use stream::{CommitCadence, DedupSettings, FailedGroupPolicy, LatePolicy, StreamSettings};
pub use targets::{BigQueryTargetSettings, CredentialsSource, PostgresTargetSettings, SettingPlaces};
pub use timestamp::{EpochUnit, LocalTime, PatternItem, TimestampFormat, TimestampPattern};
pub use topics::{TopicPattern, TopicSelection};
pub use track::{LineageDestination, LineageSettings, OtlpSection, PrefectSection, TaskNames, TrackSettings};
pub use warehouse::{BUILT_IN_MODELS, LoadSchedule, WarehouseSettings};

/// The names of all functions that a query can call, in lower case.
pub fn function_names() -> Vec<&'static str> {
    query::call::names().collect()
}
