//! Where reading of a partition resumes, as the engine knows it and the ledger records it.

use serde::{Deserialize, Serialize};

use crate::position::TopicPartition;

/// Where reading of one partition resumes, and what event time it has reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PartitionPositionText", into = "PartitionPositionText")]
pub struct PartitionPosition {
    /// The partition.
    pub partition: TopicPartition,
    /// Offset of the next message to read.
    pub next_offset: i64,
    /// Leader epoch of the last message read, when the broker gave one.
    pub leader_epoch: Option<i32>,
    /// Latest event time read from this partition, microseconds since the epoch, UTC.
    pub max_event_us: Option<i64>,
    /// The partition was read to its end and is quiet, so it does not hold the watermark back.
    pub idle: bool,
    /// Hash of the last message read, if any: detects a recreated topic.
    pub fingerprint: Option<u64>,
}

impl PartitionPosition {
    /// A partition of which nothing was read before `next_offset`.
    pub fn new(partition: TopicPartition, next_offset: i64) -> Self {
        Self { partition, next_offset, leader_epoch: None, max_event_us: None, idle: false, fingerprint: None }
    }
}

/// The JSON of a ledger's slot.
#[derive(Serialize, Deserialize)]
struct PartitionPositionText {
    topic: String,
    partition: i32,
    next_offset: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leader_epoch: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_event_us: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    idle: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<u64>,
}

impl From<PartitionPositionText> for PartitionPosition {
    fn from(text: PartitionPositionText) -> Self {
        Self {
            partition: TopicPartition::new(text.topic, text.partition),
            next_offset: text.next_offset,
            leader_epoch: text.leader_epoch,
            max_event_us: text.max_event_us,
            idle: text.idle,
            fingerprint: text.fingerprint,
        }
    }
}

impl From<PartitionPosition> for PartitionPositionText {
    fn from(position: PartitionPosition) -> Self {
        Self {
            topic: position.partition.topic.to_string(),
            partition: position.partition.partition,
            next_offset: position.next_offset,
            leader_epoch: position.leader_epoch,
            max_event_us: position.max_event_us,
            idle: position.idle,
            fingerprint: position.fingerprint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::OffsetRange;

    #[test]
    fn the_json_is_that_of_the_slots_written_so_far() {
        let partition = TopicPartition::new("t", 3);
        let bare = PartitionPosition::new(partition.clone(), 42);
        let whole = PartitionPosition {
            leader_epoch: Some(1),
            max_event_us: Some(-1),
            idle: true,
            fingerprint: Some(u64::MAX),
            ..bare.clone()
        };
        for (position, text) in [
            (bare, r#"{"topic":"t","partition":3,"next_offset":42}"#),
            (
                whole,
                r#"{"topic":"t","partition":3,"next_offset":42,"leader_epoch":1,"max_event_us":-1,"idle":true,"fingerprint":18446744073709551615}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&position).unwrap(), text);
            assert_eq!(serde_json::from_str::<PartitionPosition>(text).unwrap(), position);
        }
        let range = OffsetRange { partition, first: 1, last: 41, messages: 40 };
        let text = r#"{"topic":"t","partition":3,"first":1,"last":41,"messages":40}"#;
        assert_eq!(serde_json::to_string(&range).unwrap(), text);
        assert_eq!(serde_json::from_str::<OffsetRange>(text).unwrap(), range);
    }
}
