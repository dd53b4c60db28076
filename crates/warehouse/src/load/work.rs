//! Tables while a load changes them: files are written, and nothing counts until the entry does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::catalog::MemTable;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use turnstile_lake::Hash;
use turnstile_values::DAY_US;

use super::compute::failed;
use crate::model::Model;
use crate::session::{Builder, PUBLIC};
use crate::store::{DataFile, State, TableDelta, TableHead, TableState, WindowSet, encode, new_name};
use crate::{Warehouse, WarehouseError};

/// Tables as a load will leave them.
pub(super) struct Work<'a> {
    pub(super) warehouse: &'a Warehouse,
    base: State,
    tables: BTreeMap<String, TableState>,
    made: BTreeSet<String>,
    nonce: String,
    written: Vec<String>,
    /// Rows that tables received.
    pub(super) rows_out: u64,
    same_rows: bool,
}

/// Changes of tables, and the names of all files that were written for them.
pub(super) type Parts = (BTreeMap<String, TableDelta>, Vec<String>);

impl<'a> Work<'a> {
    pub(super) fn new(warehouse: &'a Warehouse, base: &State) -> Self {
        let nonce = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let (tables, made) = (base.tables.clone(), BTreeSet::new());
        Self { warehouse, base: base.clone(), tables, made, nonce, written: Vec::new(), rows_out: 0, same_rows: false }
    }

