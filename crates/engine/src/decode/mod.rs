//! Message bytes to typed columns.
//!
//! In: a [`MessageBatch`](turnstile_message::MessageBatch). Out: [`decoder::Decoded`]: the columns that the query needs, and what was rejected.
//! Knows nothing of windows or the order of time. Start at [`Decoder::decode`].

mod avro;
mod column_builder;
mod column_type;
mod csv;
mod csv_decoder;
mod decimal;
mod decode_plan;
mod decoder;
mod field_target;
mod json;
mod json_keys;
mod metadata;
mod rejection;
mod scalar;
mod text_view;
mod timestamp_parser;
mod writer_schemas;
mod zone;

pub(crate) use decode_plan::DecodePlan;
pub(crate) use decoder::Decoder;
pub use rejection::{Reason, Rejection};
