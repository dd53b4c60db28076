//! Tables while a load changes them: files are written, and nothing is visible until the entry is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::catalog::MemTable;
use turnstile_lake::Hash;
use turnstile_values::human;

use super::table_files::{filter_windows, read_bytes, read_file, split_by_day, window_starts};
use crate::error::WarehouseError;
use crate::model::Model;
use crate::session::{PUBLIC, SessionBuilder};
use crate::store::{DataFile, TableDelta, TableHead, TableState, WarehouseState, WindowSet, encode, new_name};
use crate::warehouse::Warehouse;

/// Tables as a load will leave them.
pub(super) struct StagedTables<'a> {
    pub(super) warehouse: &'a Warehouse,
    base: WarehouseState,
    tables: BTreeMap<String, TableState>,
    made: BTreeSet<String>,
    nonce: String,
    written: Vec<String>,
    /// Rows that tables received.
    pub(super) rows_out: u64,
    same_rows: bool,
}

/// Changes of tables, and the names of all files that were written for them.
pub(super) type StagedChanges = (BTreeMap<String, TableDelta>, Vec<String>);

impl<'a> StagedTables<'a> {
    pub(super) fn new(warehouse: &'a Warehouse, base: &WarehouseState) -> Self {
        let nonce = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let (tables, made) = (base.tables.clone(), BTreeSet::new());
        Self { warehouse, base: base.clone(), tables, made, nonce, written: Vec::new(), rows_out: 0, same_rows: false }
    }

    /// A change that only moves the same rows to other files.
    pub(super) fn of_same_rows(warehouse: &'a Warehouse, base: &WarehouseState) -> Self {
        Self { same_rows: true, ..Self::new(warehouse, base) }
    }

    pub(super) fn table(&self, name: &str) -> Option<&TableState> {
        self.tables.get(name)
    }

    /// The rows of an incremental model's table that belong to `windows`.
    pub(super) async fn rows_of(&self, model: &Model, windows: &WindowSet) -> Result<Vec<RecordBatch>, WarehouseError> {
        let (Some(window), Some(table)) = (&model.window, self.tables.get(&model.name)) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for file in table.files.iter().filter(|file| file.windows.meets(windows)) {
            for batch in self.read(file).await? {
                let rows = filter_windows(&batch, window, |start| windows.contains(start));
                found.push(rows.map_err(|e| WarehouseError::compute(&model.name, e))?);
            }
        }
        Ok(found)
    }

    /// Drops the rows of a table, which is rebuilt.
    pub(super) fn drop_rows(&mut self, name: &str) {
        self.tables.remove(name);
    }

    /// Replaces all rows of `windows` by `batches`.
    pub(super) async fn replace_windows(
        &mut self,
        model: &Model,
        head: &TableHead,
        windows: &WindowSet,
        batches: &[RecordBatch],
    ) -> Result<(), WarehouseError> {
        let Some(window) = &model.window else { return Ok(()) };
        let old = self.open(model, head)?;
        let (touched, mut kept): (Vec<_>, Vec<_>) = old.into_iter().partition(|file| file.windows.meets(windows));
        for file in touched {
            let rows = self.read(&file).await?;
            let left = rows.iter().map(|batch| filter_windows(batch, window, |start| !windows.contains(start)));
            let left = left.collect::<Result<Vec<_>, _>>().map_err(|e| WarehouseError::compute(&model.name, e))?;
            if left.iter().any(|batch| batch.num_rows() > 0) {
                kept.push(self.write(model, head, &left).await?);
            }
        }
        self.rows_out += batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
        for day in split_by_day(batches, window).map_err(|e| WarehouseError::compute(&model.name, e))? {
            kept.push(self.write(model, head, &day).await?);
        }
        self.close(model, kept);
        Ok(())
    }

