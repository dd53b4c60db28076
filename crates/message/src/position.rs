//! The position of a message: topic, partition, offset.

use std::fmt;
use std::sync::Arc;

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
