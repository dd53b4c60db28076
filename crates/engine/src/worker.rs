//! Turns the batches of some partitions into partial aggregates.
//!
//! In: [`MessageBatch`]es of the partitions it owns, in offset order. Out: a [`WorkerPart`] at every cut.
//! Knows neither the other workers nor the watermark's arithmetic: [`Worker::advance`] says which windows have
//! closed. Start at [`Worker::push`].

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, RecordBatch, UInt32Array};
use arrow::compute::filter_record_batch;
use turnstile_message::{MessageBatch, OffsetRange, SourcePosition, TopicPartition, WriterSchema};
use turnstile_pipeline::LatePolicy;
use turnstile_values::human;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::EngineError;
use crate::counters::Counters;
use crate::decode::{Decoder, Reason, Rejection};
use crate::dedup::{Dedup, DedupBatch, RowHasher, SeenMessage};
use crate::groups::{Layer, WindowGroups};
use crate::plan::{AggregateInputs, DedupPlan, StreamPlan};

/// Which windows are closed for good: those that end at or before `closed_until_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frontier {
    /// Windows that end at or before this instant, microseconds, take no more rows.
    pub closed_until_us: i64,
    /// Windows that end at or before this one, which lies later, were published: rows correct them.
    pub published_until_us: i64,
}

impl Frontier {
    /// Nothing is closed.
    pub const OPEN: Self = Self { closed_until_us: i64::MIN, published_until_us: i64::MIN };
}

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

/// What a worker knows of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionPart {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset after the last message read.
    pub next_offset: i64,
    /// The latest event time seen, microseconds since the epoch.
    pub max_event_us: Option<i64>,
    /// A hash of the last message read: detects a recreated topic.
    pub fingerprint: u64,
}

/// What a worker hands over at a cut: everything since the last one.
#[derive(Debug, Default)]
pub struct WorkerPart {
    pub(crate) windows: Vec<(i64, WindowPart)>,
    pub(crate) partitions: Vec<PartitionPart>,
    pub(crate) counters: Counters,
    pub(crate) dead_letters: Vec<DeadLetter>,
    pub(crate) seen: Vec<SeenMessage>,
}

#[derive(Debug)]
pub(crate) struct WindowPart {
    pub(crate) layer: Layer,
    pub(crate) sources: Vec<OffsetRange>,
    pub(crate) messages: u64,
}

struct WindowDelta {
    groups: WindowGroups,
    sources: Vec<OffsetRange>,
    messages: u64,
}

/// Owns some partitions: decodes, removes duplicates, assigns windows, aggregates.
pub struct Worker {
    plan: Arc<StreamPlan>,
    decoder: Decoder,
    dedup: Option<Arc<Dedup>>,
    /// The current batch's messages on their way into dedup, reused.
    dedup_batch: Option<DedupBatch>,
    frontier: Frontier,
    windows: BTreeMap<i64, WindowDelta>,
    partitions: BTreeMap<TopicPartition, PartitionPart>,
    counters: Counters,
    dead_letters: Vec<DeadLetter>,
    dead_letter_bytes: usize,
    seen: Vec<SeenMessage>,
}

/// Offsets take 48 bits of a reading's source order, the partition the rest.
const OFFSET_BITS: u32 = 48;

