//! What an audit saw: its account of the ledger, and each difference that it found.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use turnstile_message::{Counters, FailedWindow};
use turnstile_values::human;

use crate::hash::Hash;

/// Findings kept; more are only counted.
const FINDINGS: usize = 10_000;

/// What an audit saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Audit {
    /// The pipeline.
    pub pipeline: String,
    /// The newest slot; 0 when the pipeline has no ledger.
    pub seq: u64,
    /// Files of windows that the ledger has published.
    pub files: u64,
    /// Files of dead letters that it has published.
    pub dead_letter_files: u64,
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
    /// Windows that were published without groups which could not be computed: recorded, so no fault.
    pub failed: Vec<FailedWindow>,
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

impl Finding {
    /// An object of the ledger that cannot be read.
    pub(super) fn broken(object: String, error: &(dyn Error + 'static)) -> Self {
        Self::Ledger { object, reason: human::error(error) }
    }
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

    pub(super) fn find(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS { self.findings.push(finding) } else { self.more_findings += 1 }
    }
}

/// Which groups a window lacks, in one line.
pub fn describe_failed_window(window: &FailedWindow) -> String {
    let bounds = (human::short_instant(window.start_us), human::short_instant(window.end_us));
    let groups = if window.groups == 1 { "1 group".to_owned() } else { format!("{} groups", window.groups) };
    let first =
        window.shown.first().map_or(String::new(), |group| format!("; the first: {}: {}", group.key, group.reason));
    format!("window {} .. {}, version {}: {groups} that cannot be computed{first}", bounds.0, bounds.1, window.version)
}

/// One difference a line, then one line that says whether all is well.
impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.pending {
            writeln!(f, "pending: {name} is committed but not published yet")?;
        }
        for name in &self.leftovers {
            writeln!(f, "leftover: {name} is from an unfinished compaction")?;
        }
        for window in &self.failed {
            writeln!(f, "left out: {}", describe_failed_window(window))?;
        }
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let (name, files, seq) = (&self.pipeline, self.files, self.seq);
        let letters = match self.dead_letter_files {
            0 => String::new(),
            1 => ", 1 dead-letter file".to_owned(),
            several => format!(", {several} dead-letter files"),
        };
        if self.seq == 0 {
            return write!(f, "no ledger: nothing was ever committed for {name:?} here");
        }
        if !self.is_well() {
            let differences = self.findings.len() as u64 + self.more_findings;
            return write!(
                f,
                "NOT WELL: {differences} differences in {files} files{letters} and {seq} commits of {name:?}"
            );
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
            "all is well: {files} files{letters}{maintained}, {} rows, {seq} commits of {name:?}; {} read = {terms}",
            self.rows, self.counters.read
        )
    }
}
