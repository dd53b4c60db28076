//! Drops the table of a model that was deleted.

use crate::error::WarehouseError;
use crate::store::LoadEntry;
use crate::warehouse::Warehouse;

/// Whether a table was dropped, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DropTable {
    /// It was, with so many rows.
    Dropped {
        /// Rows that it had.
        rows: u64,
    },
    /// Its model still exists: the next load would build it again.
    HasModel,
    /// There is no such table.
    Unknown {
        /// The tables that have no model any more.
        without_model: Vec<String>,
    },
}

impl Warehouse {
    /// Drops the stored table `name`, unless a model of that name exists. Its files are deleted as those that a load replaced.
    ///
    /// # Errors
    /// `Store`, `Damaged`, `NewerVersion`. `Moved`: another process loaded; try again.
    pub async fn drop_table(&self, name: &str) -> Result<DropTable, WarehouseError> {
        if self.models().get(name).is_some() {
            return Ok(DropTable::HasModel);
        }
        let record = &self.inner().record;
        let mut state = record.newest().await?;
        let Some(table) = state.tables.get(name) else {
            let without_model = state.tables.keys().filter(|name| self.models().get(name).is_none());
            return Ok(DropTable::Unknown { without_model: without_model.cloned().collect() });
        };
        let rows = table.files.iter().map(|file| file.rows).sum();
        let entry = LoadEntry { dropped: vec![name.to_owned()], ..state.next_entry() };
        record.commit(&mut state, &entry).await?;
        record.clean_up(&mut state).await?;
        Ok(DropTable::Dropped { rows })
    }
}
