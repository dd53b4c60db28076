//! Gives tables' files of earlier releases names that no search for data files finds. Their bytes stay what they are.

use super::same_rows::commit_same_rows;
use super::staged_tables::StagedTables;
use crate::error::WarehouseError;
use crate::store::{DataFile, WarehouseState, is_named_as_data};
use crate::warehouse::Warehouse;

/// Files that one load renames, at most.
const FILES: usize = 256;

/// Their bytes, at most, but for one that is larger: an object store copies them through this process.
const BYTES: u64 = 256 << 20;

/// Renames some of the files that are named as data files. What is left is left to the next load.
///
/// # Errors
/// `File`: one of them is not what the record says. `Store`, `Moved`.
pub(super) async fn rename(warehouse: &Warehouse, state: &mut WarehouseState) -> Result<(), WarehouseError> {
    let due = due(state);
    if due.is_empty() {
        return Ok(());
    }
    let mut staged = StagedTables::of_same_rows(warehouse, state);
    for (table, file) in &due {
        if let Err(error) = staged.rename(table, file).await {
            staged.discard().await;
            return Err(error);
        }
    }
    tracing::debug!(files = due.len(), "files of the warehouse get names that are no data file's");
    commit_same_rows(warehouse, state, staged).await
}

/// The files to rename now, each with its table.
fn due(state: &WarehouseState) -> Vec<(String, DataFile)> {
    let (mut due, mut bytes) = (Vec::new(), 0);
    for (name, table) in &state.tables {
        for file in table.files.iter().filter(|file| is_named_as_data(&file.name)) {
            bytes += file.bytes;
            if due.len() == FILES || (!due.is_empty() && bytes > BYTES) {
                return due;
            }
            due.push((name.clone(), file.clone()));
        }
    }
    due
}
