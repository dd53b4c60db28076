//! What idempotent producers have sent to one partition, so that a batch sent twice is stored once.
//!
//! In: batch headers, in log order. Out: whether a batch is new, known, or out of order.
//! Source: KIP-98 and KIP-360, as `ProducerStateManager` of Apache Kafka applies them.

use std::collections::{HashMap, VecDeque};

use kafka_protocol::ResponseError;

use super::batch::BatchHeader;

/// Batches remembered a producer: a client has at most five requests under way.
const BATCHES: usize = 5;
/// Producers remembered a partition; beyond it the one that was silent longest is forgotten, and its
/// next batch is taken whatever its number.
const PRODUCERS: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Producers(HashMap<i64, Producer>);

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// Oldest first, never empty.
    sent: VecDeque<Sent>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    first: i32,
    last: i32,
    offset: i64,
}

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Store it.
    New,
    /// It is stored already, at this base offset.
    Known(i64),
}

impl Producers {
    /// Judges a batch before it is stored.
    pub(crate) fn judge(&self, header: &BatchHeader) -> Result<Verdict, ResponseError> {
        let Some(producer) = self.0.get(&header.producer_id).filter(|_| header.is_numbered()) else {
            return Ok(Verdict::New);
        };
        let (first, last) = (header.base_sequence, last_sequence(header));
        if header.producer_epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if header.producer_epoch > producer.epoch {
            return if first == 0 { Ok(Verdict::New) } else { Err(ResponseError::OutOfOrderSequenceNumber) };
        }
        if let Some(sent) = producer.sent.iter().find(|sent| (sent.first, sent.last) == (first, last)) {
            return Ok(Verdict::Known(sent.offset));
        }
        match (producer.sent.front(), producer.sent.back()) {
            (_, Some(newest)) if first == after(newest.last) => Ok(Verdict::New),
            (Some(oldest), _) if last < oldest.first => Err(ResponseError::DuplicateSequenceNumber),
            _ => Err(ResponseError::OutOfOrderSequenceNumber),
        }
    }

    /// Remembers a batch that was stored at `offset`.
    pub(crate) fn remember(&mut self, header: &BatchHeader, offset: i64) {
        if !header.is_numbered() {
            return;
        }
        let sent = Sent { first: header.base_sequence, last: last_sequence(header), offset };
        self.insert(header.producer_id, header.producer_epoch, sent);
        if self.0.len() > PRODUCERS {
            let quietest = self.0.iter().min_by_key(|(_, producer)| producer.sent.back().map(|sent| sent.offset));
            if let Some(id) = quietest.map(|(id, _)| *id) {
                self.0.remove(&id);
            }
        }
    }

    fn insert(&mut self, id: i64, epoch: i16, sent: Sent) {
        let producer = self.0.entry(id).or_insert_with(|| Producer { epoch, sent: VecDeque::new() });
        if producer.epoch != epoch {
            *producer = Producer { epoch, sent: VecDeque::new() };
        }
        producer.sent.push_back(sent);
        if producer.sent.len() > BATCHES {
            producer.sent.pop_front();
        }
    }

    /// One line for each batch remembered, for the state file beside a segment.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(id, producer)| {
            let epoch = producer.epoch;
            producer.sent.iter().map(move |s| format!("producer\t{id}\t{epoch}\t{}\t{}\t{}", s.first, s.last, s.offset))
        })
    }

    /// Takes a line of [`Producers::lines`] back in; `None` when it is none.
    pub(crate) fn restore(&mut self, fields: &[&str]) -> Option<()> {
        let [id, epoch, first, last, offset] = fields else { return None };
        let sent = Sent { first: first.parse().ok()?, last: last.parse().ok()?, offset: offset.parse().ok()? };
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
    use super::super::batch::made;
    use super::*;

    fn header(records: usize, epoch: i16, sequence: i32) -> BatchHeader {
        BatchHeader::read(&made::numbered(records, 9, epoch, sequence)).unwrap()
    }

    #[test]
    fn a_batch_sent_twice_is_known_by_its_first_offset() {
        let mut producers = Producers::default();
        for (sequence, offset) in [(0, 100), (3, 103), (6, 106)] {
            assert_eq!(producers.judge(&header(3, 0, sequence)), Ok(Verdict::New));
            producers.remember(&header(3, 0, sequence), offset);
        }
        assert_eq!(producers.judge(&header(3, 0, 3)), Ok(Verdict::Known(103)));
        assert_eq!(producers.judge(&header(3, 0, 12)), Err(ResponseError::OutOfOrderSequenceNumber));
    }

    #[test]
    fn a_batch_older_than_what_is_remembered_is_a_duplicate_without_an_offset() {
        let mut producers = Producers::default();
        (0..7).for_each(|n| producers.remember(&header(1, 0, n), i64::from(n)));
        assert_eq!(producers.judge(&header(1, 0, 1)), Err(ResponseError::DuplicateSequenceNumber));
        assert_eq!(producers.judge(&header(1, 0, 2)), Ok(Verdict::Known(2)));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
        let mut producers = Producers::default();
        producers.remember(&header(1, 0, 5), 5);
        assert_eq!(producers.judge(&header(1, 1, 6)), Err(ResponseError::OutOfOrderSequenceNumber));
        producers.remember(&header(1, 1, 0), 6);
        assert_eq!(producers.judge(&header(1, 0, 6)), Err(ResponseError::InvalidProducerEpoch));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut producers = Producers::default();
        producers.remember(&header(2, 0, i32::MAX - 1), 0);
        assert_eq!(producers.judge(&header(1, 0, 0)), Ok(Verdict::New));
        assert_eq!(last_sequence(&header(3, 0, i32::MAX - 1)), 0);
    }

    #[test]
    fn what_was_sent_survives_being_written_down() {
        let mut producers = Producers::default();
        producers.remember(&header(2, 3, 8), 40);
        let mut again = Producers::default();
        for line in producers.lines() {
            again.restore(&line.split('\t').skip(1).collect::<Vec<_>>()).unwrap();
        }
        assert_eq!(again.judge(&header(2, 3, 8)), Ok(Verdict::Known(40)));
        assert_eq!(again.judge(&header(1, 3, 10)), Ok(Verdict::New));
    }
}
