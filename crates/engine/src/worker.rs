//! Turns the batches of some partitions into partial aggregates.
//!
//! In: [`MessageBatch`]es of the partitions it owns, in offset order. Out: a [`WorkerPart`] at every cut.
//! Knows neither the other workers nor the watermark's arithmetic: [`Worker::advance`] says which windows have
//! closed. Start at [`Worker::push`].

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, RecordBatch};
use turnstile_message::{Counters, MessageBatch, TopicPartition, WriterSchema};
use turnstile_pipeline::LatePolicy;
use turnstile_values::human;
use xxhash_rust::xxh3::xxh3_128;

use crate::aggregates::AggregateInputs;
use crate::dead_letter::DeadLetters;
use crate::decode::{Decoder, Reason, Rejection};
use crate::dedup::{Dedup, DedupBatch, RowHasher, SeenMessage};
use crate::error::{EngineError, query_reason};
use crate::excluded_rows::{ExcludedRows, Exclusion};
use crate::frontier::Frontier;
use crate::message_order::message_order;
use crate::part::{PartitionPart, WorkerPart};
use crate::partition_parts::PartitionParts;
use crate::row_mask::{RowMask, select};
use crate::stream_plan::{DedupPlan, StreamPlan};
use crate::window_deltas::WindowDeltas;

/// The finest step between two zones.
const HALF_HOUR_SECS: i64 = 1_800;

/// Owns some partitions: decodes, removes duplicates, assigns windows, aggregates.
pub struct Worker {
    plan: Arc<StreamPlan>,
    decoder: Decoder,
    dedup: Option<Arc<Dedup>>,
    /// The current batch's messages on their way into dedup, reused.
    dedup_batch: Option<DedupBatch>,
    frontier: Frontier,
    windows: WindowDeltas,
    partitions: PartitionParts,
    counters: Counters,
    dead_letters: DeadLetters,
    seen: Vec<SeenMessage>,
    excluded: ExcludedRows,
}

impl Worker {
    pub(crate) fn new(plan: Arc<StreamPlan>, dedup: Option<Arc<Dedup>>, frontier: Frontier) -> Self {
        Self {
            decoder: Decoder::new(Arc::clone(&plan.decode)),
            windows: WindowDeltas::new(Arc::clone(&plan)),
            plan,
            dedup_batch: dedup.as_ref().map(|dedup| dedup.batch()),
            dedup,
            frontier,
            partitions: PartitionParts::default(),
            counters: Counters::default(),
            dead_letters: DeadLetters::default(),
            seen: Vec::new(),
            excluded: ExcludedRows::default(),
        }
    }

    /// The ids of the schemas that `batch` refers to and this worker does not know. Each has to be registered before
    /// the batch is pushed. To be called once per batch.
    pub fn missing_schemas(&mut self, batch: &MessageBatch) -> Vec<u32> {
        self.decoder.missing_schemas(batch)
    }

    /// Registers schema `id`. `None`: the schema registry does not know it, so its messages in this batch are dead letters.
    pub fn register_schema(&mut self, id: u32, schema: Option<&WriterSchema>) {
        self.decoder.register_schema(id, schema);
    }

    /// Takes the messages of `batch`. `now_us` is the wall clock, microseconds since the epoch: messages
    /// further ahead of it than the pipeline allows are rejected. Without it, none are.
    ///
    /// # Errors
    /// [`EngineError::SchemaNotRegistered`] before any of the batch is processed; see [`Worker::missing_schemas`].
    /// Any other when an aggregate fails. A row that an expression fails on is a dead letter instead.
    /// The worker must not be used afterwards.
    pub fn push(&mut self, batch: &MessageBatch, now_us: Option<i64>) -> Result<(), EngineError> {
        if let Some(id) = self.decoder.first_unregistered(batch) {
            return Err(EngineError::SchemaNotRegistered { id });
        }
        self.counters.read += batch.len() as u64;
        let decoded = self.decoder.decode(batch);
        self.counters.tombstones += decoded.tombstones;
        self.counters.ambiguous_times += decoded.odd_times.0;
        self.counters.nonexistent_times += decoded.odd_times.1;
        for (row, rejection) in decoded.rejected {
            self.counters.dead_lettered += 1;
            self.reject(batch, row as usize, rejection);
        }
        let mut keep = RowMask::new(decoded.rows.len());
        self.reject_future(batch, &decoded.rows, &decoded.event_us, now_us, &mut keep);
        self.partitions.track(batch, &decoded.rows, &decoded.event_us, &keep);
        self.drop_late(batch, &decoded.rows, &decoded.event_us, &mut keep);
        self.drop_duplicates(batch, &decoded.rows, &decoded.columns, &decoded.event_us, &mut keep)?;
        if decoded.rows.is_empty() {
            return Ok(());
        }
        let mut columns = decoded.columns;
        if self.plan.is_ordered {
            columns.extend(message_order(batch, &decoded.rows));
        }
        let table = RecordBatch::try_new(Arc::clone(&self.plan.table), columns)?;
        let filtered = self.filter(batch, &table, &decoded.rows, &mut keep)?;
        self.drop_filtered(filtered.as_ref(), &mut keep);
        let (table, rows, event_us) = match keep.mask() {
            None => (table, decoded.rows, decoded.event_us),
            Some(mask) => select(&table, &decoded.rows, &decoded.event_us, &mask)?,
        };
        let (inputs, rows, event_us) = self.evaluate(batch, table, rows, event_us)?;
        self.counters.aggregated += rows.len() as u64;
        self.counters.corrections += self.windows.add_rows(batch, &inputs, &rows, &event_us, self.frontier)?;
        Ok(())
    }

