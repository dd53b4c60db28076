//! Which files become one: those of a UTC day that is over.

use std::collections::{HashMap, HashSet};

use turnstile_values::DAY_US;

use super::plan::{CompactionBatch, CompactionInput};
use super::policy::{Compact, MaintenancePolicy};
use super::retention::reached_us;
use crate::day::day_of;
use crate::format::FileEncoding;
use crate::format::names::{LEGACY_KEY, date, partition_of};
use crate::maintenance_slot::{CompactedWindow, Retired};
use crate::read::{Catalog, Extent};
use crate::slot::FileKind;

/// Packed bytes of the rows in one compacted object, at most: it is made in memory. A day with more gets several.
const LARGEST: u64 = 128 << 20;

/// Corrections that came after a day was compacted are folded in once they are so many,
const CORRECTIONS: usize = 8;

/// or hold this part of the day's rows.
const CORRECTED_PART: u64 = 10;

/// The objects to make, oldest first, without rows of the objects named in `left_alone`.
pub(super) fn plan(catalog: &Catalog, policy: &MaintenancePolicy, left_alone: &HashSet<&str>) -> Vec<CompactionBatch> {
    let Some(reached) = reached_us(catalog).filter(|_| policy.compact != Compact::Off) else { return Vec::new() };
    // A window that begins on the day may end after it.
    let closed = |day: i64, until: i64| until >= (day + 1) * DAY_US + catalog.longest_us();
    // What is about to be retired is not worth compacting.
    let kept = |day: i64| policy.retain_us.is_none_or(|retain| !closed(day, reached.saturating_sub(retain)));
    // A day is made into one file once: not before its last windows can be part of it.
    let publishing = publishing_days(catalog);
    let whole = |day: i64| policy.compact == Compact::All || !publishing.contains(&day);
    let days = catalog.days().filter(|(day, _)| closed(*day, reached) && kept(*day) && whole(*day));
    days.flat_map(|(_, extents)| {
        [FileEncoding::CsvGz, FileEncoding::Parquet].into_iter().flat_map(|format| {
            let fits = |extent: &&Extent| {
                extent.current && extent.object.format == Some(format) && !left_alone.contains(&*extent.object.name)
            };
            of_day(&extents.iter().filter(fits).collect::<Vec<_>>(), format, policy.compact)
        })
    })
    .collect()
}

/// Days (since the epoch, UTC) of windows whose files may still be on their way to their final names.
fn publishing_days(catalog: &Catalog) -> HashSet<i64> {
    let day = |kind: &FileKind| match kind {
        FileKind::Window { start_us, .. } => Some(day_of(*start_us)),
        FileKind::DeadLetters => None,
    };
    catalog.newest().unconfirmed().filter_map(|file| day(&file.kind)).collect()
}

/// The objects to make from a day's current rows of one format.
fn of_day(extents: &[&Extent], format: FileEncoding, compact: Compact) -> Vec<CompactionBatch> {
    if !is_worth_it(extents, compact) {
        return Vec::new();
    }
    let mut batches: Vec<Vec<&Extent>> = Vec::new();
    let mut filled = u64::MAX;
    for extent in extents {
        let bytes = extent.object.bytes * extent.rows / extent.object.rows.max(1);
        if filled.saturating_add(bytes) > LARGEST {
            (batches, filled) = (begun(batches), 0);
        }
        filled += bytes;
        batches.last_mut().expect("one was begun").push(extent);
    }
    // A batch of one object, or of compacted ones alone, would change nothing.
    batches.retain(|batch| distinct(batch, |_| true) > 1 && distinct(batch, |extent| !extent.object.compacted) > 0);
    let mut left: HashMap<&str, u32> =
        extents.iter().map(|extent| (extent.object.name.as_ref(), extent.object.windows)).collect();
    batches.into_iter().map(|batch| batch_of(&batch, format, &mut left)).collect()
}

fn begun(mut batches: Vec<Vec<&Extent>>) -> Vec<Vec<&Extent>> {
    batches.push(Vec::new());
    batches
}

fn is_worth_it(extents: &[&Extent], compact: Compact) -> bool {
    let small = distinct(extents, |extent| !extent.object.compacted);
    let large = distinct(extents, |extent| extent.object.compacted);
    let rows = |compacted: bool| -> u64 {
        extents.iter().filter(|extent| extent.object.compacted == compacted).map(|extent| extent.rows).sum()
    };
    match compact {
        Compact::Off => false,
        _ if large == 0 => small > 1,
        Compact::ClosedDays => small >= CORRECTIONS || (small > 0 && rows(false) >= rows(true) / CORRECTED_PART),
        Compact::All => small > 0,
    }
}

fn distinct(extents: &[&Extent], which: impl Fn(&Extent) -> bool) -> usize {
    let wanted = extents.iter().filter(|extent| which(extent));
    wanted.map(|extent| extent.object.name.as_ref()).collect::<HashSet<&str>>().len()
}

/// One object; `left` counts the current windows that each object still holds after it.
fn batch_of<'a>(extents: &[&'a Extent], format: FileEncoding, left: &mut HashMap<&'a str, u32>) -> CompactionBatch {
    let mut replaces = Vec::new();
    for extent in extents {
        let windows = left.get_mut(extent.object.name.as_ref()).expect("all objects were counted");
        *windows -= 1;
        if *windows == 0 {
            let reason = "its rows lie in a compacted object".to_owned();
            replaces.push(Retired { name: extent.object.name.to_string(), bytes: extent.object.bytes, reason });
        }
    }
    let source = |extent: &&Extent| CompactionInput {
        part: CompactedWindow::from(*extent),
        object: extent.object.name.to_string(),
        object_sha256: extent.object.sha256,
        first_row: extent.first_row,
    };
    let date = date(extents.first().map_or(0, |extent| extent.start_us));
    let key = extents.iter().find_map(|extent| Some(partition_of(&extent.object.name)?.0)).unwrap_or(LEGACY_KEY);
    let key = key.to_owned();
    CompactionBatch { key, date, format, parts: extents.iter().map(source).collect(), replaces }
}