    /// Inserts the rows of `batches`, replacing those with the same keys. Returns all rows of the table.
    pub(super) async fn upsert(
        &mut self,
        model: &Model,
        head: &TableHead,
        batches: Vec<RecordBatch>,
    ) -> Result<Vec<RecordBatch>, WarehouseError> {
        let files = self.open(model, head)?;
        let mut old = Vec::new();
        for file in &files {
            old.extend(self.read(file).await?);
        }
        let schema = head.schema()?;
        let session = SessionBuilder::new(&self.warehouse.inner().runtime)?;
        for (name, rows) in [("old_rows", old.clone()), ("new_rows", batches)] {
            session.table(PUBLIC, name, Arc::new(MemTable::try_new(schema.clone(), vec![rows])?))?;
        }
        let run = async |sql: String| {
            let frame = session.session().sql(&sql).await.map_err(|e| WarehouseError::compute(&model.name, e))?;
            frame.collect().await.map_err(|e| WarehouseError::compute(&model.name, e))
        };
        let unlike = run("SELECT * FROM new_rows EXCEPT SELECT * FROM old_rows".to_owned()).await?;
        let changed: u64 = unlike.iter().map(|batch| batch.num_rows() as u64).sum();
        if changed == 0 {
            self.close(model, files);
            return Ok(old);
        }
        let keys: Vec<String> = model.key.iter().map(|key| format!("\"{key}\"")).collect();
        let same = keys.iter().map(|key| format!("n.{key} = o.{key}")).collect::<Vec<_>>().join(" AND ");
        let all = run(format!(
            "SELECT * FROM (SELECT o.* FROM old_rows o WHERE NOT EXISTS (SELECT 1 FROM new_rows n WHERE {same}) \
             UNION ALL SELECT * FROM new_rows) ORDER BY {}",
            keys.join(", ")
        ))
        .await?;
        let all: Result<Vec<_>, _> = all.into_iter().map(|batch| batch.with_schema(schema.clone())).collect();
        let all = all.map_err(|e| WarehouseError::compute(&model.name, e))?;
        let file = self.write(model, head, &all).await?;
        self.rows_out += changed;
        self.close(model, vec![file]);
        Ok(all)
    }

    /// Replaces all rows by `batches`.
    pub(super) async fn replace_all(
        &mut self,
        model: &Model,
        head: &TableHead,
        batches: &[RecordBatch],
    ) -> Result<(), WarehouseError> {
        let old = match self.tables.get(&model.name) {
            // Each load recomputes it, so that another query or other columns are no change to refuse.
            Some(table) if table.head == *head => table.files.clone(),
            _ => {
                self.drop_rows(&model.name);
                self.open(model, head)?
            }
        };
        let file = self.write(model, head, batches).await?;
        if let [same] = old.as_slice()
            && same.sha256 == file.sha256
        {
            self.close(model, old);
            return Ok(());
        }
        self.rows_out += file.rows;
        self.close(model, vec![file]);
        Ok(())
    }

    /// Merges the rows of `files` into one file.
    pub(super) async fn merge(&mut self, name: &str, files: &[DataFile]) -> Result<(), WarehouseError> {
        let Some(head) = self.tables.get(name).map(|table| table.head.clone()) else { return Ok(()) };
        let mut rows = Vec::new();
        for file in files {
            rows.extend(self.read(file).await?);
        }
        let windows = files.iter().fold(WindowSet::default(), |all, file| all.union(&file.windows));
        let merged = self.put(name, &head, &rows, windows).await?;
        if let Some(table) = self.tables.get_mut(name) {
            table.files.retain(|file| !files.contains(file));
            table.files.push(merged);
        }
        Ok(())
    }

    /// Copies a table's file to a name of this load, which replaces it.
    pub(super) async fn rename(&mut self, table: &str, file: &DataFile) -> Result<(), WarehouseError> {
        let bytes = read_bytes(&self.warehouse.inner().lake, file).await?;
        let name = self.create(table, bytes).await?;
        let files = self.tables.get_mut(table).map(|table| table.files.as_mut_slice()).unwrap_or_default();
        if let Some(renamed) = files.iter_mut().find(|known| known.name == file.name) {
            renamed.name = name;
        }
        Ok(())
    }