    /// Each partition that was read.
    pub fn partitions(&self) -> impl Iterator<Item = &PartitionPart> {
        self.partitions.iter()
    }

    /// Bytes of dead letters waiting for the next cut: a flood of them calls for an early one.
    pub fn dead_letter_bytes(&self) -> usize {
        self.dead_letters.bytes()
    }

    /// Windows with late rows or duplicates that wait for the next cut: very many of them call for an early one.
    pub fn excluded_windows(&self) -> usize {
        self.excluded.len()
    }

    /// Approximate bytes held since the last cut.
    pub fn bytes(&self) -> usize {
        // Messages seen are held here and in the shared set.
        let seen = self.seen.capacity() * (size_of::<SeenMessage>() + 2 * size_of::<u128>());
        self.windows.bytes() + self.dead_letters.bytes() + seen
    }

    /// Records that everything before `next_offset` was read or does not exist, such as a transaction marker after the
    /// last message.
    pub fn skip_to(&mut self, partition: &TopicPartition, next_offset: i64) {
        self.partitions.skip_to(partition, next_offset);
    }

    /// Hands over everything since the last call. The worker continues after [`Worker::advance`].
    pub fn take(&mut self) -> Result<WorkerPart, EngineError> {
        Ok(WorkerPart {
            windows: self.windows.take()?,
            partitions: self.partitions.to_vec(),
            counters: std::mem::take(&mut self.counters),
            dead_letters: self.dead_letters.take(),
            seen: std::mem::take(&mut self.seen),
            excluded: std::mem::take(&mut self.excluded),
        })
    }

    /// Sets which windows are closed.
    pub fn advance(&mut self, frontier: Frontier) {
        self.frontier = frontier;
    }

    fn reject_future(
        &mut self,
        batch: &MessageBatch,
        rows: &[u32],
        event_us: &[i64],
        now_us: Option<i64>,
        keep: &mut RowMask,
    ) {
        let (Some(now_us), Some(future_us)) = (now_us, self.plan.future_us) else { return };
        let limit = now_us.saturating_add(future_us);
        if event_us.iter().all(|event| *event <= limit) {
            return;
        }
        for (at, event) in event_us.iter().enumerate() {
            if *event > limit {
                keep.drop(at);
                self.counters.dead_lettered += 1;
                let detail = ahead_of_the_clock((event - now_us) / 1_000_000);
                self.reject(batch, rows[at] as usize, Rejection::new(Reason::Future, None, detail));
            }
        }
    }

    fn drop_late(&mut self, batch: &MessageBatch, rows: &[u32], event_us: &[i64], keep: &mut RowMask) {
        let closed = self.frontier.closed_until_us;
        if closed == i64::MIN {
            return;
        }
        for (at, event) in event_us.iter().enumerate() {
            let end = self.plan.end(self.plan.last_start(*event));
            if end <= closed && keep.keeps(at) {
                keep.drop(at);
                self.counters.late += 1;
                self.excluded.count(&self.plan, *event, Exclusion::Late);
                if matches!(self.plan.late, LatePolicy::DeadLetter | LatePolicy::Correct) {
                    let detail = format!("the window that ends at {} was already closed", human::instant(end));
                    self.reject(batch, rows[at] as usize, Rejection::new(Reason::Late, None, detail));
                }
            }
        }
    }

    fn drop_duplicates(
        &mut self,
        batch: &MessageBatch,
        rows: &[u32],
        columns: &[ArrayRef],
        event_us: &[i64],
        keep: &mut RowMask,
    ) -> Result<(), EngineError> {
        let (Some(dedup), Some(by), Some(dedup_batch)) = (&self.dedup, &self.plan.dedup, &mut self.dedup_batch) else {
            return Ok(());
        };
        let mut hasher = match by {
            DedupPlan::Columns { columns: by, .. } => Some(RowHasher::new(by.iter().map(|at| &columns[*at]))),
            DedupPlan::Value => None,
        };
        for (at, row) in rows.iter().enumerate() {
            if !keep.keeps(at) {
                continue;
            }
            let hash = match &mut hasher {
                Some(hasher) => hasher.hash(at),
                None => xxh3_128(batch.values.get(*row as usize).unwrap_or_default()),
            };
            dedup_batch.push(at as u32, hash, event_us[at]);
        }
        dedup.insert(dedup_batch, |at, new| match new {
            Some(new) => self.seen.push(new),
            None => {
                keep.drop(at as usize);
                self.counters.duplicate += 1;
                self.excluded.count(&self.plan, event_us[at as usize], Exclusion::Duplicate);
            }
        })
    }

