//! Audit: the ledger against itself, and the lake against the ledger.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use futures::StreamExt;
use object_store::path::Path;
use serde::Serialize;

use super::account::Account;
use super::chain::{WalkStep, walk};
use super::places::Places;
use crate::format::names::compacted_for;
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

/// A difference between what was committed and what is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Finding {
    /// A link of the ledger does not hold.
    Ledger {
        /// The slot or file of history.
        object: String,
        /// What is wrong.
        reason: String,
    },
    /// Rows are in no term, a counter went down, or a file's counts are not those of the commit.
    Unbalanced {
        /// The commit.
        seq: u64,
        /// What does not hold.
        reason: String,
    },
    /// A published file is not there.
    Missing {
        /// The file.
        name: String,
        /// The commit that published it.
        seq: u64,
    },
    /// A published file has other bytes.
    Changed {
        /// The file.
        name: String,
        /// The commit that published it.
        seq: u64,
        /// Size and hash that were committed.
        expected: (u64, Hash),
        /// Size and hash of what is there.
        found: (u64, Hash),
    },
    /// A published file has another number of rows than the ledger says.
    Rows {
        /// The file.
        name: String,
        /// Rows in the ledger.
        expected: u64,
        /// Rows in the file, or why they cannot be counted.
        found: Result<u64, String>,
    },
    /// A name was published by two commits.
    Twice {
        /// The file.
        name: String,
        /// Both commits.
        seqs: (u64, u64),
    },
    /// A file in a data folder that no ledger of the lake knows. Readers of the folder count it.
    Foreign {
        /// The file.
        name: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger { object, reason } => write!(f, "ledger: {object}: {reason}"),
            Self::Unbalanced { seq, reason } => write!(f, "unbalanced: commit {seq}: {reason}"),
            Self::Missing { name, seq } => write!(f, "missing: {name}, published by commit {seq}"),
            Self::Changed { name, seq, expected, found } => write!(
                f,
                "changed: {name}, published by commit {seq} with {} bytes and SHA-256 {}, has {} bytes and SHA-256 {}",
                expected.0, expected.1, found.0, found.1
            ),
            Self::Rows { name, expected, found: Ok(found) } => {
                write!(f, "rows: {name} has {found} rows, the ledger says {expected}")
            }
            Self::Rows { name, found: Err(reason), .. } => write!(f, "rows: {name} cannot be counted: {reason}"),
            Self::Twice { name, seqs } => write!(f, "twice: {name} was published by commits {} and {}", seqs.0, seqs.1),
            Self::Foreign { name } => write!(f, "foreign: {name} is in no ledger of this lake"),
        }
    }
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

/// Names files in the data folders that neither this pipeline nor another one of the lake published.
async fn find_foreign(
    lake: &Lake,
    pipeline: &str,
    listed: &[Path],
    own: &HashMap<String, (u64, FileEntry)>,
    places: &Places,
    seen: &mut Audit,
) -> Result<(), LedgerError> {
    let data = |path: &&Path| {
        path.parts().next().is_some_and(|part| part.as_ref().starts_with("date=") || part.as_ref() == "_dead_letters")
    };
    let mut unknown: BTreeSet<&str> =
        listed.iter().filter(data).map(|path| path.as_ref()).filter(|name| !own.contains_key(*name)).collect();
    unknown.retain(|name| !is_compacted(pipeline, name, places, Some(&mut seen.leftovers)));
    if unknown.is_empty() {
        return Ok(());
    }
    for other in pipelines(listed).into_iter().filter(|other| other != pipeline) {
        let mut breaks = Vec::new();
        let walked = walk(lake, &other, |step| match step {
            WalkStep::Commit(line, _) => {
                for file in &line.files {
                    unknown.remove(file.name.as_str());
                }
            }
            WalkStep::Break(object, reason) => breaks.push(Finding::Ledger { object, reason }),
        })
        .await;
        let places = maintenance(lake, &other, seen).await?;
        unknown.retain(|name| !is_compacted(&other, name, &places, None));
        match walked {
            Err(LedgerError::Store(e)) => return Err(e.into()),
            Err(e) => seen.find(Finding::Ledger { object: format!("_turnstile/{other}"), reason: e.to_string() }),
            Ok(_) => breaks.into_iter().for_each(|finding| seen.find(finding)),
        }
    }
    for name in unknown {
        seen.find(Finding::Foreign { name: name.to_owned() });
    }
    Ok(())
}

/// The pipelines that have a ledger in the lake, by a listing of it.
fn pipelines(listed: &[Path]) -> BTreeSet<String> {
    listed
        .iter()
        .filter_map(|path| {
            let parts: Vec<_> = path.parts().take(3).collect();
            let [root, pipeline, log] = parts.as_slice() else { return None };
            (root.as_ref() == "_turnstile" && log.as_ref() == "log").then(|| pipeline.as_ref().to_owned())
        })
        .collect()
}

/// Whether maintenance of the pipeline made the object: committed, about to be, or left over by a crash.
fn is_compacted(pipeline: &str, name: &str, places: &Places, leftovers: Option<&mut Vec<String>>) -> bool {
    if places.compacted.contains_key(name) {
        return true;
    }
    let Some(seq) = compacted_for(pipeline, name) else { return false };
    // A slot that is not there yet may be about to name it.
    if seq <= places.newest
        && let Some(leftovers) = leftovers
    {
        leftovers.push(name.to_owned());
    }
    true
}
