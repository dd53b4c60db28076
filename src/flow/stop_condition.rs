//! When a run ends by itself.

use std::collections::HashMap;

use turnstile_kafka::KafkaConnection;
use turnstile_message::TopicPartition;

use super::fault::client;
use super::worker_shared::WorkerProgress;

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCondition {
    /// Not before shutdown.
    Shutdown,
    /// Once what the topic held at the start is read and committed; windows stay open.
    End,
    /// The same, and then all windows are closed and published.
    Drained,
}

/// The end of one run: the offsets that it must reach, if it ends by itself.
pub(super) struct RunEnd {
    /// Whether all windows close there.
    pub(super) drain: bool,
    offsets: Option<Vec<(TopicPartition, i64)>>,
}

impl RunEnd {
    /// Asks for the offsets at which `partitions` end now, where the run ends by itself.
    pub(super) fn find(
        until: StopCondition,
        connection: &KafkaConnection,
        partitions: &[TopicPartition],
    ) -> anyhow::Result<Self> {
        let drain = until == StopCondition::Drained;
        if until == StopCondition::Shutdown {
            return Ok(Self { drain, offsets: None });
        }
        let ranges = connection.watermarks(partitions).map_err(client)?;
        let offsets = partitions.iter().cloned().zip(ranges.into_iter().map(|(_, high)| high)).collect();
        Ok(Self { drain, offsets: Some(offsets) })
    }

    /// Whether all that the topics held at the start is read.
    pub(super) fn is_reached(&self, progress: impl FnOnce() -> Vec<WorkerProgress>) -> bool {
        let Some(ends) = &self.offsets else { return false };
        let progress = progress();
        let next: HashMap<&TopicPartition, i64> = progress.iter().map(|p| (&p.partition, p.next_offset)).collect();
        ends.iter().all(|(partition, end)| next.get(partition).is_some_and(|next| next >= end))
    }
}
