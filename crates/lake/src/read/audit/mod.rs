//! Audit: the ledger against itself, and the lake against the ledger.

mod findings;
mod foreign;
mod maintained;

use std::collections::{BTreeSet, HashMap};

use futures::StreamExt;
use object_store::path::Path;

pub use findings::{Audit, Finding, describe_failed_window};
use foreign::find_foreign;
use maintained::{check_parts, maintenance};
use turnstile_values::human;

use crate::error::LedgerError;
use crate::format::count_rows;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::read::account::Account;
use crate::read::chain::{WalkStep, walk};
use crate::read::places::Places;
use crate::slot::{FileEntry, FileKind};
use crate::store::StoreError;

/// Files read at the same time; each is held in memory whole.
const READS_AT_ONCE: usize = 4;

/// Audits a pipeline: verifies the chain of hashes, recomputes conservation at every commit, reads
/// every published file and compares size, hash and rows, and names foreign files in the data
/// folders. Changes nothing; may run beside a living writer.
///
/// # Errors
/// `Store`: the store does not answer, so nothing can be said. `Corrupt`, `NewerVersion`,
/// `OtherPipeline`: the newest slot cannot be read. `Name`.
pub async fn audit(lake: &Lake, pipeline: &str) -> Result<Audit, LedgerError> {
    // The listing comes first: a file that is in it was committed before, so the ledger, read later,
    // must know it.
    let listed = lake.persist(|| lake.store().list(&Path::default(), None)).await?;
    let mut seen = Audit { pipeline: pipeline.to_owned(), ..Audit::default() };
    let mut ledger = OwnLedger::default();
    let places = maintenance(lake, pipeline, &mut seen).await?;
    let newest = walk(lake, pipeline, |step| ledger.take(step, &mut seen)).await?;
    if let Some(newest) = &newest {
        seen.seq = newest.seq;
        seen.counters = newest.counters.clone();
        let pending: BTreeSet<&str> = newest.unconfirmed().map(|file| file.name.as_str()).collect();
        if let Some(reason) = ledger.account.overfull() {
            seen.find(Finding::Unbalanced { seq: newest.seq, reason });
        }
        check_parts(&ledger.files, &places, &mut seen);
        check_files(lake, &ledger.files, &places, &pending, &mut seen).await?;
    }
    find_foreign(lake, pipeline, &listed, &ledger.files, &places, &mut seen).await?;
    Ok(seen)
}

/// The ledger's own account, as the walk comes past it.
#[derive(Default)]
struct OwnLedger {
    account: Account,
    files: HashMap<String, (u64, FileEntry)>,
}

impl OwnLedger {
    fn take(&mut self, step: WalkStep, seen: &mut Audit) {
        let line = match step {
            WalkStep::Commit(line, _) => line,
            WalkStep::Break(object, reason) => return seen.find(Finding::broken(object, &*reason)),
        };
        for reason in self.account.take(&line) {
            seen.find(Finding::Unbalanced { seq: line.seq, reason });
        }
        seen.failed.extend(line.failed);
        for file in line.files {
            match file.kind {
                FileKind::Window { .. } => seen.files += 1,
                FileKind::DeadLetters => seen.dead_letter_files += 1,
            }
            seen.bytes += file.bytes;
            seen.rows += file.rows;
            let name = file.name.clone();
            if let Some((earlier, _)) = self.files.insert(name.clone(), (line.seq, file)) {
                seen.find(Finding::Twice { name, seqs: (earlier, line.seq) });
            }
        }
    }
}

/// An object that must be there as it was committed.
#[derive(Clone, Copy)]
struct Expected<'a> {
    seq: u64,
    name: &'a str,
    bytes: u64,
    sha256: Hash,
    rows: u64,
}

/// What must be there: files that were published and not retired, and compacted objects that were not.
fn expected<'a>(
    files: &'a HashMap<String, (u64, FileEntry)>,
    places: &'a Places,
    seen: &mut Audit,
) -> Vec<Expected<'a>> {
    let mut expected: Vec<Expected<'_>> = Vec::new();
    for (seq, file) in files.values() {
        if places.retired.contains_key(&file.name) {
            seen.retired += 1;
        } else {
            expected.push(Expected {
                seq: *seq,
                name: &file.name,
                bytes: file.bytes,
                sha256: file.sha256,
                rows: file.rows,
            });
        }
    }
    let compacted = places.compacted.values().map(|object| {
        let seq = object.parts.iter().map(|part| part.seq).max().unwrap_or(0);
        Expected { seq, name: &object.name, bytes: object.bytes, sha256: object.sha256, rows: object.rows }
    });
    let letters = places.letters.values().map(|object| {
        let seq = object.parts.iter().map(|part| part.seq).max().unwrap_or(0);
        Expected { seq, name: &object.name, bytes: object.bytes, sha256: object.sha256, rows: object.rows }
    });
    for object in compacted.chain(letters).filter(|object| !places.retired.contains_key(object.name)) {
        seen.compacted += 1;
        expected.push(object);
    }
    expected.sort_by_key(|file| (file.seq, file.name));
    expected
}

async fn check_files(
    lake: &Lake,
    files: &HashMap<String, (u64, FileEntry)>,
    places: &Places,
    pending: &BTreeSet<&str>,
    seen: &mut Audit,
) -> Result<(), StoreError> {
    let expected = expected(files, places, seen);
    let mut checked = futures::stream::iter(expected)
        .map(|file| async move { (file.seq, file, lake.read(file.name).await) })
        .buffered(READS_AT_ONCE);
    while let Some((seq, file, bytes)) = checked.next().await {
        let name = file.name.to_owned();
        let Some(bytes) = bytes? else {
            if pending.contains(name.as_str()) {
                seen.pending.push(name)
            } else {
                seen.find(Finding::Missing { name, seq })
            }
            continue;
        };
        let (expected, found) = ((file.bytes, file.sha256), (bytes.len() as u64, Hash::of(&bytes)));
        if expected != found {
            // Its rows are another file's rows: one line says enough.
            seen.find(Finding::Changed { name, seq, expected, found });
            continue;
        }
        match count_rows(&name, &bytes) {
            Ok(rows) if rows == file.rows => {}
            found => {
                let found = found.map_err(|e| human::error(&e));
                seen.find(Finding::Rows { name, expected: file.rows, found });
            }
        }
    }
    Ok(())
}
