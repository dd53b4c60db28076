//! Reads a catalog: from the newest checkpoint, or further on from one that is at hand.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use turnstile_values::human;

use super::checkpoint;
use super::fold::{CatalogFold, ExtentTable};
use super::{Catalog, CatalogInner, CatalogStart};
use crate::chain::{ChainEntry, ChainPosition};
use crate::error::{LedgerError, corrupt};
use crate::hash::Hash;
use crate::lake::Lake;
use crate::ledger::LedgerFolder;
use crate::ledger::open::find_newest;
use crate::maintenance_slot::MaintenanceSlot;
use crate::read::chain::{Anchor, WalkStep, walk_from};
use crate::slot::{FileEntry, Slot};

/// Files of the newest commits that are looked up at the same time.
const LOOKUPS_AT_ONCE: usize = 8;

/// How often a chain that does not hold together is read again because its writer has moved on meanwhile.
const ATTEMPTS: u32 = 4;

impl Catalog {
    /// The catalog as of now; `None` when the pipeline has no ledger. Changes nothing, may run beside a living writer.
    ///
    /// # Errors
    /// `Corrupt`: a slot, file of history or slot of maintenance is missing, damaged, or not the one that its successor
    /// names. `Store`, `NewerVersion`, `OtherPipeline`, `Name`.
    pub async fn read(lake: &Lake, pipeline: &str) -> Result<Option<Self>, LedgerError> {
        let folder = LedgerFolder::of(pipeline, lake.segment())?;
        for beginning in checkpoint::newest(lake, &folder).await? {
            match advance(lake, &folder, Some(beginning)).await {
                // A checkpoint only saves time. One that is damaged, or of another ledger, is passed over.
                Err(LedgerError::Corrupt { object, reason }) => {
                    let reason = human::error(&*reason);
                    tracing::warn!(
                        pipeline,
                        object,
                        reason,
                        "a checkpoint of the catalog does not match the ledger and is ignored"
                    );
                }
                done => return done,
            }
        }
        advance(lake, &folder, None).await
    }

    /// The same, further on: reads only what was written after its own position. A clone when nothing is new.
    ///
    /// # Errors
    /// As [`Catalog::read`]; `Corrupt` too when the ledger is no longer the one that this catalog was read from.
    pub async fn advance(&self, lake: &Lake) -> Result<Self, LedgerError> {
        let folder = &self.inner.folder;
        let maintenance = folder.maintenance_chain(lake).newest_after(self.inner.maintained.seq).await?;
        if maintenance.is_none()
            && self.inner.waiting.is_empty()
            && find_newest(lake, folder).await?.is_some_and(|newest| newest.position.sha256 == self.inner.newest_hash)
        {
            return Ok(self.clone());
        }
        let from = CatalogStart {
            anchor: self.inner.anchor,
            maintained: self.inner.maintained,
            table: self.inner.table.clone(),
        };
        advance(lake, folder, Some(from)).await?.ok_or_else(|| corrupt(&folder.log(), "it is gone"))
    }
}

/// Reads what is new. While a writer is alive a slot can be collected, and put back by one that was fenced, while it is
/// read: damage is what is still there when no write came in between.
async fn advance(
    lake: &Lake,
    folder: &LedgerFolder,
    from: Option<CatalogStart>,
) -> Result<Option<Catalog>, LedgerError> {
    let from = from.unwrap_or_else(|| CatalogStart {
        anchor: Anchor::after(0),
        maintained: ChainPosition::default(),
        table: ExtentTable::default(),
    });
    let mut before = None;
    for _ in 1..ATTEMPTS {
        match try_advance(lake, folder, from.clone()).await {
            Err(LedgerError::Corrupt { object, reason }) => {
                let now = find_newest(lake, folder).await?.map(|newest| newest.position.seq);
                if before == Some(now) {
                    return Err(LedgerError::Corrupt { object, reason });
                }
                before = Some(now);
            }
            done => return done,
        }
    }
    try_advance(lake, folder, from).await
}

