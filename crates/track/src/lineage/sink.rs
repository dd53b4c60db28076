//! Where lineage goes: a file with one event a line, or an HTTP endpoint.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use turnstile_values::{Secret, human};

use crate::outbox::{HttpOutbox, OUTBOX_RETRIES, OutboxCounts, OutboxError, OutboxSettings};

use super::event::LineageEvent;

/// A file that has reached this size is renamed, with `.1` at its end, before the next event; so two of them are kept.
pub const MAX_LINEAGE_FILE_BYTES: u64 = 64 << 20;
/// Events that may wait for an endpoint that is away; the oldest go first.
pub const LINEAGE_CAPACITY: usize = 1_024;
const LINEAGE_CAPACITY_BYTES: usize = 16 << 20;

/// Takes events. Not for the flow's own thread: a file is written while the caller waits.
#[derive(Debug)]
pub struct LineageSink(Destination);

#[derive(Debug)]
enum Destination {
    File(Mutex<LineageFile>),
    Http(HttpOutbox),
}

#[derive(Debug)]
struct LineageFile {
    path: PathBuf,
    counts: OutboxCounts,
    failing: bool,
}

impl LineageSink {
    /// Appends to the file at `path`, which is created when the first event comes.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let file = LineageFile { path: path.into(), counts: OutboxCounts::default(), failing: false };
        Self(Destination::File(Mutex::new(file)))
    }

    /// Posts to `url`, such as `http://marquez:5000/api/v1/lineage`.
    ///
    /// # Errors
    /// The URL or a header is not one.
    pub fn http(
        url: Secret,
        headers: Vec<(String, Secret)>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, OutboxError> {
        let settings = OutboxSettings {
            name: "the lineage endpoint",
            url,
            headers,
            content_type: "application/json",
            capacity: LINEAGE_CAPACITY,
            capacity_bytes: LINEAGE_CAPACITY_BYTES,
            retries: OUTBOX_RETRIES,
        };
        Ok(Self(Destination::Http(HttpOutbox::start(settings, runtime)?)))
    }

    /// Takes an event. A file that cannot be written is a line in the log, once, and the event is lost.
    pub fn send(&self, event: &LineageEvent) {
        // Numbers and text always have a JSON form.
        let mut line = serde_json::to_vec(event).unwrap_or_default();
        match &self.0 {
            Destination::Http(outbox) => outbox.push(line),
            Destination::File(file) => {
                line.push(b'\n');
                file.lock().append(&line);
            }
        }
    }

    /// What became of the events so far; those that a file lost are `dropped`.
    pub fn counts(&self) -> OutboxCounts {
        match &self.0 {
            Destination::File(file) => file.lock().counts,
            Destination::Http(outbox) => outbox.counts(),
        }
    }

    /// Sends what waits, for at most `within`.
    pub async fn close(self, within: Duration) -> OutboxCounts {
        match self.0 {
            Destination::File(file) => file.into_inner().counts,
            Destination::Http(outbox) => outbox.close(within).await,
        }
    }
}

impl LineageFile {
    fn append(&mut self, line: &[u8]) {
        match append(&self.path, line, MAX_LINEAGE_FILE_BYTES) {
            Ok(()) => {
                if self.failing {
                    tracing::info!("lineage is written to {} again", self.path.display());
                }
                self.failing = false;
                self.counts.delivered += 1;
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!("lineage cannot be written to {}: {}", self.path.display(), human::error(&error));
                }
                self.failing = true;
                self.counts.dropped += 1;
            }
        }
    }
}

fn append(path: &Path, line: &[u8], limit: u64) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() >= limit) {
        let mut old = path.as_os_str().to_owned();
        old.push(".1");
        fs::rename(path, old)?;
    }
    // One write of whole lines: two pipelines may share a file.
    File::options().create(true).append(true).open(path)?.write_all(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_full_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lineage.jsonl");
        for line in ["1\n", "2\n", "3\n", "4\n", "5\n"] {
            append(&path, line.as_bytes(), 4).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "5\n");
        assert_eq!(fs::read_to_string(folder.path().join("lineage.jsonl.1")).unwrap(), "3\n4\n");
    }
}
