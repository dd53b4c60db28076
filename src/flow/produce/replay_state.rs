//! `--resume`: a replay that resumes after the last row known to be delivered.
//!
//! A small state file next to the data holds the number of leading rows that the broker has acknowledged, and their
//! hash. It is saved about once a second and at the end, never ahead of an acknowledgement: whatever kills the
//! process, no row is lost. Rows that were acknowledged after the last save are sent again.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use turnstile_kafka::{ProducerRecord, Provider, ProviderError, SkippedRows};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::exit::Exit;
use crate::report::Failure;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedState {
    /// The topic that the rows went to.
    topic: String,
    /// Rows from the first on that are delivered.
    delivered: u64,
    /// A hash of their keys and values, in order.
    hash: String,
    /// Whether the run that saved this ended regularly: nothing else was then delivered, except `beyond`.
    ended: bool,
    /// Rows delivered after one that failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    beyond: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A replay's state file.
pub(crate) struct ReplayState {
    file: PathBuf,
    state: SavedState,
    existed: bool,
    hashes: Arc<Mutex<RowHashes>>,
}

/// The hash after each row that was sent and is not yet known to be delivered: at most those in the producer's queue and
/// those of the second since the last save, because a replay ends at the first row that fails.
#[derive(Debug, Default)]
struct RowHashes {
    /// Rows before the first of `after`.
    base: u64,
    at_base: u64,
    after: VecDeque<u64>,
}

impl RowHashes {
    /// Drops the hashes of the first `delivered` rows, and returns the hash after them.
    fn advance(&mut self, delivered: u64) -> u64 {
        while self.base < delivered {
            let Some(hash) = self.after.pop_front() else { break };
            self.at_base = hash;
            self.base += 1;
        }
        self.at_base
    }

    fn last(&self) -> u64 {
        self.after.back().copied().unwrap_or(self.at_base)
    }
}

impl ReplayState {
    /// The state file of a replay of `data` into `topic`, when no other is named.
    pub(crate) fn path_for(data: &Path, topic: &str) -> PathBuf {
        let mut name = data.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{topic}.resume"));
        data.with_file_name(name)
    }

    /// Reads the state file, if it exists.
    pub(crate) fn open(file: PathBuf, topic: &str) -> anyhow::Result<Self> {
        let fresh = SavedState { topic: topic.to_owned(), delivered: 0, hash: hex(0), ended: true, beyond: 0 };
        let (state, existed) = match std::fs::read(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (fresh, false),
            Err(error) => return Err(unusable(&file, error)),
            Ok(bytes) => (serde_json::from_slice::<SavedState>(&bytes).map_err(|e| unusable(&file, e))?, true),
        };
        if state.topic != topic {
            let fact = format!("{} belongs to a replay into \"{}\", not into \"{topic}\"", file.display(), state.topic);
            return Err(Failure::new(Exit::Config, fact).hint("name another file with --state").into());
        }
        Ok(Self { file, state, existed, hashes: Arc::default() })
    }

    /// Wraps the provider so that its rows are hashed, and skips delivered rows.
    pub(crate) fn skip(&self, provider: Box<dyn Provider>) -> anyhow::Result<Box<dyn Provider>> {
        let mut hashed = HashingProvider { provider, hashes: self.hashes.clone() };
        let (mut record, delivered) = (ProducerRecord::default(), self.state.delivered);
        for row in 0..delivered {
            let more = hashed.next(&mut record).map_err(super::provider_failed)?;
            let reached = self.hashes().advance(row + 1);
            if !more || (row + 1 == delivered && hex(reached) != self.state.hash) {
                let fact = format!("the first {delivered} rows differ from those that were delivered before");
                let hint = format!("use the same files and flags, or delete {} to start over", self.file.display());
                return Err(Failure::new(Exit::Config, fact).hint(hint).into());
            }
        }
        Ok(Box::new(hashed))
    }

    /// Where this run starts; `None` at the start of a replay.
    pub(crate) fn describe_start(&self) -> Option<String> {
        if !self.existed {
            return None;
        }
        let SavedState { delivered, ended, beyond, .. } = &self.state;
        let twice = match (ended, beyond) {
            (true, 0) => String::new(),
            (true, n) => format!("; {n} rows delivered after one that failed are sent again"),
            (false, _) => "; the previous run was killed: rows of about its last second are sent again".to_owned(),
        };
        Some(format!("resuming after row {delivered}, from {}{twice}", self.file.display()))
    }

    /// How many rows earlier runs delivered.
    pub(crate) fn delivered_before(&self) -> u64 {
        self.state.delivered
    }

    /// Saves that the first `delivered` rows of this run are delivered; at the end of a run, `ended` is the number of all
    /// that are.
    pub(crate) fn save(&self, delivered: u64, ended: Option<u64>) -> anyhow::Result<()> {
        let total = self.state.delivered + delivered;
        let hash = hex(self.hashes().advance(total));
        let beyond = ended.map_or(0, |all| all.saturating_sub(delivered));
        let topic = self.state.topic.clone();
        let state = SavedState { topic, delivered: total, hash, ended: ended.is_some(), beyond };
        write_atomically(&self.file, &serde_json::to_vec(&state)?).map_err(|error| unusable(&self.file, error))
    }

    fn hashes(&self) -> MutexGuard<'_, RowHashes> {
        self.hashes.lock()
    }
}

