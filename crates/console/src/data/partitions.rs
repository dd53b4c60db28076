//! Partitions: positions, lag, event time.

use turnstile_message::TopicPartition;

/// The partitions of a pipeline's topics.
#[derive(Debug, Clone, Default)]
pub struct PartitionOverview {
    /// In order of topic and number.
    pub partitions: Vec<PartitionRow>,
    /// The watermark over all of them.
    pub watermark_us: Option<i64>,
    /// How long a window waits for stragglers: the watermark is the lowest event time of a partition less this.
    pub watermark_delay_us: Option<i64>,
    /// After how long a quiet partition stops holding the watermark back; `None` if never, or if that is not known.
    pub idle_after_us: Option<i64>,
    /// Why end offsets are unknown, in one line.
    pub broker_error: Option<String>,
}

/// One partition.
#[derive(Debug, Clone)]
pub struct PartitionRow {
    /// Which.
    pub partition: TopicPartition,
    /// Offset of the next message to read.
    pub next_offset: i64,
    /// Offset after the last message.
    pub end_offset: Option<i64>,
    /// Messages that are not read yet.
    pub lag_records: Option<u64>,
    /// Age of the oldest of them, in seconds.
    pub lag_seconds: Option<f64>,
    /// Latest event time read.
    pub max_event_us: Option<i64>,
    /// It is read to its end and quiet, so it does not hold the watermark back.
    pub idle: bool,
    /// It holds the watermark back.
    pub holds_watermark: bool,
    /// Since when it does.
    pub holds_since_us: Option<i64>,
}

/// The partition that holds the watermark back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkHolder {
    /// Which.
    pub partition: TopicPartition,
    /// Its latest event time; `None` if no message of it was read yet.
    pub max_event_us: Option<i64>,
    /// Since when it does.
    pub since_us: Option<i64>,
    /// When it becomes idle and no longer holds it back, if no message arrives.
    pub idle_at_us: Option<i64>,
}