impl Worker {
    pub(crate) fn new(plan: Arc<StreamPlan>, dedup: Option<Arc<Dedup>>, frontier: Frontier) -> Self {
        Self {
            decoder: Decoder::new(Arc::clone(&plan.decode)),
            plan,
            dedup_batch: dedup.as_ref().map(|dedup| dedup.batch()),
            dedup,
            frontier,
            windows: BTreeMap::new(),
            partitions: BTreeMap::new(),
            counters: Counters::default(),
            dead_letters: Vec::new(),
            dead_letter_bytes: 0,
            seen: Vec::new(),
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
        self.track_partitions(batch, &decoded.rows, &decoded.event_us, &keep);
        self.drop_late(batch, &decoded.rows, &decoded.event_us, &mut keep);
        self.drop_duplicates(batch, &decoded.rows, &decoded.columns, &decoded.event_us, &mut keep);
        if decoded.rows.is_empty() {
            return Ok(());
        }
        let table = RecordBatch::try_new(Arc::clone(self.plan.decode.schema()), decoded.columns)?;
        let filtered = self.filter(batch, &table, &decoded.rows, &mut keep)?;
        self.drop_filtered(filtered.as_ref(), &mut keep);
        let (table, rows, event_us) = match keep.mask() {
            None => (table, decoded.rows, decoded.event_us),
            Some(mask) => select(&table, &decoded.rows, &decoded.event_us, &mask)?,
        };
        let (inputs, rows, event_us) = self.evaluate(batch, table, rows, event_us)?;
        self.counters.aggregated += rows.len() as u64;
        self.assign(batch, &inputs, &rows, &event_us)
    }

    /// The latest event time of each partition that had a message.
    pub fn event_times(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.partitions.values().filter_map(|p| Some((&p.partition, p.max_event_us?)))
    }

    /// Bytes of dead letters waiting for the next cut: a flood of them calls for an early one.
    pub fn dead_letter_bytes(&self) -> usize {
        self.dead_letter_bytes
    }

    /// Approximate bytes held since the last cut.
    pub fn bytes(&self) -> usize {
        // Messages seen are held here and in the shared set.
        let seen = self.seen.capacity() * (size_of::<SeenMessage>() + 2 * size_of::<u128>());
        self.windows.values().map(|w| w.groups.bytes()).sum::<usize>() + self.dead_letter_bytes + seen
    }

    /// Records that everything before `next_offset` was read or does not exist, such as a transaction marker after the
    /// last message.
    pub fn skip_to(&mut self, partition: &TopicPartition, next_offset: i64) {
        if let Some(part) = self.partitions.get_mut(partition) {
            part.next_offset = part.next_offset.max(next_offset);
        }
    }

    /// Hands over everything since the last call. The worker continues after [`Worker::advance`].
    pub fn take(&mut self) -> Result<WorkerPart, EngineError> {
        let windows = std::mem::take(&mut self.windows)
            .into_iter()
            .map(|(start, delta)| {
                let part =
                    WindowPart { layer: delta.groups.into_layer()?, sources: delta.sources, messages: delta.messages };
                Ok((start, part))
            })
            .collect::<Result<Vec<_>, EngineError>>()?;
        self.dead_letter_bytes = 0;
        Ok(WorkerPart {
            windows,
            partitions: self.partitions.values().cloned().collect(),
            counters: std::mem::take(&mut self.counters),
            dead_letters: std::mem::take(&mut self.dead_letters),
            seen: std::mem::take(&mut self.seen),
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
                let detail = format!("the event time lies {} s ahead of the clock", (event - now_us) / 1_000_000);
                self.reject(batch, rows[at] as usize, Rejection::new(Reason::Future, None, detail));
            }
        }
    }

    fn track_partitions(&mut self, batch: &MessageBatch, rows: &[u32], event_us: &[i64], keep: &RowMask) {
        let mut at = 0;
        for run in &batch.runs {
            let mut max_event_us = None;
            while at < rows.len() && (rows[at] as usize) < run.rows.end {
                if keep.keeps(at) {
                    max_event_us = max_event_us.max(Some(event_us[at]));
                }
                at += 1;
            }
            let last = run.rows.end - 1;
            let part = self.partitions.entry(run.partition.clone()).or_insert_with(|| PartitionPart {
                partition: run.partition.clone(),
                next_offset: 0,
                max_event_us: None,
                fingerprint: 0,
            });
            part.next_offset = batch.offsets[last] + 1;
            part.max_event_us = part.max_event_us.max(max_event_us);
            part.fingerprint = fingerprint(
                batch.offsets[last],
                batch.timestamps_ms[last],
                batch.keys.get(last),
                batch.values.get(last),
            );
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
                if matches!(self.plan.late, LatePolicy::DeadLetter | LatePolicy::Correct) {
                    let detail = format!("the window that ends at {} had closed", human::instant(end));
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
    ) {
        let (Some(dedup), Some(by), Some(dedup_batch)) = (&self.dedup, &self.plan.dedup, &mut self.dedup_batch) else {
            return;
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
            }
        });
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
                        self.reject(batch, *row as usize, Rejection::new(Reason::Query, None, error.strip_backtrace()));
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
                self.reject(batch, *row as usize, Rejection::new(Reason::Query, None, error.to_string()));
            }
        }
        let (table, rows, event_us) = select(&table, &rows, &event_us, &BooleanArray::from(fits))?;
        Ok((self.plan.evaluate(&table)?, rows, event_us))
    }

    /// Adds the rows to their windows.
    fn assign(
        &mut self,
        batch: &MessageBatch,
        inputs: &AggregateInputs,
        rows: &[u32],
        event_us: &[i64],
    ) -> Result<(), EngineError> {
        if rows.is_empty() {
            return Ok(());
        }
        let starts: Vec<i64> = event_us.iter().map(|event| self.plan.last_start(*event)).collect();
        if self.plan.is_tumbling() && starts.iter().all(|s| *s == starts[0]) {
            self.count_corrections(&starts);
            return self.add(batch, starts[0], inputs, rows, event_us);
        }
        let mut by_window: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (at, last) in starts.iter().enumerate() {
            let mut start = *last;
            // A row whose later windows are open may also lie in ones that have closed.
            while self.plan.end(start) > event_us[at] && self.plan.end(start) > self.frontier.closed_until_us {
                by_window.entry(start).or_default().push(at as u32);
                start -= self.plan.window.slide_us;
            }
        }
        self.count_corrections(&starts);
        for (start, picked) in by_window {
            if picked.len() == rows.len() {
                self.add(batch, start, inputs, rows, event_us)?;
                continue;
            }
            let picked_rows: Vec<u32> = picked.iter().map(|at| rows[*at as usize]).collect();
            let picked_events: Vec<i64> = picked.iter().map(|at| event_us[*at as usize]).collect();
            let inputs = inputs.take(&UInt32Array::from(picked))?;
            self.add(batch, start, &inputs, &picked_rows, &picked_events)?;
        }
        Ok(())
    }

    fn count_corrections(&mut self, starts: &[i64]) {
        let published = self.frontier.published_until_us;
        self.counters.corrections += starts.iter().filter(|s| self.plan.end(**s) <= published).count() as u64;
    }

    /// Adds rows to one window.
    fn add(
        &mut self,
        batch: &MessageBatch,
        start_us: i64,
        inputs: &AggregateInputs,
        rows: &[u32],
        event_us: &[i64],
    ) -> Result<(), EngineError> {
        let plan = Arc::clone(&self.plan);
        let delta = match self.windows.entry(start_us) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(WindowDelta { groups: WindowGroups::new(&plan)?, sources: Vec::new(), messages: 0 })
            }
        };
        delta.messages += rows.len() as u64;
        let mut at = 0;
        let mut partition_of = Vec::new();
        for run in &batch.runs {
            let until = at + rows[at..].partition_point(|row| (*row as usize) < run.rows.end);
            if until == at {
                continue;
            }
            let range = OffsetRange {
                partition: run.partition.clone(),
                first: batch.offsets[rows[at] as usize],
                last: batch.offsets[rows[until - 1] as usize],
                messages: (until - at) as u64,
            };
            add_range(&mut delta.sources, range);
            if !plan.registers.is_empty() {
                partition_of.resize(until, i64::from(run.partition.partition) << OFFSET_BITS);
            }
            at = until;
        }
        delta.groups.update(inputs, event_us, |at| partition_of[at] | batch.offsets[rows[at] as usize])
    }

    #[cold]
    fn reject(&mut self, batch: &MessageBatch, row: usize, rejection: Rejection) {
        let letter = DeadLetter {
            position: batch.position(row),
            timestamp_ms: batch.timestamps_ms[row],
            rejection,
            key: batch.keys.get(row).map(<[u8]>::to_vec),
            value: batch.values.get(row).map(<[u8]>::to_vec),
        };
        self.dead_letter_bytes +=
            128 + letter.value.as_ref().map_or(0, Vec::len) + letter.key.as_ref().map_or(0, Vec::len);
        self.dead_letters.push(letter);
    }
}

