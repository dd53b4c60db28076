//! From a file back to its messages.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDateTime};
use serde::Serialize;
use turnstile_message::{ExcludedMessages, FailedWindow};

use super::chain::for_each_commit;
use super::excluded_windows::ExcludedWindows;
use super::places::{Places, RowLocation};
use crate::error::LedgerError;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::maintenance_slot::{Compacted, CompactedWindow};
use crate::slot::{FileEntry, FileKind};

/// A file of the lake with the commit that made it part of the lake.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Published {
    /// The file: name, hash, size, rows, window, offset ranges, counts.
    pub file: FileEntry,
    /// The slot.
    pub seq: u64,
    /// The writer's epoch.
    pub epoch: u64,
    /// When it was committed, microseconds since the epoch, UTC.
    pub committed_at_us: i64,
    /// The writer's host.
    pub host: String,
    /// Whether the file is known to be at its final name: a later commit has confirmed it, or [`explain`] found it there.
    pub confirmed: bool,
    /// Where its rows lie now.
    pub place: RowLocation,
}

/// All files that the pipeline ever published, in the order of their commits.
///
/// # Errors
/// As [`for_each_commit`].
pub async fn entries(lake: &Lake, pipeline: &str) -> Result<Vec<Published>, LedgerError> {
    entries_of(lake, pipeline, |_| true).await
}

/// Those of them that are wanted.
pub(super) async fn entries_of(
    lake: &Lake,
    pipeline: &str,
    wanted: impl Fn(&FileEntry) -> bool,
) -> Result<Vec<Published>, LedgerError> {
    Ok(committed(lake, pipeline, wanted).await?.files)
}

/// What commits published, in their order.
struct LedgerFiles {
    files: Vec<Published>,
    failed: Vec<FailedWindow>,
    excluded: ExcludedWindows,
    places: Places,
}

async fn committed(
    lake: &Lake,
    pipeline: &str,
    wanted: impl Fn(&FileEntry) -> bool,
) -> Result<LedgerFiles, LedgerError> {
    // Maintenance first: what it names was committed before.
    let places = Places::read(lake, pipeline).await?;
    let (mut files, mut failed) = (Vec::new(), Vec::new());
    let mut excluded = ExcludedWindows::default();
    let newest = for_each_commit(lake, pipeline, |commit| {
        failed.extend(commit.failed);
        commit.excluded.into_iter().flatten().for_each(|more| excluded.add(more));
        files.extend(commit.files.into_iter().filter(|file| wanted(file)).map(|file| Published {
            file: FileEntry { stage: String::new(), ..file },
            seq: commit.seq,
            epoch: commit.epoch,
            committed_at_us: commit.committed_at_us,
            host: commit.host.clone(),
            confirmed: true,
            place: RowLocation::Own,
        }));
    })
    .await?;
    if let Some(newest) = newest {
        let pending: HashSet<&str> = newest.unconfirmed().map(|file| file.name.as_str()).collect();
        for file in &mut files {
            file.confirmed = !pending.contains(file.file.name.as_str());
            file.place = places.of(file.seq, &file.file);
        }
    }
    Ok(LedgerFiles { files, failed, excluded, places })
}

/// What a file or window was made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The files that match, all versions of their windows included, by window and version. Of one
    /// window, readers see the last.
    pub files: Vec<Published>,
    /// Groups of these windows that could not be computed, by commit.
    pub failed: Vec<FailedWindow>,
    /// Late rows and duplicates of these windows, where there were any; earlier releases did not count them by window.
    pub excluded: Vec<ExcludedMessages>,
}

/// Explains a file, by its name or the end of its path; a compacted object: the files whose rows it holds; or a window, by its start
/// (`2026-08-01T08:00Z`, `20260801T080000Z`) or by `START..END`. No match gives an empty list.
///
/// # Errors
/// As [`for_each_commit`].
pub async fn explain(lake: &Lake, pipeline: &str, what: &str) -> Result<Explained, LedgerError> {
    let mut explained = find(lake, pipeline, what).await?;
    confirm(lake, &mut explained.files).await?;
    Ok(explained)
}

/// No commit may ever follow the one that published a file: then the lake itself tells.
async fn confirm(lake: &Lake, files: &mut [Published]) -> Result<(), LedgerError> {
    for published in files.iter_mut().filter(|published| !published.confirmed) {
        published.confirmed = match published.place {
            RowLocation::Own => {
                lake.read(&published.file.name).await?.is_some_and(|bytes| Hash::of(&bytes) == published.file.sha256)
            }
            // Maintenance moves and retires only what it found there.
            RowLocation::Compacted { .. } | RowLocation::Retired { .. } => true,
        };
    }
    Ok(())
}

