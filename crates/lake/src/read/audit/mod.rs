//! Audit: the ledger against itself, and the lake against the ledger.

mod finding;
mod foreign;

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use futures::StreamExt;
use object_store::path::Path;
use serde::Serialize;

pub use finding::Finding;
use foreign::find_foreign;

use crate::read::account::Account;
use crate::read::chain::{WalkStep, walk};
use crate::read::places::Places;
use crate::{Counters, FileEntry, FileKind, Hash, Lake, LedgerError, StoreError, count_rows};

/// Files read at the same time; each is held in memory whole.
const READS_AT_ONCE: usize = 4;

/// Findings kept; more are only counted.
const FINDINGS: usize = 10_000;

/// What an audit saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Audit {
    /// The pipeline.
    pub pipeline: String,
    /// The newest slot; 0 when the pipeline has no ledger.
    pub seq: u64,
    /// Files that the ledger has published.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Rows in files of windows and dead letters.
    pub rows: u64,
    /// Published files that are retired: whether they are still there is no matter.
    pub retired: u64,
    /// Compacted objects that readers read, and their size.
    pub compacted: u64,
    /// What became of all rows read.
    pub counters: Counters,
    /// Files that the newest slot committed and that are not at their final names yet: no fault, the
    /// next commit or start publishes them.
    pub pending: Vec<String>,
    /// Objects that a compaction made and did not come to commit: no fault, the next one on their day removes them.
    pub leftovers: Vec<String>,
    /// Differences, in the order found.
    pub findings: Vec<Finding>,
    /// Differences beyond those listed.
    pub more_findings: u64,
}

impl Audit {
    /// Whether nothing differs.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS { self.findings.push(finding) } else { self.more_findings += 1 }
    }
}

/// One difference a line, then one line that says whether all is well.
impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.pending {
            writeln!(f, "pending: {name} is committed and not published yet")?;
        }
        for name in &self.leftovers {
            writeln!(
                f,
                "leftover: {name} is of a compaction that did not come to its end; `turnstile lake gc` removes it"
            )?;
        }
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let (name, files, seq) = (&self.pipeline, self.files, self.seq);
        if self.seq == 0 {
            return write!(f, "no ledger: nothing was ever committed for {name:?} here");
        }
        if !self.is_well() {
            let differences = self.findings.len() as u64 + self.more_findings;
            return write!(f, "NOT WELL: {differences} differences in {files} files and {seq} commits of {name:?}");
        }
        let mut terms: Vec<String> =
            self.counters.terms().iter().map(|(term, count)| format!("{count} {term}")).collect();
        terms.retain(|term| !term.starts_with("0 "));
        let terms = if terms.is_empty() { "0".to_owned() } else { terms.join(" + ") };
        let maintained = match (self.retired, self.compacted) {
            (0, 0) => String::new(),
            (retired, compacted) => format!(" ({retired} retired, {compacted} compacted objects)"),
        };
        write!(
            f,
            "all is well: {files} files{maintained}, {} rows, {seq} commits of {name:?}; {} read = {terms}",
            self.rows, self.counters.read
        )
    }
}

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
        let pending: BTreeSet<&str> =
            newest.publish.iter().chain(&newest.carried).map(|file| file.name.as_str()).collect();
        if let Some(reason) = ledger.account.overfull() {
            seen.find(Finding::Unbalanced { seq: newest.seq, reason });
        }
        check_parts(&ledger.files, &places, &mut seen);
        check_files(lake, &ledger.files, &places, &pending, &mut seen).await?;
    }
    find_foreign(lake, pipeline, &listed, &ledger.files, &places, &mut seen).await?;
    Ok(seen)
}

/// What maintenance did. A chain that cannot be read is a finding: what it retired then is one too.
async fn maintenance(lake: &Lake, pipeline: &str, seen: &mut Audit) -> Result<Places, LedgerError> {
    match Places::read(lake, pipeline).await {
        Err(LedgerError::Corrupt { object, reason }) => {
            seen.find(Finding::Ledger { object, reason });
            Ok(Places::default())
        }
        Err(error @ LedgerError::OtherPipeline { .. }) => {
            let object = format!("the maintenance chain of {pipeline:?}");
            seen.find(Finding::Ledger { object, reason: error.to_string() });
            Ok(Places::default())
        }
        done => done,
    }
}

/// Compares what compacted objects say that they hold with what was published.
fn check_parts(files: &HashMap<String, (u64, FileEntry)>, places: &Places, seen: &mut Audit) {
    let published: HashMap<(i64, i64, u32), (u64, u64, Hash)> = files
        .values()
        .filter_map(|(seq, file)| match file.kind {
            FileKind::Window { start_us, end_us, version } => {
                Some(((start_us, end_us, version), (*seq, file.rows, file.sha256)))
            }
            FileKind::DeadLetters => None,
        })
        .collect();
    for object in places.compacted.values() {
        for part in &object.parts {
            let window = (part.start_us, part.end_us, part.version);
            if published.get(&window) != Some(&(part.seq, part.rows, part.sha256)) {
                let reason = format!("it holds rows of {window:?} that were not published so");
                seen.find(Finding::Ledger { object: object.name.clone(), reason });
            }
        }
    }
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
            WalkStep::Break(object, reason) => return seen.find(Finding::Ledger { object, reason }),
        };
        for reason in self.account.take(&line) {
            seen.find(Finding::Unbalanced { seq: line.seq, reason });
        }
        for file in line.files {
            seen.files += 1;
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
    for object in places.compacted.values().filter(|object| !places.retired.contains_key(&object.name)) {
        seen.compacted += 1;
        let seq = object.parts.iter().map(|part| part.seq).max().unwrap_or(0);
        expected.push(Expected {
            seq,
            name: &object.name,
            bytes: object.bytes,
            sha256: object.sha256,
            rows: object.rows,
        });
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
                let found = found.map_err(|e| e.to_string());
                seen.find(Finding::Rows { name, expected: file.rows, found });
            }
        }
    }
    Ok(())
}
