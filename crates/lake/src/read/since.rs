//! What was published after a commit, for incremental loads, at a cost independent of the ledger's age.

use super::CommitRecord;
use super::catalog::published_until;
use super::chain::{Anchor, WalkStep, walk_from};
use crate::error::LedgerError;
use crate::lake::Lake;
use crate::ledger::LedgerFolder;
use crate::ledger::open::find_newest;
use crate::slot::Slot;

/// What the ledger published in a range of commits.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedSince {
    /// The newest slot. It may be further than `until`.
    pub newest: Slot,
    /// The last commit whose files, and those of all commits before it, are at their final names, or were and have been
    /// compacted or retired since.
    pub until: u64,
    /// The commits and claims in `(after, until]`, in order, those without files too.
    pub commits: Vec<CommitRecord>,
}

/// What the ledger published after commit `after`; `None` when the pipeline has no ledger. Reads no slot and no file of
/// history that lies wholly before it. Commits whose files are not all at their final names yet are left out with all
/// commits after them: the next call returns them.
///
/// # Errors
/// `Corrupt`: a slot or file of history is missing, damaged, or not the one that its successor names, or `after` lies
/// past the newest slot, as when the ledger is another one. `Store`, `NewerVersion`, `OtherPipeline`, `Name`.
pub async fn published_since(lake: &Lake, pipeline: &str, after: u64) -> Result<Option<PublishedSince>, LedgerError> {
    let folder = LedgerFolder::of(pipeline, lake.segment())?;
    let Some(newest) = find_newest(lake, &folder).await? else { return Ok(None) };
    let (until, _) = published_until(lake, &folder, &newest.record, after).await?;
    let (mut commits, mut broken) = (Vec::new(), None);
    walk_from(lake, &folder, Anchor::after(after), &newest, |step| match step {
        WalkStep::Commit(line, _) if line.seq <= until => commits.push(*line),
        WalkStep::Commit(..) => {}
        WalkStep::Break(object, reason) => {
            broken.get_or_insert(LedgerError::Corrupt { object, reason });
        }
    })
    .await?;
    broken.map_or(Ok(Some(PublishedSince { newest: newest.record, until, commits })), Err)
}
