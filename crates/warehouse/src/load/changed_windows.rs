//! Which windows are new or corrected, and their current rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use turnstile_lake::{CommitRecord, Extent, FileEncoding, FileEntry, FileKind, LakeObject};

use crate::error::WarehouseError;
use crate::scan::{decode, slice_rows};
use crate::store::WindowSet;
use crate::warehouse::Warehouse;

/// Files read at the same time.
const READS_AT_ONCE: usize = 8;

/// A window's bounds.
type WindowBounds = (i64, i64);

/// Windows that commits published or corrected: of each its newest version.
pub(super) struct ChangedWindows(BTreeMap<WindowBounds, (u64, FileEntry)>);

/// An extent and its rows; none if its object does not exist.
type ExtentRows = (Extent, Option<Vec<RecordBatch>>);

/// The rows of windows, as they are now.
pub(super) struct WindowRows {
    /// First instants of the windows: those without rows too.
    pub(super) windows: WindowSet,
    /// Each window with its rows as the external table has them, by window.
    pub(super) rows: Vec<(Extent, Vec<RecordBatch>)>,
}

impl WindowRows {
    pub(super) fn count(&self) -> u64 {
        self.rows.iter().map(|(extent, _)| extent.rows).sum()
    }
}

impl ChangedWindows {
    /// Of the first `commits` that together publish about `most` rows, and the last of those. When all fit it is
    /// `until`.
    pub(super) fn of(commits: &[CommitRecord], most: u64, until: u64) -> (Self, u64) {
        let (mut windows, mut rows) = (BTreeMap::new(), 0);
        for commit in commits {
            // Dead letters are not rows of a window: alone they do not make another step.
            let in_window = |file: &&FileEntry| matches!(file.kind, FileKind::Window { .. });
            let published: u64 = commit.files.iter().filter(in_window).map(|file| file.rows).sum();
            // A commit is taken whole: its files became part of the lake together.
            if rows > 0 && published > 0 && rows + published > most {
                return (Self(windows), commit.seq - 1);
            }
            rows += published;
            for file in &commit.files {
                if let FileKind::Window { start_us, end_us, .. } = file.kind {
                    windows.insert((start_us, end_us), (commit.seq, file.clone()));
                }
            }
        }
        (Self(windows), until)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the windows' rows. A version that was superseded or retired since is left out: a later commit has the one
    /// that counts.
    pub(super) async fn read(self, warehouse: &Warehouse) -> Result<WindowRows, WarehouseError> {
        let windows = WindowSet::new(self.0.keys().map(|(start, _)| *start));
        let extents = self.0.into_values().filter_map(|(seq, file)| extent_of(seq, &file));
        let (mut rows, mut elsewhere) = (Vec::new(), Vec::new());
        for (extent, found) in read(warehouse, extents.collect()).await? {
            match found {
                Some(found) => rows.push((extent, found)),
                None => elsewhere.push(extent),
            }
        }
        if !elsewhere.is_empty() {
            rows.extend(find_moved(warehouse, elsewhere).await?);
            rows.sort_by_key(|(extent, _)| (extent.start_us, extent.end_us));
        }
        Ok(WindowRows { windows, rows })
    }
}

fn extent_of(seq: u64, file: &FileEntry) -> Option<Extent> {
    let FileKind::Window { start_us, end_us, version } = file.kind else { return None };
    let object = LakeObject {
        name: file.name.as_str().into(),
        sha256: file.sha256,
        bytes: file.bytes,
        rows: file.rows,
        format: FileEncoding::of(&file.name),
        windows: 1,
        compacted: false,
    };
    Some(Extent {
        start_us,
        end_us,
        version,
        seq,
        rows: file.rows,
        sha256: file.sha256,
        object: Arc::new(object),
        first_row: 0,
        current: true,
        gone: false,
    })
}

/// The rows of each of `extents`, by window; `None` for those whose object does not exist. An object that holds several is
/// read and unpacked once.
pub(super) async fn read(warehouse: &Warehouse, extents: Vec<Extent>) -> Result<Vec<ExtentRows>, WarehouseError> {
    let mut objects: BTreeMap<Arc<str>, Vec<Extent>> = BTreeMap::new();
    for extent in extents {
        objects.entry(extent.object.name.clone()).or_default().push(extent);
    }
    let found: Vec<Vec<ExtentRows>> = futures::stream::iter(objects.into_values())
        .map(|extents| of_one_object(warehouse, extents))
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let mut found: Vec<ExtentRows> = found.into_iter().flatten().collect();
    found.sort_by_key(|(extent, _)| (extent.start_us, extent.end_us));
    Ok(found)
}

/// `extents` all lie in one object.
async fn of_one_object(warehouse: &Warehouse, extents: Vec<Extent>) -> Result<Vec<ExtentRows>, WarehouseError> {
    let Some(object) = extents.first().map(|extent| extent.object.clone()) else { return Ok(Vec::new()) };
    let inner = warehouse.inner();
    let Some(bytes) = inner.lake.read(&object.name).await? else {
        return Ok(extents.into_iter().map(|extent| (extent, None)).collect());
    };
    let source = inner.source.clone();
    let in_all = extents.iter().map(|extent| extent.first_row + extent.rows).max().unwrap_or_default() as usize;
    let decoded = tokio::task::spawn_blocking(move || {
        let batches = decode(&source, &object.name, &bytes, &object.sha256, in_all)?;
        let rows = |extent: &Extent| slice_rows(&batches, extent.first_row as usize, extent.rows as usize);
        Ok(extents
            .into_iter()
            .map(|extent| (rows(&extent), extent))
            .map(|(rows, extent)| (extent, Some(rows)))
            .collect())
    });
    decoded.await.expect("decoding does not panic")
}

/// Finds versions whose own files no longer exist: compacted, superseded or retired.
async fn find_moved(
    warehouse: &Warehouse,
    extents: Vec<Extent>,
) -> Result<Vec<(Extent, Vec<RecordBatch>)>, WarehouseError> {
    let catalog = warehouse.snapshot().await?.catalog;
    let mut there = Vec::new();
    for extent in extents {
        match catalog.extent(extent.start_us, extent.end_us, extent.version) {
            Some(found) if found.gone || !found.current => {}
            Some(found) if found.object.name != extent.object.name => there.push(found.clone()),
            _ => return Err(missing(&extent)),
        }
    }
    let found = read(warehouse, there).await?.into_iter();
    found.map(|(extent, rows)| rows.ok_or_else(|| missing(&extent)).map(|rows| (extent, rows))).collect()
}

/// The error for an extent whose object should exist.
pub(super) fn missing(extent: &Extent) -> WarehouseError {
    WarehouseError::missing_file(&extent.object.name)
}
