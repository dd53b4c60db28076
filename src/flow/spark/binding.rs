//! Which query of a cluster computes the pipeline, and how far it is published: the state of a pipeline on Spark.

use serde::{Deserialize, Serialize};
use turnstile_lake::{NewState, Slot, StateRef};
use turnstile_spark::{PartitionOffsets, QueryHandle};
use uuid::Uuid;

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
    /// The session in which the query runs, and the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) running: Option<Running>,
}

/// A query that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    /// The session on the server.
    pub(super) session: Uuid,
    id: String,
    run_id: String,
}

impl Running {
    pub(super) fn new(session: Uuid, query: &QueryHandle) -> Self {
        Self { session, id: query.id.clone(), run_id: query.run_id.clone() }
    }

    pub(super) fn query(&self) -> QueryHandle {
        QueryHandle { id: self.id.clone(), run_id: self.run_id.clone() }
    }
}

impl Binding {
    /// A query that has not begun.
    pub(super) fn new(generation: String, start: PartitionOffsets) -> Self {
        Self { generation, start, next_batch: 0, files: 0, closed_until_us: None, running: None }
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
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_binding_is_read_back_as_it_was_written() {
        let start = BTreeMap::from([("t".to_owned(), BTreeMap::from([(0, 5), (11, -2)]))]);
        let mut binding = Binding::new("7".to_owned(), start);
        assert_eq!(Binding::decode(&binding.state().bytes).unwrap(), binding);
        let query = QueryHandle { id: "a".into(), run_id: "b".into() };
        binding.running = Some(Running::new(Uuid::nil(), &query));
        binding.closed_until_us = Some(-1);
        let read = Binding::decode(&binding.state().bytes).unwrap();
        assert_eq!((read.running.as_ref().map(Running::query), &read), (Some(query), &binding));
        assert!(Binding::decode(b"{}").is_err());
    }
}
