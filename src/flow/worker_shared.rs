//! What the flow sees of its workers all the time: how far each partition was taken in, and what a person should know.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use tokio::sync::Notify;
use turnstile_engine::Worker;
use turnstile_message::{MessageBatch, TopicPartition};

/// Notes that may wait for the flow; more than that say nothing new.
const NOTES: usize = 16;

/// What the flow sees of its workers all the time.
#[derive(Debug, Default)]
pub(crate) struct WorkerShared {
    /// Messages read since the start.
    pub(crate) read: AtomicU64,
    /// Bytes of their keys and values.
    pub(crate) read_bytes: AtomicU64,
    /// A worker's part has grown so large that a cut cannot wait.
    pub(crate) urgent: AtomicBool,
    /// Notified when a partition was read further, a cut has become urgent, or there is a note.
    pub(crate) changed: Notify,
    progress: Mutex<BTreeMap<TopicPartition, WorkerProgress>>,
    notes: Mutex<PendingNotes>,
}

#[derive(Debug, Default)]
struct PendingNotes {
    waiting: Vec<String>,
    last: String,
}

/// How far one partition was taken in.
#[derive(Debug, Clone)]
pub(crate) struct WorkerProgress {
    pub(crate) partition: TopicPartition,
    /// Everything before this offset has been taken in.
    pub(crate) next_offset: i64,
    /// The latest event time, microseconds since the epoch.
    pub(crate) event_us: Option<i64>,
    /// The offset after the last message that could move the event time.
    pub(crate) active_until: Option<i64>,
    /// The last message's own timestamp, milliseconds since the epoch.
    pub(crate) timestamp_ms: Option<i64>,
}

impl WorkerShared {
    /// How far every partition was taken in.
    pub(crate) fn progress(&self) -> Vec<WorkerProgress> {
        self.progress.lock().values().cloned().collect()
    }

    /// What a person should know, since the last call.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().waiting)
    }

    /// Workers find the same thing at the same time, and again and again: it is said once.
    pub(super) fn note(&self, note: String) {
        let mut notes = self.notes.lock();
        if notes.waiting.len() < NOTES && notes.last != note {
            notes.last.clone_from(&note);
            notes.waiting.push(note);
            self.changed.notify_one();
        }
    }

    /// Records how far `positions` were taken in, with `batch` the last.
    pub(super) fn record(&self, positions: &[(TopicPartition, i64)], worker: &Worker, batch: &MessageBatch) {
        let mut moved = false;
        let mut all = self.progress.lock();
        for (partition, next_offset) in positions {
            match all.get_mut(partition) {
                Some(known) => {
                    moved |= known.next_offset != *next_offset;
                    known.next_offset = *next_offset;
                }
                None => {
                    let partition = partition.clone();
                    let new = WorkerProgress {
                        partition: partition.clone(),
                        next_offset: *next_offset,
                        event_us: None,
                        active_until: None,
                        timestamp_ms: None,
                    };
                    all.insert(partition, new);
                }
            }
        }
        for part in worker.partitions() {
            if let Some(known) = all.get_mut(&part.partition) {
                (known.event_us, known.active_until) = (part.max_event_us, part.active_until);
            }
        }
        for run in &batch.runs {
            let last = run.rows.end.checked_sub(1).and_then(|row| batch.timestamps_ms.get(row)).filter(|ms| **ms >= 0);
            if let (Some(known), Some(ms)) = (all.get_mut(&run.partition), last) {
                known.timestamp_ms = Some(*ms);
            }
        }
        drop(all);
        if moved {
            self.changed.notify_one();
        }
    }
}
