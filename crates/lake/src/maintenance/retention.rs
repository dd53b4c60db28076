//! Which objects are old enough to retire, and which of those are still needed.

use std::collections::{BTreeMap, HashSet};

use turnstile_values::human;

use super::policy::LoadedBound;
use crate::format::names::dead_letters_of;
use crate::maintenance_slot::Retired;
use crate::read::{Catalog, Extent};

/// Objects whose time has come.
#[derive(Default)]
pub(super) struct Due {
    pub(super) retire: Vec<Retired>,
    pub(super) keep: Vec<Retired>,
}

/// The event time that a pipeline has reached: windows that end by then are published.
pub(super) fn reached_us(catalog: &Catalog) -> Option<i64> {
    catalog.newest().published_until_us.or(catalog.newest().watermark_us)
}

/// Objects of windows and dead letters that are older than `retain_us`, sorted into those that may go and those that
/// may not.
pub(super) fn due(
    catalog: &Catalog,
    retain_us: Option<i64>,
    loaded: &[LoadedBound],
    unconfirmed: &HashSet<&str>,
) -> Due {
    let Some(retain_us) = retain_us else { return Due::default() };
    let mut due = Due::default();
    if let Some(reached) = reached_us(catalog) {
        let horizon = reached.saturating_sub(retain_us);
        for (_, extents) in catalog.days() {
            for (name, object) in objects(extents) {
                if object.until_us <= horizon && !unconfirmed.contains(name) {
                    due.window(name, &object, retain_us, loaded);
                }
            }
        }
    }
    let horizon = catalog.newest().committed_at_us.saturating_sub(retain_us);
    for letters in catalog.dead_letters() {
        let nameable = dead_letters_of(catalog.pipeline(), &letters.name) == Some(letters.seq);
        if letters.committed_at_us <= horizon && !letters.gone && nameable && !unconfirmed.contains(&*letters.name) {
            due.letters(&letters.name, letters.bytes, letters.committed_at_us, retain_us);
        }
    }
    for object in catalog.letters_objects() {
        let letters = &object.letters;
        if letters.until_us <= horizon && !object.gone {
            due.letters(&letters.name, letters.bytes, letters.until_us, retain_us);
        }
    }
    due
}

/// An object with windows, all of which go or stay together.
struct Old {
    bytes: u64,
    windows: usize,
    until_us: i64,
    newest_seq: u64,
}

/// The objects of a day that are not gone, by name.
fn objects(extents: &[Extent]) -> BTreeMap<&str, Old> {
    let mut objects: BTreeMap<&str, Old> = BTreeMap::new();
    for extent in extents.iter().filter(|extent| !extent.gone) {
        let empty = Old { bytes: extent.object.bytes, windows: 0, until_us: i64::MIN, newest_seq: 0 };
        let object = objects.entry(&extent.object.name).or_insert(empty);
        object.windows += 1;
        object.until_us = object.until_us.max(extent.end_us);
        object.newest_seq = object.newest_seq.max(extent.seq);
    }
    objects
}

impl Due {
    fn letters(&mut self, name: &str, bytes: u64, written_us: i64, retain_us: i64) {
        let (written, retain) = (human::short_instant(written_us), human::duration(retain_us));
        let reason = format!("written {written}, retained for {retain}");
        self.retire.push(Retired { name: name.to_owned(), bytes, reason });
    }

    fn window(&mut self, name: &str, object: &Old, retain_us: i64, loaded: &[LoadedBound]) {
        let (ended, retain) = (human::short_instant(object.until_us), human::duration(retain_us));
        let ended = match object.windows {
            1 => format!("window ended {ended}, retained for {retain}"),
            several => format!("the last of {several} windows ended {ended}, retained for {retain}"),
        };
        let missing: Vec<String> = loaded.iter().filter_map(|bound| bound.missing(object.newest_seq)).collect();
        let (list, reason) = if missing.is_empty() {
            (&mut self.retire, format!("{ended}, {}", by(loaded)))
        } else {
            (&mut self.keep, missing.join("; "))
        };
        list.push(Retired { name: name.to_owned(), bytes: object.bytes, reason });
    }
}

impl LoadedBound {
    /// Why an object that holds rows of commit `seq` must stay for this warehouse.
    fn missing(&self, seq: u64) -> Option<String> {
        match self.seq {
            Some(loaded) if loaded >= seq => None,
            Some(loaded) => {
                Some(format!("not loaded by {} yet: it is at seq {loaded}, the rows are of seq {seq}", self.target))
            }
            None => Some(format!("whether {} has loaded it is not known", self.target)),
        }
    }
}

/// `loaded by embedded (seq 911) and postgres (seq 905)`.
fn by(loaded: &[LoadedBound]) -> String {
    let names: Vec<String> =
        loaded.iter().filter_map(|bound| Some(format!("{} (seq {})", bound.target, bound.seq?))).collect();
    match names.split_last() {
        None => "no warehouse loads it".to_owned(),
        Some((one, [])) => format!("loaded by {one}"),
        Some((last, others)) => format!("loaded by {} and {last}", others.join(", ")),
    }
}
