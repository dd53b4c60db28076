//! Messages that are in no window, kept until the next cut.

use turnstile_message::{MessageBatch, SourcePosition};

use crate::decode::Rejection;

/// A message that is in no window, with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its position.
    pub position: SourcePosition,
    /// Its timestamp, milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Why it was rejected.
    pub rejection: Rejection,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// The dead letters since the last cut.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    letters: Vec<DeadLetter>,
    bytes: usize,
}

impl DeadLetters {
    /// Keeps message `row` of `batch`.
    #[cold]
    pub(crate) fn push(&mut self, batch: &MessageBatch, row: usize, rejection: Rejection) {
        let letter = DeadLetter {
            position: batch.position(row),
            timestamp_ms: batch.timestamps_ms[row],
            rejection,
            key: batch.keys.get(row).map(<[u8]>::to_vec),
            value: batch.values.get(row).map(<[u8]>::to_vec),
        };
        self.bytes += 128 + letter.value.as_ref().map_or(0, Vec::len) + letter.key.as_ref().map_or(0, Vec::len);
        self.letters.push(letter);
    }

    /// Approximate bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The letters; none are left.
    pub(crate) fn take(&mut self) -> Vec<DeadLetter> {
        std::mem::take(self).letters
    }
}
