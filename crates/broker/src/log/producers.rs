//! What idempotent producers have sent to one partition, so that a batch that is sent twice is stored once.
//!
//! In: batch headers, in log order. Out: whether a batch is new, a duplicate, or out of order.
//! Source: KIP-98 and KIP-360, as `ProducerStateManager` of Apache Kafka applies them.

use std::collections::{HashMap, VecDeque};

use kafka_protocol::ResponseError;

use super::batch::BatchHeader;

/// Batches kept for each producer: a client has at most five requests under way.
const BATCHES: usize = 5;
/// Producers kept for each partition; beyond that the one that was idle longest is evicted, and its next batch
/// is accepted with any sequence number.
const PRODUCERS: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct ProducerStateManager(HashMap<i64, ProducerStateEntry>);

#[derive(Debug)]
struct ProducerStateEntry {
    epoch: i16,
    /// Oldest first, never empty.
    sent: VecDeque<BatchMetadata>,
}

#[derive(Debug, Clone, Copy)]
struct BatchMetadata {
    first: i32,
    last: i32,
    offset: i64,
}

/// What the sequence number of a batch says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SequenceCheck {
    /// It is not stored yet.
    New,
    /// It is stored already, at this base offset.
    Duplicate(i64),
}

impl ProducerStateManager {
    /// Checks the sequence number of a batch before it is stored.
    pub(crate) fn check_sequence(&self, header: &BatchHeader) -> Result<SequenceCheck, ResponseError> {
        let Some(producer) = self.0.get(&header.producer_id).filter(|_| header.is_idempotent()) else {
            return Ok(SequenceCheck::New);
        };
        let (first, last) = (header.base_sequence, last_sequence(header));
        if header.producer_epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if header.producer_epoch > producer.epoch {
            return if first == 0 { Ok(SequenceCheck::New) } else { Err(ResponseError::OutOfOrderSequenceNumber) };
        }
        if let Some(sent) = producer.sent.iter().find(|sent| (sent.first, sent.last) == (first, last)) {
            return Ok(SequenceCheck::Duplicate(sent.offset));
        }
        match (producer.sent.front(), producer.sent.back()) {
            (_, Some(newest)) if first == after(newest.last) => Ok(SequenceCheck::New),
            (Some(oldest), _) if last < oldest.first => Err(ResponseError::DuplicateSequenceNumber),
            _ => Err(ResponseError::OutOfOrderSequenceNumber),
        }
    }

    /// Records a batch that was stored at `offset`.
    pub(crate) fn record(&mut self, header: &BatchHeader, offset: i64) {
        if !header.is_idempotent() {
            return;
        }
        let sent = BatchMetadata { first: header.base_sequence, last: last_sequence(header), offset };
        self.insert(header.producer_id, header.producer_epoch, sent);
        if self.0.len() > PRODUCERS {
            let idlest = self.0.iter().min_by_key(|(_, producer)| producer.sent.back().map(|sent| sent.offset));
            if let Some(id) = idlest.map(|(id, _)| *id) {
                self.0.remove(&id);
            }
        }
    }

    fn insert(&mut self, id: i64, epoch: i16, sent: BatchMetadata) {
        let producer = self.0.entry(id).or_insert_with(|| ProducerStateEntry { epoch, sent: VecDeque::new() });
        if producer.epoch != epoch {
            *producer = ProducerStateEntry { epoch, sent: VecDeque::new() };
        }
        producer.sent.push_back(sent);
        if producer.sent.len() > BATCHES {
            producer.sent.pop_front();
        }
    }

    /// One line for each batch kept, for the index file beside a segment.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(id, producer)| {
            let epoch = producer.epoch;
            producer.sent.iter().map(move |s| format!("producer\t{id}\t{epoch}\t{}\t{}\t{}", s.first, s.last, s.offset))
        })
    }

    /// Restores a line of [`ProducerStateManager::lines`]; `None` if it is not one.
    pub(crate) fn restore(&mut self, fields: &[&str]) -> Option<()> {
        let [id, epoch, first, last, offset] = fields else { return None };
        let sent = BatchMetadata { first: first.parse().ok()?, last: last.parse().ok()?, offset: offset.parse().ok()? };
        self.insert(id.parse().ok()?, epoch.parse().ok()?, sent);
        Some(())
    }
}

fn last_sequence(header: &BatchHeader) -> i32 {
    header.base_sequence.wrapping_add(header.last_offset_delta) & i32::MAX
}

/// Sequence numbers start again at 0 after the largest.
fn after(sequence: i32) -> i32 {
    sequence.wrapping_add(1) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::super::batch::fixtures;
    use super::*;

    fn header(records: usize, epoch: i16, sequence: i32) -> BatchHeader {
        BatchHeader::read(&fixtures::idempotent(records, 9, epoch, sequence)).unwrap()
    }

    #[test]
    fn a_duplicate_batch_is_reported_with_its_first_offset() {
        let mut producers = ProducerStateManager::default();
        for (sequence, offset) in [(0, 100), (3, 103), (6, 106)] {
            assert_eq!(producers.check_sequence(&header(3, 0, sequence)), Ok(SequenceCheck::New));
            producers.record(&header(3, 0, sequence), offset);
        }
        assert_eq!(producers.check_sequence(&header(3, 0, 3)), Ok(SequenceCheck::Duplicate(103)));
        assert_eq!(producers.check_sequence(&header(3, 0, 12)), Err(ResponseError::OutOfOrderSequenceNumber));
    }

    #[test]
    fn a_batch_older_than_those_kept_is_a_duplicate_without_an_offset() {
        let mut producers = ProducerStateManager::default();
        (0..7).for_each(|n| producers.record(&header(1, 0, n), i64::from(n)));
        assert_eq!(producers.check_sequence(&header(1, 0, 1)), Err(ResponseError::DuplicateSequenceNumber));
        assert_eq!(producers.check_sequence(&header(1, 0, 2)), Ok(SequenceCheck::Duplicate(2)));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
        let mut producers = ProducerStateManager::default();
        producers.record(&header(1, 0, 5), 5);
        assert_eq!(producers.check_sequence(&header(1, 1, 6)), Err(ResponseError::OutOfOrderSequenceNumber));
        producers.record(&header(1, 1, 0), 6);
        assert_eq!(producers.check_sequence(&header(1, 0, 6)), Err(ResponseError::InvalidProducerEpoch));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut producers = ProducerStateManager::default();
        producers.record(&header(2, 0, i32::MAX - 1), 0);
        assert_eq!(producers.check_sequence(&header(1, 0, 0)), Ok(SequenceCheck::New));
        assert_eq!(last_sequence(&header(3, 0, i32::MAX - 1)), 0);
    }

    #[test]
    fn what_was_sent_survives_being_saved() {
        let mut producers = ProducerStateManager::default();
        producers.record(&header(2, 3, 8), 40);
        let mut again = ProducerStateManager::default();
        for line in producers.lines() {
            again.restore(&line.split('\t').skip(1).collect::<Vec<_>>()).unwrap();
        }
        assert_eq!(again.check_sequence(&header(2, 3, 8)), Ok(SequenceCheck::Duplicate(40)));
        assert_eq!(again.check_sequence(&header(1, 3, 10)), Ok(SequenceCheck::New));
    }
}
