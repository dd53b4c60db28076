//! The position of a message: topic, partition, offset.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One partition of one topic. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// The position of one message: its partition and offset.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourcePosition {
    /// The partition that holds the message.
    pub partition: TopicPartition,
    /// The message's offset in it.
    pub offset: i64,
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

/// Offsets `first..=last` of one partition, with the number of messages in it that count.
///
/// Both ends are included: `last` is the offset of a message, not of the next one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "OffsetRangeText", into = "OffsetRangeText")]
pub struct OffsetRange {
    /// The partition.
    pub partition: TopicPartition,
    /// Lowest offset that counts.
    pub first: i64,
    /// Highest offset that counts.
    pub last: i64,
    /// Messages within the range that count (others in it belong elsewhere).
    pub messages: u64,
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}..={}", self.partition, self.first, self.last)
    }
}

impl OffsetRange {
    /// Adds the range to `ranges`, one per partition.
    pub fn merge_into(self, ranges: &mut Vec<Self>) {
        match ranges.iter_mut().find(|known| known.partition == self.partition) {
            Some(known) => {
                known.first = known.first.min(self.first);
                known.last = known.last.max(self.last);
                known.messages += self.messages;
            }
            None => ranges.push(self),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct OffsetRangeText {
    topic: String,
    partition: i32,
    first: i64,
    last: i64,
    messages: u64,
}

impl From<OffsetRangeText> for OffsetRange {
    fn from(text: OffsetRangeText) -> Self {
        let partition = TopicPartition::new(text.topic, text.partition);
        Self { partition, first: text.first, last: text.last, messages: text.messages }
    }
}

impl From<OffsetRange> for OffsetRangeText {
    fn from(range: OffsetRange) -> Self {
        let TopicPartition { topic, partition } = range.partition;
        Self { topic: topic.to_string(), partition, first: range.first, last: range.last, messages: range.messages }
    }
}