async fn find(lake: &Lake, pipeline: &str, what: &str) -> Result<Explained, LedgerError> {
    let LedgerFiles { files: all, failed, excluded, places } = committed(lake, pipeline, |_| true).await?;
    let is_named = |name: &str| {
        let ends_with = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|head| head.ends_with('/'));
        name == what || ends_with(name, what) || ends_with(what, name)
    };
    if let Some(object) = places.compacted.values().find(|object| is_named(&object.name)) {
        let files = parts(&all, object);
        let windows: HashSet<(i64, i64)> = files.iter().filter_map(|published| window(&published.file)).collect();
        let failed = failed.into_iter().filter(|failed| windows.contains(&(failed.start_us, failed.end_us))).collect();
        return Ok(Explained { files, failed, excluded: excluded.of(&windows) });
    }
    if let Some(object) = places.letters.values().find(|object| is_named(&object.name)) {
        let seqs: HashSet<u64> = object.parts.iter().map(|part| part.seq).collect();
        let held = |p: &&Published| p.file.kind == FileKind::DeadLetters && seqs.contains(&p.seq);
        let files = all.iter().filter(held).cloned().collect();
        return Ok(Explained { files, failed: Vec::new(), excluded: Vec::new() });
    }
    let named = |file: &FileEntry| is_named(&file.name);
    let asked = parse_window(what);
    let is_asked = |(start_us, end_us): (i64, i64)| {
        asked.is_some_and(|(start, end)| start_us == start && end.is_none_or(|end| end_us == end))
    };
    let in_window = |file: &FileEntry| window(file).is_some_and(is_asked);
    let matching: Vec<&FileEntry> =
        all.iter().map(|published| &published.file).filter(|file| named(file) || in_window(file)).collect();
    let windows: HashSet<(i64, i64)> = matching.iter().filter_map(|file| window(file)).collect();
    let names: HashSet<&str> = matching.iter().map(|file| file.name.as_str()).collect();
    let chosen = |published: &&Published| {
        let file = &published.file;
        names.contains(file.name.as_str()) || window(file).is_some_and(|window| windows.contains(&window))
    };
    let mut files: Vec<Published> = all.iter().filter(chosen).cloned().collect();
    files.sort_by(|a, b| (&a.file.kind, a.seq).cmp(&(&b.file.kind, b.seq)));
    let is_chosen = |failed: &FailedWindow| {
        let bounds = (failed.start_us, failed.end_us);
        windows.contains(&bounds) || is_asked(bounds)
    };
    let failed = failed.into_iter().filter(is_chosen).collect();
    Ok(Explained { files, failed, excluded: excluded.of(&windows) })
}

/// The files whose rows a compacted object holds, in their order in it.
fn parts(all: &[Published], object: &Compacted) -> Vec<Published> {
    let versions: HashMap<(i64, i64, u32), &Published> = all
        .iter()
        .filter_map(|published| match published.file.kind {
            FileKind::Window { start_us, end_us, version } => Some(((start_us, end_us, version), published)),
            FileKind::DeadLetters => None,
        })
        .collect();
    let found = |part: &CompactedWindow| versions.get(&(part.start_us, part.end_us, part.version)).copied().cloned();
    object.parts.iter().filter_map(found).collect()
}

fn window(file: &FileEntry) -> Option<(i64, i64)> {
    match file.kind {
        FileKind::Window { start_us, end_us, .. } => Some((start_us, end_us)),
        FileKind::DeadLetters => None,
    }
}

/// `START` or `START..END`, as microseconds since the epoch.
fn parse_window(text: &str) -> Option<(i64, Option<i64>)> {
    match text.split_once("..") {
        Some((start, end)) => Some((parse_instant(start)?, Some(parse_instant(end)?))),
        None => Some((parse_instant(text)?, None)),
    }
}

fn parse_instant(text: &str) -> Option<i64> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.timestamp_micros());
    }
    ["%Y%m%dT%H%M%S%.fZ", "%Y-%m-%dT%H:%MZ"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|at| at.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_named_in_the_ways_that_a_person_meets_it() {
        let eight = 1_785_571_200_000_000;
        for text in ["2026-08-01T08:00Z", "2026-08-01T08:00:00Z", "20260801T080000Z", "2026-08-01T04:00:00-04:00"] {
            assert_eq!(parse_window(text), Some((eight, None)), "{text}");
        }
        let both = "2026-08-01T08:00Z..2026-08-01T08:05Z";
        assert_eq!(parse_window(both), Some((eight, Some(eight + 300_000_000))));
        assert_eq!(parse_window("date=2026-08-01/x.csv.gz"), None);
    }
}
