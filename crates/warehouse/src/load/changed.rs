//! Which windows are new or corrected, and their rows as they are now.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use lake::{CommitRecord, Extent, FileEntry, FileKind, Format, Object};

use crate::scan::{cut, decode};
use crate::store::WindowSet;
use crate::{Warehouse, WarehouseError};

/// Files read at the same time.
const READS_AT_ONCE: usize = 8;

/// A window's bounds.
type Bounds = (i64, i64);

/// Windows that commits published or corrected: of each its newest version.
pub(super) struct Changed(BTreeMap<Bounds, (u64, FileEntry)>);

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

impl Changed {
    /// Of the first `commits` that together publish about `most` rows, and the last of those. When all fit it is
    /// `until`.
    pub(super) fn of(commits: &[CommitRecord], most: u64, until: u64) -> (Self, u64) {
        let (mut windows, mut rows) = (BTreeMap::new(), 0);
        for commit in commits {
            // Dead letters are no rows of a window: they alone make no further step.
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
        let rows: Vec<Option<_>> = futures::stream::iter(extents)
            .map(|extent| async move {
                match read(warehouse, &extent).await? {
                    Some(rows) => Ok(Some((extent, rows))),
                    None => moved(warehouse, &extent).await,
                }
            })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(WindowRows { windows, rows: rows.into_iter().flatten().collect() })
    }
}

fn extent_of(seq: u64, file: &FileEntry) -> Option<Extent> {
    let FileKind::Window { start_us, end_us, version } = file.kind else { return None };
    let object = Object {
        name: file.name.as_str().into(),
        sha256: file.sha256,
        bytes: file.bytes,
        rows: file.rows,
        format: Format::of(&file.name),
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

/// The rows of `extent`; `None` when its object is not there.
pub(super) async fn read(warehouse: &Warehouse, extent: &Extent) -> Result<Option<Vec<RecordBatch>>, WarehouseError> {
    let inner = warehouse.inner();
    let Some(bytes) = inner.lake.read(&extent.object.name).await? else { return Ok(None) };
    let (source, extent) = (inner.source.clone(), extent.clone());
    let decoded = tokio::task::spawn_blocking(move || {
        let batches = decode(&source, &extent.object.name, &bytes, &extent.object.sha256)?;
        Ok(Some(cut(batches, extent.first_row as usize, extent.rows as usize)))
    });
    decoded.await.expect("decoding does not panic")
}

/// Looks a version up whose own file is not there any more: compacted, superseded or retired.
async fn moved(warehouse: &Warehouse, extent: &Extent) -> Result<Option<(Extent, Vec<RecordBatch>)>, WarehouseError> {
    let catalog = warehouse.moment().await?.catalog;
    let missing = |name: &str| WarehouseError::File {
        name: name.to_owned(),
        reason: "is in the ledger and not in the lake; `turnstile audit` says more".to_owned(),
    };
    match catalog.extent(extent.start_us, extent.end_us, extent.version) {
        Some(there) if there.gone || !there.current => Ok(None),
        Some(there) if there.object.name != extent.object.name => match read(warehouse, there).await? {
            Some(rows) => Ok(Some((there.clone(), rows))),
            None => Err(missing(&there.object.name)),
        },
        _ => Err(missing(&extent.object.name)),
    }
}
