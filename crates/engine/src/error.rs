//! Why the engine stops.

/// Why the engine stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The pipeline cannot be compiled; fix the pipeline file.
    #[error("the query cannot be run: {0}")]
    Plan(String),
    /// An expression of the query failed on the data.
    #[error("the query failed")]
    Query(#[from] datafusion_common::DataFusionError),
    /// A column could not be built.
    #[error("a column could not be built")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A register's growth left the range of a 64-bit integer.
    #[error("the growth of a register does not fit a 64-bit integer")]
    Overflow,
    /// A window cannot be computed: its sums overflow, or an expression of SELECT or HAVING fails on it.
    /// The same messages give the same error; change the query.
    #[error("the window that begins at {start} cannot be computed")]
    Window {
        /// Its first instant, RFC 3339, UTC.
        start: String,
        /// Why.
        source: Box<EngineError>,
    },
    /// Open windows and dedup state outgrew their limit.
    #[error("open windows and dedup state hold {held} bytes, more than `[stream] memory` allows ({limit})")]
    Memory {
        /// Approximate bytes held.
        held: usize,
        /// The limit.
        limit: usize,
    },
    /// A batch refers to a schema that was not registered with the worker.
    #[error("schema {id} was not registered before its messages")]
    SchemaNotRegistered {
        /// Its id in the registry.
        id: u32,
    },
    /// Persisted state cannot be read.
    #[error("the saved state cannot be read: {0}")]
    State(String),
}
