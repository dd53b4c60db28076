//! The clock of a batch in a plan's SQL.

/// The clock in the query of the rows; the comment is how [`at`] finds it.
pub(super) const CLOCK: &str = "current_timestamp()/*clock*/";

/// `sql` with another clock: `clock_ms`, milliseconds since the epoch.
pub(super) fn at(sql: &str, clock_ms: i64) -> String {
    sql.replace(CLOCK, &format!("timestamp_millis({clock_ms})"))
}
