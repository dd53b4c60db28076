//! Commits tables whose rows are as they were, in other files.

use super::staged_tables::StagedTables;
use crate::error::WarehouseError;
use crate::store::{LoadEntry, WarehouseState};
use crate::warehouse::Warehouse;

/// Writes the entry that names the files of `staged`, which hold the same rows.
///
/// # Errors
/// `Moved`: another process was first; what was written is deleted. `Store`.
pub(super) async fn commit_same_rows(
    warehouse: &Warehouse,
    state: &mut WarehouseState,
    staged: StagedTables<'_>,
) -> Result<(), WarehouseError> {
    let (tables, written) = staged.into_parts();
    let entry = LoadEntry { tables, ..state.next_entry() };
    let record = &warehouse.inner().record;
    let committed = record.commit(state, &entry).await;
    if matches!(committed, Err(WarehouseError::Moved)) {
        record.discard(written).await?;
    }
    committed
}