    /// The result of WHERE for every row. A row on which it fails becomes a dead letter.
    fn filter(
        &mut self,
        batch: &MessageBatch,
        table: &RecordBatch,
        rows: &[u32],
        keep: &mut RowMask,
    ) -> Result<Option<ArrayRef>, EngineError> {
        let plan = Arc::clone(&self.plan);
        let Some(filter) = &plan.filter else { return Ok(None) };
        let verdict = |table: &RecordBatch| filter.evaluate(table)?.into_array(table.num_rows());
        if let Ok(verdicts) = verdict(table) {
            return Ok(Some(verdicts));
        }
        let mut verdicts = BooleanBuilder::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            match verdict(&table.slice(at, 1)) {
                Ok(one) => verdicts.append_option(one.is_valid(0).then(|| one.as_boolean().value(0))),
                Err(error) => {
                    verdicts.append_null();
                    if keep.keeps(at) {
                        keep.drop(at);
                        self.counters.dead_lettered += 1;
                        self.reject(batch, *row as usize, Rejection::new(Reason::Query, None, query_reason(&error)));
                    }
                }
            }
        }
        Ok(Some(Arc::new(verdicts.finish())))
    }

    fn drop_filtered(&mut self, verdicts: Option<&ArrayRef>, keep: &mut RowMask) {
        let Some(verdicts) = verdicts else { return };
        let verdicts = verdicts.as_boolean();
        for at in 0..verdicts.len() {
            // SQL's WHERE keeps what is true; null is not.
            if !(verdicts.is_valid(at) && verdicts.value(at)) && keep.keeps(at) {
                keep.drop(at);
                self.counters.filtered += 1;
            }
        }
    }

    /// Evaluates the inputs of aggregation. Rows on which an expression fails become dead letters.
    fn evaluate(
        &mut self,
        batch: &MessageBatch,
        table: RecordBatch,
        rows: Vec<u32>,
        event_us: Vec<i64>,
    ) -> Result<(AggregateInputs, Vec<u32>, Vec<i64>), EngineError> {
        if let Ok(inputs) = self.plan.evaluate(&table) {
            return Ok((inputs, rows, event_us));
        }
        let mut fits = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let result = self.plan.evaluate(&table.slice(at, 1));
            fits.push(result.is_ok());
            if let Err(error) = result {
                self.counters.dead_lettered += 1;
                self.reject(batch, *row as usize, Rejection::new(Reason::Query, None, error.reason()));
            }
        }
        let (table, rows, event_us) = select(&table, &rows, &event_us, &BooleanArray::from(fits))?;
        Ok((self.plan.evaluate(&table)?, rows, event_us))
    }

    #[cold]
    fn reject(&mut self, batch: &MessageBatch, row: usize, rejection: Rejection) {
        self.dead_letters.push(batch, row, rejection);
    }
}

/// How far ahead a message is; a whole number of half hours is most often a zone that its producer did not mean.
fn ahead_of_the_clock(ahead_secs: i64) -> String {
    let mut text = format!("the event time is {ahead_secs} s ahead of the clock");
    if let Some(half_hours) = half_hours_ahead(ahead_secs) {
        let hours = half_hours as f64 / 2.0;
        let _ = write!(text, ", which is {hours} h: is the time zone of its field right?");
    }
    text
}

/// How many half hours a message is ahead, if it is ahead by a whole number of them.
pub fn half_hours_ahead(ahead_secs: i64) -> Option<i64> {
    let half_hours = (ahead_secs + HALF_HOUR_SECS / 2) / HALF_HOUR_SECS;
    // A message may have been on its way for a while.
    let is_whole = (ahead_secs - half_hours * HALF_HOUR_SECS).abs() <= 90;
    (half_hours > 0 && is_whole).then_some(half_hours)
}

#[cfg(test)]
mod tests {
    use super::ahead_of_the_clock;

    #[test]
    fn a_message_that_is_hours_ahead_asks_for_its_zone() {
        for (ahead, question) in [(17_999, Some("5 h")), (19_830, Some("5.5 h")), (301, None), (4_000, None)] {
            let text = ahead_of_the_clock(ahead);
            assert!(text.starts_with(&format!("the event time is {ahead} s ahead of the clock")), "{text}");
            let asked = text.split_once(", which is ").map(|(_, rest)| rest.split_once(':').unwrap().0);
            assert_eq!(asked, question, "{text}");
        }
    }
}
