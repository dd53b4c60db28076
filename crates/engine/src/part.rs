//! What a worker hands over to the engine at a cut.

use turnstile_message::{Counters, OffsetRange, TopicPartition};

use crate::dead_letter::DeadLetter;
use crate::dedup::SeenMessage;
use crate::excluded_rows::ExcludedRows;
use crate::groups::Layer;

/// What a worker hands over at a cut: everything since the last one.
#[derive(Debug, Default)]
pub struct WorkerPart {
    pub(crate) windows: Vec<(i64, WindowPart)>,
    pub(crate) partitions: Vec<PartitionPart>,
    pub(crate) counters: Counters,
    pub(crate) dead_letters: Vec<DeadLetter>,
    pub(crate) seen: Vec<SeenMessage>,
    pub(crate) excluded: ExcludedRows,
}

#[derive(Debug)]
pub(crate) struct WindowPart {
    pub(crate) layer: Layer,
    pub(crate) sources: Vec<OffsetRange>,
    pub(crate) messages: u64,
}

/// What a worker knows of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionPart {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset after the last message read, or after what does not exist behind it.
    pub next_offset: i64,
    /// The latest event time seen, microseconds since the epoch.
    pub max_event_us: Option<i64>,
    /// The offset after the last message that could move the event time: rejected ones and those ahead of the clock cannot.
    pub active_until: Option<i64>,
    /// A hash of the last message read: detects a recreated topic. `None` before the first one.
    pub fingerprint: Option<u64>,
}
