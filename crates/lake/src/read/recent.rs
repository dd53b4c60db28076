//! Single commits and the newest ones, without walking a pipeline's whole chain.

use futures::StreamExt;

use crate::error::LedgerError;
use crate::lake::Lake;
use crate::ledger::LedgerFolder;
use crate::ledger::history::{CommitRecord, HistorySegment};
use crate::ledger::open::find_newest;
use crate::slot::Slot;

/// Slots read at the same time.
const READS_AHEAD: usize = 8;

/// The newest slot, and the records of up to `most` newest commits and claims, oldest first, without a hole and the
/// newest slot's among them; `None` when the pipeline has no ledger.
///
/// Commits that are rolled up into history already are left out: there may be fewer than `most`, and never less than one.
///
/// # Errors
/// `Corrupt`: a slot is damaged. `Store`, `NewerVersion`, `Name`.
pub async fn recent_commits(
    lake: &Lake,
    pipeline: &str,
    most: u64,
) -> Result<Option<(Slot, Vec<CommitRecord>)>, LedgerError> {
    let folder = LedgerFolder::of(pipeline, lake.segment())?;
    let Some(newest) = find_newest(lake, &folder).await? else { return Ok(None) };
    let newest = newest.record;
    let rolled_up = newest.history.map_or(0, |history| history.last);
    let first = newest.seq.saturating_sub(most.saturating_sub(1)).max(rolled_up + 1).min(newest.seq);
    let log = &folder.log_chain(lake);
    let mut read =
        futures::stream::iter(first..newest.seq).map(|seq| async move { log.get(seq).await }).buffered(READS_AHEAD);
    let mut lines = Vec::new();
    while let Some(slot) = read.next().await {
        match slot? {
            Some(slot) => lines.push(CommitRecord::of(&slot.record)),
            // Rolled up while we read: what is before it is gone from the log too.
            None => lines.clear(),
        }
    }
    lines.push(CommitRecord::of(&newest));
    Ok(Some((newest, lines)))
}

/// The record of commit `seq`, from the log or from history; `None`: there is none.
///
/// # Errors
/// `Corrupt`: the slot or its file of history is damaged. `Store`, `NewerVersion`, `Name`.
pub async fn commit_record(lake: &Lake, pipeline: &str, seq: u64) -> Result<Option<CommitRecord>, LedgerError> {
    let folder = LedgerFolder::of(pipeline, lake.segment())?;
    if let Some(slot) = folder.log_chain(lake).get(seq).await? {
        return Ok(Some(CommitRecord::of(&slot.record)));
    }
    let path = folder.history(seq);
    let Some(bytes) = lake.persist(|| lake.store().get(&path)).await? else { return Ok(None) };
    let segment =
        HistorySegment::decode(&bytes).map_err(|reason| LedgerError::Corrupt { object: path.to_string(), reason })?;
    Ok(segment.lines.into_iter().find(|line| line.seq == seq))
}

/// The hash of the plan under which slot `seq` was written; `None` when that is not known any more: history does not keep it.
///
/// # Errors
/// `Corrupt`: the slot is damaged. `Store`, `NewerVersion`, `Name`.
pub async fn plan_hash_at(lake: &Lake, pipeline: &str, seq: u64) -> Result<Option<String>, LedgerError> {
    let folder = LedgerFolder::of(pipeline, lake.segment())?;
    Ok(folder.log_chain(lake).get(seq).await?.map(|slot| slot.record.plan_hash))
}
