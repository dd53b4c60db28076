//! A pipeline as Spark computes it: session settings, views, a query.
//!
//! In: a checked [`Pipeline`](turnstile_pipeline::Pipeline), and the schemas of a registry ([`RegistrySchemas`]). Out: a [`SparkPlan`], or what of the pipeline Spark cannot do.
//! Does no I/O and knows no server: the plan can be shown before it is sent. Start at [`SparkPlan::of`]; `decoding` makes
//! rows of messages, `limits` says what is refused.

mod avro;
mod avro_program;
mod avro_skip;
mod clock;
mod columns;
mod csv;
mod decoding;
mod field;
mod json;
mod lateness;
mod limits;
mod schemas;
mod spark_plan;
mod sql_text;
mod zone;

pub use columns::{
    DETAIL, FIELD, KEY, MESSAGES_VIEW, OBSERVED_MESSAGES, OBSERVED_ROWS, OBSERVED_STREAM, REASON, ROWS_VIEW, SENT,
    VALUE,
};
pub use schemas::{RegistrySchemas, asked_schema, schema_ids};
pub use spark_plan::SparkPlan;
