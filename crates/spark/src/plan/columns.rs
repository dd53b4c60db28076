//! Names of views, and of the columns that a plan adds to a pipeline's own.

/// The view of the messages as the Kafka source gives them.
pub const MESSAGES_VIEW: &str = "__turnstile_messages";
/// The view of the messages as rows, those that are rejected too.
pub const ROWS_VIEW: &str = "__turnstile_rows";
/// Column of [`ROWS_VIEW`]: why a message is rejected, as in the dead letters; null for a row.
pub const REASON: &str = "__reason";
/// Column of [`ROWS_VIEW`]: the field that is to blame, if one is.
pub const FIELD: &str = "__field";
/// Column of [`ROWS_VIEW`]: what was found.
pub const DETAIL: &str = "__detail";
/// Column of [`ROWS_VIEW`]: the message's value, bytes.
pub const VALUE: &str = "__value";
/// Column of [`ROWS_VIEW`]: the message's key, bytes.
pub const KEY: &str = "__key";
/// Column of [`ROWS_VIEW`]: the message's timestamp.
pub const SENT: &str = "__sent";

/// What is observed of the messages: `read`, `tombstones`.
pub const OBSERVED_MESSAGES: &str = "turnstile_messages";
/// What is observed of [`ROWS_VIEW`]: `rejected`, `oldest_us`.
pub const OBSERVED_ROWS: &str = "turnstile_rows";
/// What is observed of the rows that are neither duplicates nor late for dedup: `rows`, `filtered`, `newest_us`.
pub const OBSERVED_STREAM: &str = "turnstile_stream";
