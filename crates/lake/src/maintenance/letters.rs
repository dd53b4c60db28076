//! Which files of dead letters become one, and that one's bytes.
//!
//! A commit that rejects messages publishes a file of them, so a day may have tens of thousands. They are merged whenever
//! there are many, and into one once their day is over: the UTC day of their commits.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use turnstile_values::DAY_US;

use super::MaintenanceError;
use super::compaction::verified;
use super::plan::{LettersBatch, LettersInput};
use super::policy::{Compact, MaintenancePolicy};
use crate::day::day_of;
use crate::format::letter_lines::{LetterGather, LetterLines};
use crate::format::names::{date, dead_letters_of};
use crate::lake::Lake;
use crate::maintenance_slot::{LettersPart, Retired};
use crate::read::{Catalog, DeadLettersFile, LettersObject};

/// Files of a day that is not over: as many are merged into one.
const FILES: usize = 64;

/// Packed bytes of what one object is made from, at most: it is made in memory.
const LARGEST: u64 = 32 << 20;

/// A file or an object, with all that it holds.
struct Source {
    bytes: u64,
    until_us: i64,
    compacted: bool,
    parts: Vec<LettersInput>,
}

/// The objects to make, oldest first, without files named in `left_alone`.
pub(super) fn plan(catalog: &Catalog, policy: &MaintenancePolicy, left_alone: &HashSet<&str>) -> Vec<LettersBatch> {
    if policy.letters == Compact::Off {
        return Vec::new();
    }
    let newest_us = catalog.newest().committed_at_us;
    let kept = |until_us: i64| policy.retain_us.is_none_or(|retain| until_us > newest_us.saturating_sub(retain));
    let mut days: BTreeMap<i64, Vec<Source>> = BTreeMap::new();
    for file in catalog.dead_letters() {
        let nameable = dead_letters_of(catalog.pipeline(), &file.name) == Some(file.seq);
        if nameable && !file.gone && kept(file.committed_at_us) && !left_alone.contains(&*file.name) {
            days.entry(day_of(file.committed_at_us)).or_default().push(Source::published(&file));
        }
    }
    for object in catalog.letters_objects().filter(|object| !object.gone && kept(object.letters.until_us)) {
        days.entry(day_of(object.letters.until_us)).or_default().push(Source::compacted(object));
    }
    let over = |day: i64| policy.letters == Compact::All || newest_us >= (day + 1) * DAY_US;
    days.into_iter().filter_map(|(day, sources)| of_day(sources, over(day))).collect()
}

/// The object to make of a day's files: of all of them, or of those that are not merged yet when they are many.
fn of_day(mut sources: Vec<Source>, all: bool) -> Option<LettersBatch> {
    let fewest = if all { 2 } else { FILES };
    if !all {
        // What was merged is merged again when the day is over, and not each time that there are many.
        sources.retain(|source| !source.compacted);
    }
    // The small ones first: what is large already gains least.
    sources.sort_by_key(|source| (source.compacted, source.bytes));
    let mut bytes = 0;
    let fits = sources.iter().take_while(|source| {
        bytes += source.bytes;
        bytes <= LARGEST
    });
    let fits = fits.count();
    sources.truncate(fits);
    if sources.len() < fewest {
        return None;
    }
    sources.sort_by_key(|source| source.parts.first().map(|input| input.part.seq));
    let until_us = sources.iter().map(|source| source.until_us).max()?;
    let retired = |source: &Source| {
        let name = source.parts.first()?.object.clone();
        Some(Retired { name, bytes: source.bytes, reason: "its messages are in a compacted object".to_owned() })
    };
    let replaces = sources.iter().filter_map(retired).collect();
    let parts = sources.into_iter().flat_map(|source| source.parts).collect();
    Some(LettersBatch { date: date(until_us), until_us, parts, replaces })
}

impl Source {
    fn published(file: &DeadLettersFile) -> Self {
        let input = LettersInput {
            part: LettersPart { seq: file.seq, rows: file.rows, sha256: file.sha256 },
            object: file.name.to_string(),
            object_sha256: file.sha256,
            first_row: 0,
        };
        Self { bytes: file.bytes, until_us: file.committed_at_us, compacted: false, parts: vec![input] }
    }

    fn compacted(object: &LettersObject) -> Self {
        let letters = &object.letters;
        let mut first_row = 0;
        let input = |part: &LettersPart| {
            let input = LettersInput {
                part: part.clone(),
                object: letters.name.clone(),
                object_sha256: letters.sha256,
                first_row,
            };
            first_row += part.rows;
            input
        };
        let parts = letters.parts.iter().map(input).collect();
        Self { bytes: letters.bytes, until_us: letters.until_us, compacted: true, parts }
    }
}

/// The bytes of the object that a batch plans.
///
/// # Errors
/// `Changed`: a file is not what was published. `Rows`: it cannot be read. `Ledger`: the store.
pub(super) async fn gather(lake: &Lake, batch: &LettersBatch) -> Result<Bytes, MaintenanceError> {
    let mut gather = LetterGather::new();
    let mut open: Option<(&str, LetterLines)> = None;
    for input in &batch.parts {
        let rows = |source| {
            let (date, name) = (batch.date.clone(), input.object.clone());
            MaintenanceError::Rows { date, name, source }
        };
        let lines = match &mut open {
            // An object's parts follow each other.
            Some((name, lines)) if *name == input.object => lines,
            open => {
                let lines = LetterLines::of(verified(lake, &input.object, input.object_sha256).await?);
                &mut open.insert((&input.object, lines)).1
            }
        };
        gather.take(lines, input.first_row, input.part.rows).map_err(rows)?;
    }
    let whole = |source| MaintenanceError::Rows { date: batch.date.clone(), name: "all of them".to_owned(), source };
    Ok(gather.finish().map_err(whole)?.into())
}

#[cfg(test)]
mod tests;
