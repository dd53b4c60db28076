//! Which query of a cluster computes the pipeline, and how far it is published: the state of a pipeline on Spark.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnstile_lake::{NewState, Slot, StateRef};
use turnstile_message::PartitionPosition;
use turnstile_spark::{PartitionOffsets, QueryHandle};
use uuid::Uuid;

use super::batches::FinishedBatches;

/// The kind of the state in the ledger.
const SPARK: &str = "spark";

/// Whether the open windows of a commit are a Spark query's.
pub(crate) fn is_of_spark(slot: &Slot) -> bool {
    slot.state.iter().any(|state| state.kind == SPARK)
}

/// What a commit keeps of a pipeline on Spark, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Binding {
    /// The folder of the query's checkpoint and rows, below the pipeline's folder `spark`.
    pub(super) generation: String,
    /// Where the query began to read, by topic and partition; partitions that are not here are read from their beginning.
    pub(super) start: PartitionOffsets,
    /// The next batch to publish.
    pub(super) next_batch: u64,
    /// Files that the batches before it wrote.
    pub(super) files: u64,
    /// Windows that end up to here cannot come any more, microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) closed_until_us: Option<i64>,
    /// Where the batches before `next_batch` end: behind the ledger's positions while messages are read again that the embedded
    /// engine had read.
    pub(super) read_until: PartitionOffsets,
    /// Windows that end up to here were published before the query began, microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) published_before_us: Option<i64>,
    /// Batches that may hold messages of windows that are not published, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) recent: Vec<RecentBatch>,
    /// The schemas in the query's plan, by their ids: whether the registry knew them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) schemas: BTreeMap<u32, bool>,
    /// The session in which the query runs, and the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) running: Option<StartedQuery>,
}

/// A batch, or several one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecentBatch {
    /// Where it begins.
    pub(super) start: PartitionOffsets,
    /// The latest event time in it, microseconds since the epoch.
    pub(super) newest_us: i64,
}

/// Batches that are kept apart; of more, the oldest are taken together.
const RECENT: usize = 64;

/// A query that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StartedQuery {
    /// The session on the server.
    pub(super) session: Uuid,
    #[serde(flatten)]
    pub(super) query: QueryHandle,
}

impl Binding {
    /// A query that has not begun.
    pub(super) fn new(generation: String, start: PartitionOffsets) -> Self {
        Self {
            generation,
            read_until: start.clone(),
            start,
            next_batch: 0,
            files: 0,
            closed_until_us: None,
            published_before_us: None,
            recent: Vec::new(),
            schemas: BTreeMap::new(),
            running: None,
        }
    }

    /// Whether the query still reads messages that were counted before it began: up to `positions`.
    pub(super) fn reads_again(&self, positions: &[PartitionPosition]) -> bool {
        positions.iter().any(|position| {
            let partition = &position.partition;
            let next = self.read_until.get(&*partition.topic).and_then(|topic| topic.get(&partition.partition));
            next.is_none_or(|next| *next < position.next_offset)
        })
    }

    /// Takes a published batch, in which the latest event time is `newest_us`; windows are `size_us` long.
    pub(super) fn advance(&mut self, batches: &FinishedBatches, newest_us: Option<i64>, size_us: i64) {
        if let Some(newest_us) = newest_us {
            self.recent.push(RecentBatch { start: self.read_until.clone(), newest_us });
        }
        if let Some(closed_us) = self.closed_until_us {
            // A window that is not complete ends after this, and begins before its newest message.
            self.recent.retain(|batch| batch.newest_us.saturating_add(size_us) > closed_us);
        }
        if self.recent.len() > RECENT {
            let second = self.recent.remove(1);
            self.recent[0].newest_us = self.recent[0].newest_us.max(second.newest_us);
        }
        self.next_batch = batches.last + 1;
        self.files = batches.files_in_all;
        self.read_until = batches.offsets.next.clone();
    }

    /// Where the messages of windows begin that are not published.
    pub(super) fn open_from(&self) -> &PartitionOffsets {
        self.recent.first().map_or(&self.read_until, |batch| &batch.start)
    }

    /// The reference to it in a commit.
    pub(super) fn reference(slot: &Slot) -> Option<&StateRef> {
        slot.state.iter().find(|state| state.kind == SPARK)
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is not one of this release.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The state of the next commit.
    pub(super) fn state(&self) -> NewState {
        let bytes = serde_json::to_vec(self).expect("names and numbers are JSON");
        NewState { kind: SPARK.to_owned(), live_until_us: None, bytes: bytes.into() }
    }
}

#[cfg(test)]
mod tests {
    use turnstile_spark::BatchOffsets;

    use super::*;

    #[test]
    fn a_binding_is_read_back_as_it_was_written() {
        let start = BTreeMap::from([("t".to_owned(), BTreeMap::from([(0, 5), (11, -2)]))]);
        let mut binding = Binding::new("7".to_owned(), start);
        assert_eq!(Binding::decode(&binding.state().bytes).unwrap(), binding);
        let query = QueryHandle { id: "a".into(), run_id: "b".into() };
        binding.running = Some(StartedQuery { session: Uuid::nil(), query: query.clone() });
        binding.closed_until_us = Some(-1);
        binding.schemas = BTreeMap::from([(17, true), (u32::MAX, false)]);
        let read = Binding::decode(&binding.state().bytes).unwrap();
        assert_eq!((read.running.as_ref().map(|running| &running.query), &read), (Some(&query), &binding));
        assert!(Binding::decode(b"{}").is_err());
    }

    #[test]
    fn it_knows_where_messages_of_open_windows_begin() {
        let at = |offset: i64| PartitionOffsets::from([("t".to_owned(), BTreeMap::from([(0, offset)]))]);
        let mut binding = Binding::new("7".to_owned(), at(-2));
        let mut end = 0;
        let mut batch = |binding: &mut Binding, newest_us: Option<i64>, closed_us: i64| {
            end += 10;
            let offsets = BatchOffsets { next: at(end), ..BatchOffsets::default() };
            binding.closed_until_us = Some(closed_us);
            let batches = FinishedBatches { last: binding.next_batch, offsets, ..FinishedBatches::default() };
            binding.advance(&batches, newest_us, 300);
        };
        batch(&mut binding, Some(100), 0);
        batch(&mut binding, Some(700), 0);
        assert_eq!((binding.open_from(), binding.next_batch), (&at(-2), 2));
        batch(&mut binding, None, 400);
        assert_eq!(binding.open_from(), &at(10), "windows of the first batch end by 400");
        (0..200).for_each(|_| batch(&mut binding, Some(500), 400));
        assert!(binding.recent.len() <= RECENT && binding.open_from() == &at(10), "{:?}", binding.recent);
        batch(&mut binding, None, 1_000);
        assert_eq!(binding.open_from(), &binding.read_until, "every window is published");
        let position = |next| PartitionPosition::new(turnstile_message::TopicPartition::new("t", 0), next);
        assert!(!binding.reads_again(&[position(end)]) && binding.reads_again(&[position(end + 1)]));
    }
}