/// The rows that `mask` keeps.
fn select(
    table: &RecordBatch,
    rows: &[u32],
    event_us: &[i64],
    mask: &BooleanArray,
) -> Result<(RecordBatch, Vec<u32>, Vec<i64>), EngineError> {
    let kept = || (0..mask.len()).filter(|at| mask.value(*at));
    let (rows, event_us) = (kept().map(|at| rows[at]).collect(), kept().map(|at| event_us[at]).collect());
    Ok((filter_record_batch(table, mask)?, rows, event_us))
}

/// Adds `range` to the ranges of a window, one per partition.
pub(crate) fn add_range(ranges: &mut Vec<OffsetRange>, range: OffsetRange) {
    match ranges.iter_mut().find(|known| known.partition == range.partition) {
        Some(known) => {
            known.first = known.first.min(range.first);
            known.last = known.last.max(range.last);
            known.messages += range.messages;
        }
        None => ranges.push(range),
    }
}

/// A hash of one message, by which a recreated topic is detected.
pub fn fingerprint(offset: i64, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&offset.to_le_bytes());
    hash.update(&timestamp_ms.to_le_bytes());
    for bytes in [key, value] {
        hash.update(&bytes.map_or(u64::MAX, |b| b.len() as u64).to_le_bytes());
        hash.update(bytes.unwrap_or_default());
    }
    hash.digest()
}

/// Which rows of a batch are kept; allocates nothing as long as all are.
struct RowMask {
    rows: usize,
    flags: Vec<bool>,
}

impl RowMask {
    fn new(rows: usize) -> Self {
        Self { rows, flags: Vec::new() }
    }

    #[inline]
    fn keeps(&self, at: usize) -> bool {
        self.flags.is_empty() || self.flags[at]
    }

    fn drop(&mut self, at: usize) {
        if self.flags.is_empty() {
            self.flags.resize(self.rows, true);
        }
        self.flags[at] = false;
    }

    /// The flags, or `None` when every row is kept.
    fn mask(self) -> Option<BooleanArray> {
        (!self.flags.is_empty()).then(|| BooleanArray::from(self.flags))
    }
}