/// What is new is read in this order: maintenance, then the ledger. What maintenance names was committed before, so the
/// ledger, read later, knows it.
async fn try_advance(lake: &Lake, folder: &LedgerFolder, from: CatalogStart) -> Result<Option<Catalog>, LedgerError> {
    let CatalogStart { anchor, maintained, table } = from;
    let chain = folder.maintenance_chain(lake);
    let newest_maintenance = chain.newest_after(maintained.seq).await?.unwrap_or(maintained.seq);
    let Some(newest) = find_newest(lake, folder).await? else { return Ok(None) };
    let (until, waiting) = published_until(lake, folder, &newest.record, anchor.seq).await?;

    let mut folding = CatalogFold::of(folder.pipeline(), table);
    let anchor = fold_commits(lake, folder, anchor, &newest, until, &mut folding).await?;
    let apply = |slot: MaintenanceSlot| {
        if slot.ledger_seq > until {
            return Ok(false);
        }
        let path = folder.maintenance_slot(slot.seq);
        folding.maintain(&slot).map(|()| true).map_err(|reason| corrupt(&path, reason))
    };
    let maintained = chain.walk(maintained, newest_maintenance, apply).await?;
    let table = folding.finish();
    let folder = folder.clone();
    let newest_hash = newest.position.sha256;
    let newest = newest.record;
    let inner = CatalogInner { folder, newest, newest_hash, anchor, maintained, waiting, table };
    Ok(Some(Catalog { inner: Arc::new(inner) }))
}

/// Folds the commits after `anchor` up to `until`, and returns the anchor there.
async fn fold_commits(
    lake: &Lake,
    folder: &LedgerFolder,
    anchor: Anchor,
    newest: &ChainEntry<Slot>,
    until: u64,
    folding: &mut CatalogFold<'_>,
) -> Result<Anchor, LedgerError> {
    let (mut broken, mut reached) = (None, anchor);
    walk_from(lake, folder, anchor, newest, |step| match step {
        WalkStep::Commit(line, slot) if line.seq <= until => {
            folding.commit(&line);
            (reached.seq, reached.slot) = (line.seq, slot);
        }
        WalkStep::Commit(..) => {}
        WalkStep::Break(object, reason) => {
            broken.get_or_insert(LedgerError::Corrupt { object, reason });
        }
    })
    .await?;
    // An anchor names the newest file of history only where it lies behind it.
    let history = newest.record.history.filter(|history| history.last <= reached.seq);
    reached.history = history.or(anchor.history);
    broken.map_or(Ok(reached), Err)
}

/// The last commit up to which all files are at their final names, and those that are not. The newest slot says which
/// are not known to be; those are looked up. Up to commit `known` they were found before.
pub(in crate::read) async fn published_until(
    lake: &Lake,
    folder: &LedgerFolder,
    newest: &Slot,
    known: u64,
) -> Result<(u64, Vec<String>), LedgerError> {
    let unknown = newest.carried.iter().chain(&newest.publish).filter_map(|file| {
        let seq = folder.written_for(&folder.object(&file.stage)).unwrap_or(newest.seq);
        // Owned: a future that holds a borrowed item of a stream cannot be sent between threads.
        (seq > known).then(|| (seq, file.clone()))
    });
    let absent: Vec<(u64, String)> = futures::stream::iter(unknown.collect::<Vec<_>>())
        .map(|(seq, file)| async move {
            let there = is_published(lake, &file).await?;
            Ok::<_, LedgerError>((!there).then_some((seq, file.name)))
        })
        .buffered(LOOKUPS_AT_ONCE)
        .try_filter_map(|absent| async move { Ok(absent) })
        .try_collect()
        .await?;
    let until = absent.iter().map(|(seq, _)| seq - 1).min().unwrap_or(newest.seq);
    Ok((until, absent.into_iter().map(|(_, name)| name).collect()))
}

/// Whether the file is at its final name with the bytes that were committed. A foreign file there is none of the
/// lake's: its writer stops and names it.
async fn is_published(lake: &Lake, file: &FileEntry) -> Result<bool, LedgerError> {
    let path = Path::from(file.name.as_str());
    let found = lake.persist(|| lake.store().get(&path)).await?;
    Ok(found.is_some_and(|bytes| Hash::of(&bytes) == file.sha256))
}