fn unusable(file: &Path, error: impl Into<anyhow::Error>) -> anyhow::Error {
    let fact = format!("{} cannot be used to resume from", file.display());
    Failure::new(Exit::Failed, fact).cause(error).hint("name a writable file with --state").into()
}

/// Replaces the file atomically: a crash leaves the old one or the new one.
fn write_atomically(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut out = std::fs::File::create(&new)?;
    out.write_all(bytes)?;
    out.sync_data()?;
    std::fs::rename(&new, file)
}

fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}

/// A provider whose rows are hashed as they pass.
struct HashingProvider {
    provider: Box<dyn Provider>,
    hashes: Arc<Mutex<RowHashes>>,
}

impl Provider for HashingProvider {
    fn name(&self) -> &'static str {
        self.provider.name()
    }

    fn total(&self) -> Option<u64> {
        self.provider.total()
    }

    fn next(&mut self, record: &mut ProducerRecord) -> Result<bool, ProviderError> {
        let more = self.provider.next(record)?;
        if more {
            let mut hashes = self.hashes.lock();
            // The length separates a key from its value.
            let before = hashes.last() ^ record.key.len() as u64;
            let hash = xxh3_64_with_seed(&record.value, xxh3_64_with_seed(&record.key, before));
            hashes.after.push_back(hash);
        }
        Ok(more)
    }

    fn skipped_rows(&self) -> SkippedRows {
        self.provider.skipped_rows()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers(u64, u64);

    impl Provider for Numbers {
        fn name(&self) -> &'static str {
            "numbers"
        }

        fn total(&self) -> Option<u64> {
            Some(self.1)
        }

        fn next(&mut self, record: &mut ProducerRecord) -> Result<bool, ProviderError> {
            *record = ProducerRecord { value: self.0.to_string().into_bytes(), ..ProducerRecord::default() };
            self.0 += 1;
            Ok(self.0 <= self.1)
        }
    }

    fn rest(provider: &mut dyn Provider) -> Vec<String> {
        let (mut record, mut rows) = (ProducerRecord::default(), Vec::new());
        while provider.next(&mut record).unwrap() {
            rows.push(String::from_utf8(record.value.clone()).unwrap());
        }
        rows
    }

    #[test]
    fn the_next_run_goes_on_after_the_rows_that_are_known_to_be_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        let first = ReplayState::open(file.clone(), "t").unwrap();
        let mut provider = first.skip(Box::new(Numbers(0, 10))).unwrap();
        assert_eq!((rest(&mut *provider).len(), first.describe_start()), (10, None));
        first.save(4, None).unwrap();

        let second = ReplayState::open(file.clone(), "t").unwrap();
        assert!(second.describe_start().is_some_and(|text| text.contains("after row 4") && text.contains("killed")));
        assert_eq!(rest(&mut *second.skip(Box::new(Numbers(0, 10))).unwrap()), ["4", "5", "6", "7", "8", "9"]);
        second.save(6, Some(6)).unwrap();

        let third = ReplayState::open(file, "t").unwrap();
        assert!(third.describe_start().is_some_and(|text| text.contains("after row 10") && !text.contains("again")));
        assert!(rest(&mut *third.skip(Box::new(Numbers(0, 10))).unwrap()).is_empty());
    }

    #[test]
    fn other_rows_than_those_delivered_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        let first = ReplayState::open(file.clone(), "t").unwrap();
        rest(&mut *first.skip(Box::new(Numbers(0, 10))).unwrap());
        first.save(4, Some(5)).unwrap();
        let again = ReplayState::open(file.clone(), "t").unwrap();
        assert!(again.describe_start().is_some_and(|text| text.contains("1 rows delivered after one that failed")));
        for other in [Numbers(1, 10), Numbers(0, 3)] {
            assert!(again.skip(Box::new(other)).is_err());
        }
        assert!(ReplayState::open(file.clone(), "other").is_err());
        std::fs::write(&file, "{").unwrap();
        assert!(ReplayState::open(file, "t").is_err());
    }
}
