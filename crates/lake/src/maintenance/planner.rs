//! What maintenance would do, and why: a function of a catalog, a policy and the time.
//!
//! In: a [`Catalog`], [`MaintenancePolicy`], the commit up to which each warehouse has loaded. Out: a [`MaintenancePlan`] that can be shown,
//! and then done by [`super::apply`].
//! Does no I/O. Start at [`plan`].

use std::collections::HashSet;

use turnstile_values::human;

use super::plan::MaintenancePlan;
use super::policy::{LoadedBound, MaintenancePolicy};
use super::{batches, letters, retention};
use crate::maintenance_slot::Retired;
use crate::read::{Catalog, Leaving};

/// Plans maintenance as of `now_us`, the lake's wall clock, microseconds since the epoch, UTC.
///
/// Nothing is retired that is not known to be at its final name, that a warehouse has not loaded, or whose warehouse's
/// position is not known.
pub fn plan(catalog: &Catalog, policy: &MaintenancePolicy, loaded: &[LoadedBound], now_us: i64) -> MaintenancePlan {
    let unconfirmed: HashSet<&str> = catalog.newest().unconfirmed().map(|file| file.name.as_str()).collect();
    let due = retention::due(catalog, policy.retain_us, loaded, &unconfirmed);
    let mut left_alone = unconfirmed.clone();
    left_alone.extend(due.retire.iter().map(|object| object.name.as_str()));
    let compact = batches::plan(catalog, policy, &left_alone);
    let letters = letters::plan(catalog, policy, &left_alone);
    let mut sweep: Vec<i64> = if policy.sweep_all {
        catalog.days().map(|(day, _)| day).collect()
    } else {
        compact.iter().filter_map(|batch| batch.parts.first()).map(|source| source.part.day()).collect()
    };
    sweep.dedup();
    let sweep_letters = policy.sweep_all || !letters.is_empty();
    let (delete, waiting) = deletions(catalog, policy.grace_us, now_us);
    let keep = due.keep.into_iter().chain(waiting).collect();
    MaintenancePlan {
        pipeline: catalog.pipeline().to_owned(),
        at: catalog.position(),
        compact,
        letters,
        retire: due.retire,
        delete,
        keep,
        sweep,
        sweep_letters,
    }
}

/// Retired objects whose grace is over, and those that readers may still read.
fn deletions(catalog: &Catalog, grace_us: Option<i64>, now_us: i64) -> (Vec<Retired>, Vec<Retired>) {
    let Some(grace_us) = grace_us else { return Default::default() };
    let describe = |leaving: Leaving| {
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
