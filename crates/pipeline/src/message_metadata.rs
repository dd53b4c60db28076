//! What Kafka knows of a message beside its value: `metadata` in `[source.schema]`.

/// A property of a message that a field may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageMetadata {
    /// The message's timestamp: when the producer made it or when the broker appended it, as the topic's
    /// `message.timestamp.type` says. Milliseconds; null for a message without one.
    Timestamp,
    /// Its topic.
    Topic,
    /// Its partition.
    Partition,
    /// Its offset.
    Offset,
}

impl MessageMetadata {
    /// All of them, by the words of the schema.
    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("timestamp", Self::Timestamp),
        ("topic", Self::Topic),
        ("partition", Self::Partition),
        ("offset", Self::Offset),
    ];

    /// The word of the schema.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, metadata)| *metadata == self).map_or("", |(word, _)| word)
    }
}
