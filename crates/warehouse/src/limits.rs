//! What a query or a load may use.

use std::time::Duration;

/// What a query or a load may use. All are settings of `[warehouse]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarehouseLimits {
    /// Memory of all queries together, bytes. A query that needs more spills to disk where it can, else fails.
    pub memory_bytes: usize,
    /// Disk that queries may spill to, bytes.
    pub spill_bytes: u64,
    /// Memory for the footers of Parquet files, bytes.
    pub footer_bytes: usize,
    /// Approximate maximum of lake rows that one load reads: more rows are loaded in complete steps.
    pub load_rows: u64,
    /// How long a query may take.
    pub statement_timeout: Duration,
}

impl Default for WarehouseLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            spill_bytes: 4 << 30,
            footer_bytes: 64 << 20,
            load_rows: 1_000_000,
            statement_timeout: Duration::from_secs(300),
        }
    }
}
