//! Messages that could not be processed.

use turnstile_message::TopicPartition;

/// Messages that could not be processed.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterSummary {
    /// By reason, the most frequent first.
    pub reasons: Vec<DeadLetterReason>,
    /// Files that hold them.
    pub files: u64,
    /// What they are of: `since the pipeline began`, `of the last 1,000 files`.
    pub scope: String,
}

/// Messages that were rejected for one reason.
#[derive(Debug, Clone)]
pub struct DeadLetterReason {
    /// The word that files and the command line use: `type`, `late`, `future`.
    pub reason: String,
    /// What it means, in one sentence.
    pub explanation: Option<String>,
    /// How many.
    pub count: u64,
    /// When the first and the last were rejected.
    pub first_at_us: Option<i64>,
    /// See `first_at_us`.
    pub last_at_us: Option<i64>,
    /// A few of them, newest first; at most 5 are shown.
    pub samples: Vec<DeadLetterSample>,
    /// Why they can't be sent again now, or that they would be rejected again; shown beside the button.
    pub warning: Option<String>,
    /// Whether "send again" is offered.
    pub can_requeue: bool,
}

/// One message that was rejected.
#[derive(Debug, Clone)]
pub struct DeadLetterSample {
    /// Where it stands.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp_us: Option<i64>,
    /// The field that is wrong, where one is.
    pub field: Option<String>,
    /// Its key, as it came.
    pub key: Option<Vec<u8>>,
    /// The first bytes of its value, as they came; 512 are shown.
    pub value: Vec<u8>,
    /// Size of the whole value.
    pub value_bytes: u64,
}

/// What sending again did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequeueSummary {
    /// Messages that were sent.
    pub sent: u64,
    /// To which topics, and how many.
    pub topics: Vec<(String, u64)>,
    /// Anything else that a person should know, in one sentence.
    pub note: Option<String>,
}
