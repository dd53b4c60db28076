//! Where reading stands, as the ledger records it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use turnstile_message::{OffsetRange, TopicPartition};

/// Where reading of one partition goes on, and what event time it has reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PositionText", into = "PositionText")]
pub struct Position {
    /// The partition.
    pub partition: TopicPartition,
    /// Offset of the next message to read.
    pub next_offset: i64,
    /// Leader epoch of the last message read, when the broker gave one.
    pub leader_epoch: Option<i32>,
    /// Latest event time read from this partition, microseconds since the epoch, UTC.
    pub max_event_us: Option<i64>,
    /// Whether the partition was quiet and did not hold the watermark back.
    pub idle: bool,
    /// Fingerprint of the last message read: tells a recreated topic from the one that was read.
    pub fingerprint: Option<u64>,
}

#[derive(Clone, Serialize, Deserialize)]
struct PositionText {
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

impl From<PositionText> for Position {
    fn from(text: PositionText) -> Self {
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

impl From<Position> for PositionText {
    fn from(position: Position) -> Self {
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

#[derive(Serialize, Deserialize)]
struct RangeText {
    topic: String,
    partition: i32,
    first: i64,
    last: i64,
    messages: u64,
}

/// Writes offset ranges as a list of flat objects.
pub(crate) fn serialize<S: Serializer>(ranges: &[OffsetRange], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ranges.iter().map(|range| RangeText {
        topic: range.partition.topic.to_string(),
        partition: range.partition.partition,
        first: range.first,
        last: range.last,
        messages: range.messages,
    }))
}

/// Reads what [`serialize`] wrote.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OffsetRange>, D::Error> {
    let ranges = Vec::<RangeText>::deserialize(deserializer)?;
    Ok(ranges
        .into_iter()
        .map(|range| OffsetRange {
            partition: TopicPartition::new(range.topic, range.partition),
            first: range.first,
            last: range.last,
            messages: range.messages,
        })
        .collect())
}