    /// The files of a model's table, which is created if it does not exist.
    fn open(&mut self, model: &Model, head: &TableHead) -> Result<Vec<DataFile>, WarehouseError> {
        match self.tables.get_mut(&model.name) {
            Some(table) if table.head.columns != head.columns => {
                Err(WarehouseError::Changed { models: vec![model.name.clone()] })
            }
            Some(table) => Ok(table.files.clone()),
            None => {
                let load = self.base.load + 1;
                let table = TableState { head: head.clone(), made_at: load, changed_at: load, files: Vec::new() };
                self.tables.insert(model.name.clone(), table);
                self.made.insert(model.name.clone());
                Ok(Vec::new())
            }
        }
    }

    fn close(&mut self, model: &Model, files: Vec<DataFile>) {
        if let Some(table) = self.tables.get_mut(&model.name) {
            table.files = files;
        }
    }

    async fn write(
        &mut self,
        model: &Model,
        head: &TableHead,
        batches: &[RecordBatch],
    ) -> Result<DataFile, WarehouseError> {
        let starts = model.window.iter().flat_map(|window| {
            batches.iter().flat_map(|batch| window_starts(batch, window).iter().flatten().collect::<Vec<_>>())
        });
        let windows = WindowSet::new(starts);
        self.put(&model.name, head, batches, windows).await
    }

    async fn put(
        &mut self,
        table: &str,
        head: &TableHead,
        batches: &[RecordBatch],
        windows: WindowSet,
    ) -> Result<DataFile, WarehouseError> {
        let unwritable = |e: ArrowError| WarehouseError::unreadable(table, "cannot be written", e);
        let bytes = encode(&head.schema()?, batches).map_err(unwritable)?;
        Ok(DataFile {
            sha256: Hash::of(&bytes),
            bytes: bytes.len() as u64,
            rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            windows,
            name: self.create(table, bytes).await?,
        })
    }

    /// Creates a file of a table; its name.
    async fn create(&mut self, table: &str, bytes: Bytes) -> Result<String, WarehouseError> {
        let inner = self.warehouse.inner();
        let name = new_name(inner.record.root(), table, self.base.load + 1, &self.nonce, self.written.len());
        inner.lake.create(&name, bytes).await?;
        self.written.push(name.clone());
        Ok(name)
    }

    async fn read(&self, file: &DataFile) -> Result<Vec<RecordBatch>, WarehouseError> {
        read_file(&self.warehouse.inner().lake, file).await
    }

    /// Deletes what was written for a load that will not be committed. The next checkpoint finds what remains.
    pub(super) async fn discard(self) {
        // No other process knows these names.
        if let Err(error) = self.warehouse.inner().lake.delete(&self.written).await {
            tracing::warn!(error = human::error(&error), "files of a failed load remain for now");
        }
    }

    /// What changed, and the names of the files that were written for it. Those that no table has were replaced again
    /// before the load ended.
    pub(super) fn into_parts(self) -> StagedChanges {
        let mut deltas = BTreeMap::new();
        for (name, table) in &self.tables {
            let before = self.base.tables.get(name);
            let made = self.made.contains(name);
            let old = before.filter(|_| !made).map(|table| table.files.as_slice()).unwrap_or_default();
            let delta = TableDelta {
                made: made.then(|| table.head.clone()),
                same_rows: self.same_rows,
                add: table.files.iter().filter(|file| !old.contains(file)).cloned().collect(),
                remove: old.iter().filter(|file| !table.files.contains(file)).map(|file| file.name.clone()).collect(),
            };
            if made || !delta.add.is_empty() || !delta.remove.is_empty() {
                deltas.insert(name.clone(), delta);
            }
        }
        (deltas, self.written)
    }
}
