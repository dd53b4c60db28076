//! Queries: a SELECT's rows, written out in the requested form, or what is wrong with it.
//!
//! In: one SELECT (or EXPLAIN). Out: rows on a writer, batch by batch: a result is never held whole.
//! Refuses to know what tables there are. Start at [`Warehouse::query`](crate::Warehouse::query).

mod query_hint;
mod query_result;
mod result_table;
mod text_rows;

pub use query_hint::QueryHint;
pub(crate) use query_hint::explain_error;
pub use query_result::{QueryError, QueryResult, QueryResultFormat};
pub use text_rows::{TextColumn, TextRows};
