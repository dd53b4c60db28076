//! Removes what crashed compactions and fenced writers left behind.
//!
//! The name of a compacted object contains the number of its slot. Once that slot exists and does not name the
//! object, no slot ever will: slots are written once. An object whose slot does not exist yet belongs to a process
//! that is about to write it, and is left alone.
//!
//! A writer that was fenced while publishing, and resumes much later, may recreate a file that was retired and
//! deleted meanwhile. By the catalog, its rows are elsewhere, or gone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use turnstile_values::DAY_US;

use super::MaintenanceError;
use crate::error::LedgerError;
use crate::error::corrupt;
use crate::format::names::{LETTERS, compacted_for, date, dead_letters_of, partition_of};
use crate::format::{FileEncoding, window_name};
use crate::lake::Lake;
use crate::ledger::LedgerFolder;
use crate::read::{Catalog, Extent};

/// Deletes leftovers on the given days (since the epoch, UTC), and those among the dead letters if `letters`, of slots up to
/// `newest`; returns how many.
pub(super) async fn sweep(
    lake: &Lake,
    catalog: &Catalog,
    newest: u64,
    days: &[i64],
    letters: bool,
) -> Result<usize, MaintenanceError> {
    let folder = &LedgerFolder::of(catalog.pipeline(), lake.segment())?;
    let mut put_back = Vec::new();
    let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for day in days {
        let extents = extents(catalog, *day);
        let keys: BTreeSet<&str> =
            extents.iter().filter_map(|extent| Some(partition_of(&extent.object.name)?.0)).collect();
        let moved = moved(catalog, extents, &keys);
        for key in keys {
            for name in lake.list(&format!("{key}={}", date(day * DAY_US)), None).await? {
                if moved.contains(&name) {
                    put_back.push(name);
                } else if let Some(seq) = compacted_for(folder.pipeline(), &name).filter(|seq| *seq <= newest) {
                    found.entry(seq).or_default().push(name);
                }
            }
        }
    }
    if letters {
        let published = catalog.position().seq;
        for name in lake.list(LETTERS, None).await? {
            let moved = dead_letters_of(folder.pipeline(), &name)
                .is_some_and(|seq| seq <= published && !catalog.has_dead_letters(seq));
            if moved {
                put_back.push(name);
            } else if let Some(seq) = compacted_for(folder.pipeline(), &name).filter(|seq| *seq <= newest) {
                found.entry(seq).or_default().push(name);
            }
        }
    }
    let mut leftovers = leftovers(lake, folder, &found).await?;
    leftovers.append(&mut put_back);
    lake.delete(&leftovers).await?;
    Ok(leftovers.len())
}

/// A day's extents.
fn extents(catalog: &Catalog, day: i64) -> &[Extent] {
    catalog.days().find(|(at, _)| *at == day).map_or(&[][..], |(_, extents)| extents)
}

/// The names under which a day's rows were published, of those that lie there no more and are known to be deleted.
fn moved(catalog: &Catalog, extents: &[Extent], keys: &BTreeSet<&str>) -> HashSet<String> {
    let leaving: HashSet<_> = catalog.leaving().into_iter().map(|leaving| leaving.name).collect();
    let names = extents.iter().flat_map(|extent| {
        let formats = [FileEncoding::CsvGz, FileEncoding::Parquet].into_iter();
        let leaving = &leaving;
        formats.filter(|format| Some(*format) == extent.object.format).flat_map(move |format| {
            keys.iter().filter_map(move |key| {
                let (start_us, end_us) = (extent.start_us, extent.end_us);
                let name = window_name(key, catalog.pipeline(), start_us, end_us, extent.version, format);
                let lies_there = *extent.object.name == name && !extent.gone;
                (!lies_there && !leaving.contains(name.as_str())).then_some(name)
            })
        })
    });
    names.collect()
}

/// Names that the slots for which they were made do not hold.
pub(crate) async fn leftovers(
    lake: &Lake,
    folder: &LedgerFolder,
    found: &BTreeMap<u64, Vec<String>>,
) -> Result<Vec<String>, LedgerError> {
    let mut leftovers = Vec::new();
    let mut committed: HashMap<u64, Vec<String>> = HashMap::new();
    for (seq, names) in found {
        if !committed.contains_key(seq) {
            let slot = folder.maintenance_chain(lake).get(*seq).await?;
            let slot = slot.ok_or_else(|| corrupt(&folder.maintenance_slot(*seq), "it is missing"))?.record;
            let letters = slot.letters.into_iter().map(|object| object.name);
            committed.insert(*seq, slot.compacted.into_iter().map(|object| object.name).chain(letters).collect());
        }
        let known = &committed[seq];
        leftovers.extend(names.iter().filter(|name| !known.contains(name)).cloned());
    }
    Ok(leftovers)
}
