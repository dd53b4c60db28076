//! Maintenance: merges small files into daily ones, and deletes files that are no longer needed.
//!
//! In: a catalog of the lake's files. Out: slots in their own chain, which any process may write beside a running
//! writer; fewer and larger files.
//! Refuses to know Kafka, state and warehouses beyond the commit up to which each has loaded.
//! Start at [`plan`], then [`apply`]; [`maintain`] does both. docs/ledger.md, "Maintenance", has the rules.

mod apply;
mod batches;
mod compaction;
mod error;
mod letters;
mod plan;
mod planner;
mod policy;
mod retention;
#[cfg(test)]
mod simulation;
mod sweep;
#[cfg(test)]
mod tests;

pub use crate::maintenance_slot::{
    Compacted, CompactedLetters, CompactedWindow, LettersPart, MaintenanceSlot, Retired,
};
pub use apply::{Applied, MaintenanceStep, apply};
pub use error::MaintenanceError;
pub use plan::{CompactionBatch, CompactionInput, LettersBatch, LettersInput, MaintenancePlan};
pub use planner::plan;
pub use policy::{Compact, LoadedBound, MaintenancePolicy};

use crate::lake::Lake;
use crate::read::Catalog;
use crate::slot::WriterId;

/// How often a plan is recomputed because another process did maintenance at the same time.
const TRIES: u32 = 3;

/// Plans and does maintenance, and leaves a checkpoint of the catalog where one is due. `None`: the pipeline has no
/// ledger.
///
/// # Errors
/// As [`apply`].
pub async fn maintain(
    lake: &Lake,
    pipeline: &str,
    policy: &MaintenancePolicy,
    loaded: &[LoadedBound],
    writer: &WriterId,
    mut on_step: impl FnMut(MaintenanceStep<'_>),
) -> Result<Option<Applied>, MaintenanceError> {
    let Some(mut catalog) = Catalog::read(lake, pipeline).await? else { return Ok(None) };
    let mut total = Applied::default();
    for _ in 0..TRIES {
        let plan = plan(&catalog, policy, loaded, lake.clock().now_us());
        if plan.is_empty() {
            break;
        }
        let applied = apply(lake, &catalog, &plan, writer, &mut on_step).await?;
        catalog = catalog.advance(lake).await?;
        total.add(applied);
        if !total.raced {
            break;
        }
    }
    catalog.checkpoint(lake).await?;
    Ok(Some(total))
}

impl Applied {
    /// Takes a later round; whether that one was raced is what counts.
    fn add(&mut self, later: Applied) {
        self.compacted.extend(later.compacted);
        self.letters.extend(later.letters);
        self.retired += later.retired;
        self.deleted += later.deleted;
        self.swept += later.swept;
        self.failed.extend(later.failed);
        self.raced = later.raced;
    }
}