    /// One that only puts the same rows into other files.
    pub(super) fn of_same_rows(warehouse: &'a Warehouse, base: &State) -> Self {
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
                found.push(
                    filtered(&batch, window, |start| windows.contains(start)).map_err(|e| failed(model, e.into()))?,
                );
            }
        }
        Ok(found)
    }

    /// Forgets the rows of a table: it is made anew.
    pub(super) fn forget(&mut self, name: &str) {
        self.tables.remove(name);
    }

    /// Puts `batches` in the place of all rows of `windows`.
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
            let left = rows.iter().map(|batch| without(batch, window, windows)).collect::<Result<Vec<_>, _>>();
            let left = left.map_err(|e| failed(model, e.into()))?;
            if left.iter().any(|batch| batch.num_rows() > 0) {
                kept.push(self.write(model, head, &left).await?);
            }
        }
        self.rows_out += batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
        for day in by_day(batches, window).map_err(|e| failed(model, e.into()))? {
            kept.push(self.write(model, head, &day).await?);
        }
        self.close(model, kept);
        Ok(())
    }

    /// Adds the rows of `batches` or puts them in the place of those with their keys. All rows of the table.
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
        let session = Builder::new(&self.warehouse.inner().runtime)?;
        for (name, rows) in [("old_rows", old.clone()), ("new_rows", batches)] {
            session.table(PUBLIC, name, Arc::new(MemTable::try_new(schema.clone(), vec![rows])?))?;
        }
        let ask = async |sql: String| {
            let frame = session.session().sql(&sql).await.map_err(|e| failed(model, e))?;
            frame.collect().await.map_err(|e| failed(model, e))
        };
        let unlike = ask("SELECT * FROM new_rows EXCEPT SELECT * FROM old_rows".to_owned()).await?;
        let changed: u64 = unlike.iter().map(|batch| batch.num_rows() as u64).sum();
        if changed == 0 {
            self.close(model, files);
            return Ok(old);
        }
        let keys: Vec<String> = model.key.iter().map(|key| format!("\"{key}\"")).collect();
        let same = keys.iter().map(|key| format!("n.{key} = o.{key}")).collect::<Vec<_>>().join(" AND ");
        let all = ask(format!(
            "SELECT * FROM (SELECT o.* FROM old_rows o WHERE NOT EXISTS (SELECT 1 FROM new_rows n WHERE {same}) \
             UNION ALL SELECT * FROM new_rows) ORDER BY {}",
            keys.join(", ")
        ))
        .await?;
        let all: Result<Vec<_>, _> = all.into_iter().map(|batch| batch.with_schema(schema.clone())).collect();
        let all = all.map_err(|e| failed(model, e.into()))?;
        let file = self.write(model, head, &all).await?;
        self.rows_out += changed;
        self.close(model, vec![file]);
        Ok(all)
    }

    /// Puts `batches` in the place of all rows.
    pub(super) async fn replace_all(
        &mut self,
        model: &Model,
        head: &TableHead,
        batches: &[RecordBatch],
    ) -> Result<(), WarehouseError> {
        let old = match self.tables.get(&model.name) {
            // It is computed anew by each load: another query or other columns are no change to refuse.
            Some(table) if table.head == *head => table.files.clone(),
            _ => {
                self.forget(&model.name);
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

    /// Puts the rows of `files` into one file.
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

    /// The files of a model's table, which is made when it is not there.
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
            batches.iter().flat_map(|batch| starts(batch, window).iter().flatten().collect::<Vec<_>>())
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
        let inner = self.warehouse.inner();
        let name = new_name(inner.store.root(), table, self.base.load + 1, &self.nonce, self.written.len());
        let unwritable =
            |e: ArrowError| WarehouseError::File { name: name.clone(), reason: format!("cannot be written: {e}") };
        let bytes = encode(&head.schema()?, batches).map_err(unwritable)?;
        let file = DataFile {
            name: name.clone(),
            sha256: Hash::of(&bytes),
            bytes: bytes.len() as u64,
            rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            windows,
        };
        inner.lake.create(&name, bytes).await?;
        self.written.push(name);
        Ok(file)
    }

    async fn read(&self, file: &DataFile) -> Result<Vec<RecordBatch>, WarehouseError> {
        read(self.warehouse, file).await
    }

    /// Deletes what was written for a load that will not count. What stays is found by the next checkpoint.
    pub(super) async fn discard(self) {
        // Nobody else knows these names.
        if let Err(error) = self.warehouse.inner().lake.delete(&self.written).await {
            tracing::warn!(%error, "files of a failed load stay for now");
        }
    }

    /// What changed, and the names of the files that were written for it. Those that are in no table any more were
    /// replaced within this very work.
    pub(super) fn into_parts(self) -> Parts {
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

/// The rows of a table's file, checked against its record.
pub(super) async fn read(warehouse: &Warehouse, file: &DataFile) -> Result<Vec<RecordBatch>, WarehouseError> {
    let fault = |reason: String| WarehouseError::File { name: file.name.clone(), reason };
    let bytes = warehouse.inner().lake.read(&file.name).await?;
    let bytes: Bytes = bytes.ok_or_else(|| fault("is in the warehouse's record and not there".to_owned()))?;
    if Hash::of(&bytes) != file.sha256 {
        return Err(fault("changed since it was written".to_owned()));
    }
    let rows = || -> Result<Vec<RecordBatch>, ArrowError> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(ArrowError::from)?;
        reader.with_batch_size(8192).build().map_err(ArrowError::from)?.collect()
    };
    rows().map_err(|e| fault(format!("cannot be read: {e}")))
}

/// The values of the window column.
pub(super) fn starts<'a>(batch: &'a RecordBatch, window: &str) -> &'a arrow::array::TimestampMicrosecondArray {
    let column = batch.column_by_name(window).expect("a table's head has its window column");
    column.as_primitive::<TimestampMicrosecondType>()
}

fn without(batch: &RecordBatch, window: &str, windows: &WindowSet) -> Result<RecordBatch, ArrowError> {
    filtered(batch, window, |start| !windows.contains(start))
}

/// The rows whose window's first instant is `wanted`.
fn filtered(batch: &RecordBatch, window: &str, wanted: impl Fn(i64) -> bool) -> Result<RecordBatch, ArrowError> {
    let keep: BooleanArray = starts(batch, window).iter().map(|start| Some(start.is_some_and(&wanted))).collect();
    filter_record_batch(batch, &keep)
}

/// `batches`, sorted by window, cut where a UTC day begins.
fn by_day(batches: &[RecordBatch], window: &str) -> Result<Vec<Vec<RecordBatch>>, ArrowError> {
    let mut days: BTreeMap<i64, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches {
        let starts = starts(batch, window);
        let day = |row: usize| if starts.is_null(row) { 0 } else { starts.value(row).div_euclid(DAY_US) };
        let mut first = 0;
        for row in 1..=batch.num_rows() {
            if row == batch.num_rows() || day(row) != day(first) {
                days.entry(day(first)).or_default().push(batch.slice(first, row - first));
                first = row;
            }
        }
    }
    Ok(days.into_values().collect())
}
