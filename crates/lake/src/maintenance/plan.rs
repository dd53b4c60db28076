//! What maintenance would do, and why: a function of a catalog, a policy and the time.
//!
//! In: a [`Catalog`], [`MaintenancePolicy`], the commit up to which each warehouse has loaded. Out: a [`MaintenancePlan`] that can be shown,
//! and then done by [`super::apply`].
//! Does no I/O. Start at [`plan`].

use std::collections::HashSet;

use serde::Serialize;
use turnstile_values::human;

use super::CompactedWindow;
use super::{Retired, batches, retention};
use crate::{Catalog, CatalogPosition, FileEncoding, Hash};

/// What maintenance is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaintenancePolicy {
    /// Which files are made into daily ones.
    pub compact: Compact,
    /// Retire windows that ended longer ago than this before the event time reached, and dead letters that were written
    /// longer ago than this before the newest commit, microseconds. `None`: keep all.
    pub retain_us: Option<i64>,
    /// Delete objects that were retired longer ago than this, microseconds: readers that are still on an older snapshot
    /// read them till then. `None`: delete none.
    pub grace_us: Option<i64>,
    /// Look for what crashed compactions left behind on all days, not only on those that are compacted now.
    pub sweep_all: bool,
}

/// Which files are made into daily ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compact {
    /// None.
    #[default]
    Off,
    /// Those of days that are over, once; and corrections that came later when they are enough to be worth it.
    ClosedDays,
    /// Those of days that are over, and every correction that came later.
    All,
}

/// The commit up to which a warehouse has loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadedBound {
    /// The warehouse, for people.
    pub target: String,
    /// The commit; `None` when it is not known: then nothing is retired.
    pub seq: Option<u64>,
}

/// What maintenance would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MaintenancePlan {
    /// The pipeline.
    pub pipeline: String,
    /// The position of the catalog that it was made from.
    pub at: CatalogPosition,
    /// Objects to make.
    pub compact: Vec<CompactionBatch>,
    /// Objects to retire because their time has come.
    pub retire: Vec<Retired>,
    /// Objects to delete, retired earlier.
    pub delete: Vec<Retired>,
    /// Objects that would go but for something that still needs them.
    pub keep: Vec<Retired>,
    /// Days (since the epoch, UTC) on which leftovers of crashed compactions are looked for.
    #[serde(skip)]
    pub(crate) sweep: Vec<i64>,
}

/// One object to make from several.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompactionBatch {
    /// The UTC date on which its windows start.
    pub date: String,
    /// Its format, and that of the objects that its rows come from.
    pub format: FileEncoding,
    /// Whose rows it will hold, in this order.
    pub parts: Vec<CompactionInput>,
    /// Objects that are no longer needed once it is there.
    pub replaces: Vec<Retired>,
}

/// Rows of one window, where they lie now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompactionInput {
    /// Whose rows they are.
    #[serde(flatten)]
    pub part: CompactedWindow,
    /// The object that holds them.
    pub object: String,
    /// SHA-256 of its bytes.
    pub object_sha256: Hash,
    /// Rows of it before them.
    pub first_row: u64,
}

impl MaintenancePlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.compact.is_empty() && self.retire.is_empty() && self.delete.is_empty() && self.sweep.is_empty()
    }
}

impl CompactionBatch {
    /// Rows that it will hold.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|source| source.part.rows).sum()
    }
}

/// Plans maintenance as of `now_us`, the lake's wall clock, microseconds since the epoch, UTC.
///
/// Nothing is retired that is not known to be at its final name, that a warehouse has not loaded, or whose warehouse's
/// position is not known.
pub fn plan(catalog: &Catalog, policy: &MaintenancePolicy, loaded: &[LoadedBound], now_us: i64) -> MaintenancePlan {
    let unconfirmed = unconfirmed(catalog);
    let due = retention::due(catalog, policy.retain_us, loaded, &unconfirmed);
    let mut left_alone = unconfirmed.clone();
    left_alone.extend(due.retire.iter().map(|object| object.name.as_str()));
    let compact = batches::plan(catalog, policy, &left_alone);
    let mut sweep: Vec<i64> = if policy.sweep_all {
        catalog.days().map(|(day, _)| day).collect()
    } else {
        compact.iter().filter_map(|batch| batch.parts.first()).map(|source| source.part.day()).collect()
    };
    sweep.dedup();
    let (delete, waiting) = deletions(catalog, policy.grace_us, now_us);
    let keep = due.keep.into_iter().chain(waiting).collect();
    MaintenancePlan {
        pipeline: catalog.pipeline().to_owned(),
        at: catalog.position(),
        compact,
        retire: due.retire,
        delete,
        keep,
        sweep,
    }
}

/// Files of which the ledger does not say yet that they are at their final names: a writer may still publish them.
fn unconfirmed(catalog: &Catalog) -> HashSet<&str> {
    let newest = catalog.newest();
    newest.publish.iter().chain(&newest.carried).map(|file| file.name.as_str()).collect()
}

/// Retired objects whose grace is over, and those that readers may still read.
fn deletions(catalog: &Catalog, grace_us: Option<i64>, now_us: i64) -> (Vec<Retired>, Vec<Retired>) {
    let Some(grace_us) = grace_us else { return Default::default() };
    let describe = |leaving: crate::Leaving| {
        let (since, grace) = (human::short_instant(leaving.since_us), human::duration(grace_us));
        let over = now_us.saturating_sub(leaving.since_us) >= grace_us;
        let reason = if over {
            format!("retired at {since}, kept for {grace} for readers")
        } else {
            format!("retired at {since}, readers of an older snapshot may read it for {grace}")
        };
        (over, Retired { name: leaving.name.to_string(), bytes: leaving.bytes, reason })
    };
    let (over, waiting): (Vec<_>, Vec<_>) = catalog.leaving().into_iter().map(describe).partition(|(over, _)| *over);
    let only = |described: Vec<(bool, Retired)>| described.into_iter().map(|(_, retired)| retired).collect();
    (only(over), only(waiting))
}
