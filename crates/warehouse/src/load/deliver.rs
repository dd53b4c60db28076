//! What another database is to be told.

use std::sync::Arc;

use arrow::compute::filter_record_batch;
use delivery::{Delivery, Kind, Position, RowStream, Rows, Scope, Table, TableChange};
use futures::StreamExt;

use super::stored;
use super::work::{read, starts};
use crate::model::Model;
use crate::store::{DataFile, TableState, WindowSet};
use crate::{Warehouse, WarehouseError};

impl Warehouse {
    /// What takes a database from `at` to the newest load; `None` when it is there, or nothing was loaded yet.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn delivery(&self, at: Option<&Position>) -> Result<Option<Delivery>, WarehouseError> {
        let store = &self.inner().store;
        let state = store.newest().await?;
        let newest = state.tables.values().map(|table| table.changed_at).max().unwrap_or(0);
        let same_warehouse = at.filter(|at| at.warehouse == state.warehouse);
        if newest == 0 || same_warehouse.is_some_and(|at| at.load >= newest) {
            return Ok(None);
        }
        let windows = match same_warehouse {
            Some(at) => store
                .entries_since(at.load, state.load)
                .await?
                .map(|entries| entries.iter().fold(WindowSet::default(), |all, entry| all.union(&entry.windows))),
            None => None,
        };
        let mut tables = Vec::new();
        let mut changes = Vec::new();
        for model in self.models().iter().filter(|model| stored(model)) {
            let Some(kept) = state.tables.get(&model.name) else { continue };
            let table = table(model, kept)?;
            tables.push(table.clone());
            let since = same_warehouse.map_or(0, |at| at.load);
            if kept.changed_at > since {
                let known = windows.as_ref().filter(|_| kept.made_at <= since);
                changes.push(self.change(table, kept, known));
            }
        }
        let to = Position { warehouse: state.warehouse.clone(), load: newest, ledger_seq: state.ledger_seq };
        Ok(Some(Delivery { from: at.cloned(), to, tables, changes }))
    }

    /// The models' tables as the record has them: what another database should have. None before the first load.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn tables(&self) -> Result<Vec<Arc<Table>>, WarehouseError> {
        let state = self.inner().store.newest().await?;
        let kept = self.models().iter().filter_map(|model| Some((model, state.tables.get(&model.name)?)));
        kept.map(|(model, kept)| table(model, kept)).collect()
    }

    /// The names of the lake's files that hold current rows, each once, by window.
    ///
    /// # Errors
    /// As [`Warehouse::session`].
    pub async fn current_files(&self) -> Result<Vec<String>, WarehouseError> {
        let mut files: Vec<String> = Vec::new();
        for extent in self.moment().await?.catalog.current(..) {
            if files.last().is_none_or(|last| *last != *extent.object.name) {
                files.push(extent.object.name.to_string());
            }
        }
        Ok(files)
    }

    fn change(&self, table: Arc<Table>, kept: &TableState, windows: Option<&WindowSet>) -> TableChange {
        let (scope, windows) = match (&table.kind, windows) {
            (Kind::Incremental { .. }, Some(windows)) => (Scope::Windows(windows.iter().collect()), Some(windows)),
            (Kind::Dimension, Some(_)) => (Scope::Keys, None),
            _ => (Scope::Everything, None),
        };
        let files = kept.files.iter().filter(|file| windows.is_none_or(|windows| file.windows.meets(windows)));
        let rows = FileRows {
            warehouse: self.clone(),
            files: files.cloned().collect(),
            window: match &table.kind {
                Kind::Incremental { window } => Some(window.clone()),
                Kind::Dimension | Kind::Table => None,
            },
            windows: windows.cloned(),
        };
        TableChange { table, scope, rows: Arc::new(rows) }
    }
}

fn table(model: &Model, kept: &TableState) -> Result<Arc<Table>, WarehouseError> {
    Ok(Arc::new(Table {
        name: model.name.clone(),
        description: model.description.clone(),
        schema: kept.head.schema()?,
        key: kept.head.key.clone(),
        kind: kept.head.kind.clone(),
    }))
}

/// Rows of a table's files, of some windows or all, one file after the other.
struct FileRows {
    warehouse: Warehouse,
    files: Vec<DataFile>,
    window: Option<String>,
    windows: Option<WindowSet>,
}

impl Rows for FileRows {
    fn read(&self) -> RowStream {
        let (warehouse, window, windows) = (self.warehouse.clone(), self.window.clone(), self.windows.clone());
        let files = futures::stream::iter(self.files.clone()).then(move |file| {
            let (warehouse, window, windows) = (warehouse.clone(), window.clone(), windows.clone());
            async move {
                let batches = match read(&warehouse, &file).await {
                    Ok(batches) => batches,
                    Err(error) => return vec![Err(error.into())],
                };
                let wanted = |batch: arrow::record_batch::RecordBatch| match (&window, &windows) {
                    (Some(window), Some(windows)) => {
                        let keep = starts(&batch, window).iter().map(|s| Some(s.is_some_and(|s| windows.contains(s))));
                        filter_record_batch(&batch, &keep.collect()).map_err(Into::into)
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
