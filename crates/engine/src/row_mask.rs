//! Which rows of a batch are kept.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::error::EngineError;

/// Which rows of a batch are kept; allocates nothing as long as all are.
pub(crate) struct RowMask {
    rows: usize,
    flags: Vec<bool>,
}

impl RowMask {
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows, flags: Vec::new() }
    }

    #[inline]
    pub(crate) fn keeps(&self, at: usize) -> bool {
        self.flags.is_empty() || self.flags[at]
    }

    pub(crate) fn drop(&mut self, at: usize) {
        if self.flags.is_empty() {
            self.flags.resize(self.rows, true);
        }
        self.flags[at] = false;
    }

    /// The flags, or `None` when every row is kept.
    pub(crate) fn mask(self) -> Option<BooleanArray> {
        (!self.flags.is_empty()).then(|| BooleanArray::from(self.flags))
    }
}

/// The rows that `mask` keeps.
pub(crate) fn select(
    table: &RecordBatch,
    rows: &[u32],
    event_us: &[i64],
    mask: &BooleanArray,
) -> Result<(RecordBatch, Vec<u32>, Vec<i64>), EngineError> {
    let kept = || (0..mask.len()).filter(|at| mask.value(*at));
    let (rows, event_us) = (kept().map(|at| rows[at]).collect(), kept().map(|at| event_us[at]).collect());
    Ok((filter_record_batch(table, mask)?, rows, event_us))
}
