//! What advances another database to the newest load.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use turnstile_delivery::{Delivery, LoadPosition, RowSource, RowStream, Scope, TableChange, TableKind, TargetTable};
use turnstile_lake::{Extent, Lake};

use super::table_files::{filter_windows, read_file};
use crate::error::WarehouseError;
use crate::model::Model;
use crate::store::{DataFile, TableState, WindowSet};
use crate::warehouse::Warehouse;

impl Warehouse {
    /// What takes a database from `at` to the newest load; `None` when it is there, or nothing was loaded yet.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn delivery(&self, at: Option<&LoadPosition>) -> Result<Option<Delivery>, WarehouseError> {
        let store = &self.inner().record;
        let state = store.newest().await?;
        let newest = state.tables.values().map(|table| table.changed_at).max().unwrap_or(0);
        let same_warehouse = at.filter(|at| at.warehouse == state.warehouse);
        if newest == 0 || same_warehouse.is_some_and(|at| at.load >= newest) {
            return Ok(None);
        }
        let windows = match same_warehouse {
            Some(at) => store.entries_since(at.load, state.load).await?.map(|entries| {
                entries.iter().fold(WindowSet::default(), |all, entry| all.union(&entry.record.windows))
            }),
            None => None,
        };
        let mut tables = Vec::new();
        let mut changes = Vec::new();
        for model in self.models().iter().filter(|model| model.is_stored()) {
            let Some(kept) = state.tables.get(&model.name) else { continue };
            let table = target_table(model, kept)?;
            tables.push(table.clone());
            let since = same_warehouse.map_or(0, |at| at.load);
            if kept.changed_at > since {
                let known = windows.as_ref().filter(|_| kept.made_at <= since);
                changes.push(self.change(table, kept, known));
            }
        }
        let to = LoadPosition { warehouse: state.warehouse.clone(), load: newest, ledger_seq: state.ledger_seq };
        Ok(Some(Delivery { from: at.cloned(), to, tables, changes }))
    }

    /// The models' tables, which another database should have: as the record has them, and those that no load created yet
    /// as it will create them.
    ///
    /// # Errors
    /// `Store`, `Damaged`; `Model`: one that does not exist yet cannot be created.
    pub async fn tables(&self) -> Result<Vec<Arc<TargetTable>>, WarehouseError> {
        let state = self.inner().record.newest().await?;
        let mut tables = Vec::new();
        for planned in self.models().plan(self.source()).await? {
            match (self.models().get(&planned.name), state.tables.get(&planned.name)) {
                (Some(model), Some(kept)) => tables.push(target_table(model, kept)?),
                _ => tables.push(planned),
            }
        }
        Ok(tables)
    }

    /// The names of the lake's files that hold current rows, each once, by window; none before the first commit.
    ///
    /// Readers of these names read whole files. A compacted file in which a window was corrected since also has rows of
    /// the older version; it is listed with a warning, because the rows of its other windows are nowhere else.
    ///
    /// # Errors
    /// As [`Warehouse::session`], but for `Empty`.
    pub async fn current_files(&self) -> Result<Vec<String>, WarehouseError> {
        let catalog = match self.snapshot().await {
            Ok(snapshot) => snapshot.catalog,
            Err(WarehouseError::Empty { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let files_of = files_of(&catalog.current(..));
        for (file, rows) in files_of.iter().filter(|(_, rows)| *rows > 0) {
            tracing::warn!(
                file,
                rows,
                "a compacted file has rows that were corrected since: readers of the file by name get them in addition \
             to the newer ones, until its day is compacted again"
            );
        }
        Ok(files_of.into_iter().map(|(file, _)| file).collect())
    }

    fn change(&self, table: Arc<TargetTable>, kept: &TableState, windows: Option<&WindowSet>) -> TableChange {
        let (scope, windows) = match (&table.kind, windows) {
            (TableKind::Incremental { .. }, Some(windows)) => (Scope::Windows(windows.iter().collect()), Some(windows)),
            (TableKind::Dimension, Some(_)) => (Scope::Keys, None),
            _ => (Scope::Everything, None),
        };
        let files = kept.files.iter().filter(|file| windows.is_none_or(|windows| file.windows.meets(windows)));
        let rows = TableFileRows {
            lake: self.inner().lake.clone(),
            files: files.cloned().collect(),
            window: match &table.kind {
                TableKind::Incremental { window } => Some(window.clone()),
                TableKind::Dimension | TableKind::Table => None,
            },
            windows: windows.cloned(),
        };
        TableChange { table, scope, rows: Arc::new(rows) }
    }
}

/// The objects of `extents`, each once, in the order in which they come first, and how many of their rows none of them has.
fn files_of(extents: &[Extent]) -> Vec<(String, u64)> {
    let mut at: HashMap<&str, usize> = HashMap::new();
    let mut files: Vec<(String, u64)> = Vec::new();
    for extent in extents {
        let object = &extent.object;
        let at = *at.entry(&*object.name).or_insert_with(|| {
            files.push((object.name.to_string(), object.rows));
            files.len() - 1
        });
        files[at].1 = files[at].1.saturating_sub(extent.rows);
    }
    files
}

fn target_table(model: &Model, kept: &TableState) -> Result<Arc<TargetTable>, WarehouseError> {
    Ok(Arc::new(TargetTable {
        name: model.name.clone(),
        description: model.description.clone(),
        schema: kept.head.schema()?,
        key: kept.head.key.clone(),
        kind: kept.head.kind.clone(),
    }))
}

/// Rows of a table's files, of some windows or all, one file after the other.
struct TableFileRows {
    lake: Lake,
    files: Vec<DataFile>,
    window: Option<String>,
    windows: Option<WindowSet>,
}

impl RowSource for TableFileRows {
    fn read(&self) -> RowStream {
        let (lake, window, windows) = (self.lake.clone(), self.window.clone(), self.windows.clone());
        let files = futures::stream::iter(self.files.clone()).then(move |file| {
            let (lake, window, windows) = (lake.clone(), window.clone(), windows.clone());
            async move {
                let batches = match read_file(&lake, &file).await {
                    Ok(batches) => batches,
                    Err(error) => return vec![Err(error.into())],
                };
                let wanted = |batch: RecordBatch| match (&window, &windows) {
                    (Some(window), Some(windows)) => {
                        filter_windows(&batch, window, |start| windows.contains(start)).map_err(Into::into)
                    }
                    _ => Ok(batch),
                };
                batches.into_iter().map(wanted).collect()
            }
        });
        Box::pin(files.flat_map(futures::stream::iter))
    }

    fn count(&self) -> Option<u64> {
        self.windows.is_none().then(|| self.files.iter().map(|file| file.rows).sum())
    }
}

#[cfg(test)]
mod tests {
    use turnstile_lake::{Hash, LakeObject};

    use super::*;

    #[test]
    fn a_compacted_file_is_listed_once_though_a_corrected_window_lies_in_its_middle() {
        let object = |name: &str, rows| {
            let (name, sha256) = (name.into(), Hash::of(b"x"));
            Arc::new(LakeObject { name, sha256, bytes: 1, rows, format: None, windows: 1, compacted: true })
        };
        let (day, newer) = (object("day", 9), object("window_v2", 4));
        let extent = |start_us, object: &Arc<LakeObject>, rows| Extent {
            start_us,
            end_us: start_us + 1,
            version: 1,
            seq: 1,
            rows,
            sha256: Hash::of(b"x"),
            object: object.clone(),
            first_row: 0,
            current: true,
            gone: false,
        };
        // Three windows of three rows, the second of which was corrected.
        let current = [extent(0, &day, 3), extent(1, &newer, 4), extent(2, &day, 3)];
        assert_eq!(files_of(&current), [("day".to_owned(), 3), ("window_v2".to_owned(), 0)]);
    }
}
