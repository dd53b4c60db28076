//! Remembers which messages were seen, as long as their windows can still accept rows.
//!
//! A message is known by the 128-bit xxh3 hash of its dedup columns: at a billion live messages the chance
//! that two different ones have the same hash is below 2e-21, so no row is dropped by mistake.
//! Keys live in buckets of event time; a bucket is dropped whole once the watermark has passed it.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use hashbrown::HashSet;
use parking_lot::Mutex;
use turnstile_pipeline::normalized_double;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::EngineError;
use crate::seen_run::SeenRun;
use crate::stream_plan::{DedupPlan, StreamPlan};

/// A message seen: its event-time bucket and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenMessage {
    pub(crate) bucket_us: i64,
    pub(crate) hash: u128,
}

/// The messages seen, shared by all workers: a duplicate may come in any partition.
#[derive(Debug)]
pub(crate) struct Dedup {
    shards: Vec<Mutex<Shard>>,
    bucket_us: i64,
    same_time: bool,
}

type SeenSet = HashSet<u128, BuildHasherDefault<IdentityHasher>>;
type Shard = BTreeMap<i64, SeenBucket>;

/// The messages of one bucket of event time, as far as they belong to one shard.
#[derive(Debug, Default)]
struct SeenBucket {
    set: SeenSet,
    /// Parts that were moved to files; they hold hashes of other shards too.
    runs: Vec<Arc<SeenRun>>,
}

impl SeenBucket {
    fn contains(&self, hash: u128) -> Result<bool, EngineError> {
        Ok(self.set.contains(&hash) || self.is_in_runs(hash)?)
    }

    /// Adds the hash; false if it is there already.
    #[inline]
    fn insert(&mut self, hash: u128) -> Result<bool, EngineError> {
        if !self.runs.is_empty() && !self.set.contains(&hash) && self.is_in_runs(hash)? {
            return Ok(false);
        }
        Ok(self.set.insert(hash))
    }

    fn is_in_runs(&self, hash: u128) -> Result<bool, EngineError> {
        for run in &self.runs {
            if run.contains(hash)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The keys are already hashes; half of one is as good as any hash of it.
#[derive(Debug, Default)]
pub(crate) struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

/// Messages of a batch on their way into the shards.
#[derive(Debug)]
pub(crate) struct DedupBatch {
    shards: Vec<Vec<DedupKey>>,
}

#[derive(Debug)]
struct DedupKey {
    hash: u128,
    event_us: i64,
    row: u32,
}

impl DedupBatch {
    /// Adds the message of a row.
    #[inline]
    pub(crate) fn push(&mut self, row: u32, hash: u128, event_us: i64) {
        let at = shard_of(hash, self.shards.len());
        self.shards[at].push(DedupKey { hash, event_us, row });
    }
}

/// The sets hash by the lower half, so the upper one chooses the shard.
#[inline]
fn shard_of(hash: u128, shards: usize) -> usize {
    (((hash >> 64) * shards as u128) >> 64) as usize
}

fn bucket_at(shard: &mut Shard, bucket_us: i64) -> &mut SeenBucket {
    // Neighbouring buckets are about as full: room for as many at once spares the growth.
    let is_known = shard.contains_key(&bucket_us);
    let expected = if is_known { 0 } else { shard.values().next_back().map_or(0, |bucket| bucket.set.len()) };
    shard.entry(bucket_us).or_insert_with(|| SeenBucket {
        set: HashSet::with_capacity_and_hasher(expected, Default::default()),
        runs: Vec::new(),
    })
}

impl Dedup {
    pub(crate) fn new(plan: &StreamPlan, shards: usize) -> Self {
        let same_time = matches!(plan.dedup, Some(DedupPlan::Columns { same_time: true, .. }) | Some(DedupPlan::Value));
        // A lookup that has to try every live bucket tries only a handful.
        let bucket_us = plan.window.slide_us.max((plan.window.size_us + plan.watermark_us) / 4).max(1);
        Self { shards: (0..shards.max(1)).map(|_| Mutex::default()).collect(), bucket_us, same_time }
    }

    /// An empty batch, to be reused.
    pub(crate) fn batch(&self) -> DedupBatch {
        DedupBatch { shards: self.shards.iter().map(|_| Vec::new()).collect() }
    }

    /// Remembers the messages of `batch` and empties it. Calls `report` for each with its row, and with `None` when it was
    /// seen before. Messages with equal hashes are reported in their order.
    ///
    /// # Errors
    /// [`EngineError::Spill`]: a file with messages seen cannot be read; the batch was reported in part.
    pub(crate) fn insert(
        &self,
        batch: &mut DedupBatch,
        mut report: impl FnMut(u32, Option<SeenMessage>),
    ) -> Result<(), EngineError> {
        // One lock per shard and one lookup per run of messages of a bucket, rather than both for every message.
        for (shard, keys) in self.shards.iter().zip(&mut batch.shards) {
            if keys.is_empty() {
                continue;
            }
            let shard = &mut *shard.lock();
            let mut rest = keys.as_slice();
            while let Some(first) = rest.first() {
                let bucket_us = first.event_us.div_euclid(self.bucket_us) * self.bucket_us;
                let bucket = bucket_us..bucket_us + self.bucket_us;
                let run = rest.iter().take_while(|key| bucket.contains(&key.event_us)).count();
                let (now, later) = rest.split_at(run);
                rest = later;
                if self.same_time {
                    let bucket = bucket_at(shard, bucket_us);
                    for DedupKey { row, hash, .. } in now {
                        report(*row, bucket.insert(*hash)?.then_some(SeenMessage { bucket_us, hash: *hash }));
                    }
                    continue;
                }
                for DedupKey { row, hash, .. } in now {
                    let mut elsewhere = false;
                    for (_, bucket) in shard.iter().filter(|(at, _)| **at != bucket_us) {
                        elsewhere = elsewhere || bucket.contains(*hash)?;
                    }
                    let new = !elsewhere && bucket_at(shard, bucket_us).insert(*hash)?;
                    report(*row, new.then_some(SeenMessage { bucket_us, hash: *hash }));
                }
            }
            keys.clear();
        }
        Ok(())
    }

    /// Looks for `hashes` of a bucket, ascending, in `run` from now on, which holds them, instead of in memory.
    pub(crate) fn move_to_run(&self, bucket_us: i64, hashes: &[u128], run: &Arc<SeenRun>) {
        for (at, shard) in self.shards.iter().enumerate() {
            // The hashes of a shard lie together.
            let begin = hashes.partition_point(|hash| shard_of(*hash, self.shards.len()) < at);
            let end = hashes.partition_point(|hash| shard_of(*hash, self.shards.len()) <= at);
            let moved = &hashes[begin..end];
            let mut shard = shard.lock();
            let bucket = shard.entry(bucket_us).or_default();
            bucket.runs.push(Arc::clone(run));
            bucket.set.retain(|hash| moved.binary_search(hash).is_err());
            bucket.set.shrink_to_fit();
        }
    }

    /// Restores a message from persisted state.
    pub(crate) fn restore(&self, seen: SeenMessage) {
        let mut shard = self.shards[shard_of(seen.hash, self.shards.len())].lock();
        shard.entry(seen.bucket_us).or_default().set.insert(seen.hash);
    }

    /// Forgets messages whose event time lies before `before_us`, a bucket at a time.
    pub(crate) fn expire(&self, before_us: i64) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            while let Some(oldest) = shard.first_entry() {
                if oldest.key() + self.bucket_us > before_us {
                    break;
                }
                oldest.remove();
            }
        }
    }

    /// The instant for [`Dedup::expire`] at which the bucket at `bucket_us` is dropped.
    pub(crate) fn bucket_end(&self, bucket_us: i64) -> i64 {
        bucket_us + self.bucket_us
    }

    /// Approximate bytes held, without those of runs.
    pub(crate) fn bytes(&self) -> usize {
        let entry = size_of::<u128>() + 1;
        self.shards.iter().map(|s| s.lock().values().map(|bucket| bucket.set.capacity() * entry).sum::<usize>()).sum()
    }
}

/// The hash of each row's dedup columns.
pub(crate) struct RowHasher<'a> {
    columns: Vec<Cells<'a>>,
    scratch: Vec<u8>,
}

/// A column by its type, which is resolved once per batch and not per row.
enum Cells<'a> {
    Text(&'a StringViewArray),
    Int(&'a Int32Array),
    Long(&'a Int64Array),
    Double(&'a Float64Array),
    Boolean(&'a BooleanArray),
    Micros(&'a TimestampMicrosecondArray),
    Decimal(&'a Decimal128Array),
}

impl<'a> Cells<'a> {
    fn of(column: &'a ArrayRef) -> Self {
        match column.data_type() {
            DataType::Utf8View => Self::Text(column.as_string_view()),
            DataType::Int32 => Self::Int(column.as_primitive()),
            DataType::Int64 => Self::Long(column.as_primitive()),
            DataType::Float64 => Self::Double(column.as_primitive()),
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            DataType::Decimal128(..) => Self::Decimal(column.as_primitive()),
            DataType::Timestamp(..) => Self::Micros(column.as_primitive()),
            other => unreachable!("no field is decoded to {other}"),
        }
    }

    /// Text is preceded by its length, so `("ab", "c")` and `("a", "bc")` differ; a tag keeps a null apart from every value.
    #[inline]
    fn add(&self, row: usize, out: &mut Vec<u8>) {
        fn tagged<const N: usize>(valid: bool, bytes: [u8; N], out: &mut Vec<u8>) {
            out.push(u8::from(valid));
            if valid {
                out.extend_from_slice(&bytes);
            }
        }
        match self {
            Self::Text(column) => {
                let valid = column.is_valid(row);
                out.push(u8::from(valid));
                if valid {
                    let text = column.value(row);
                    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                    out.extend_from_slice(text.as_bytes());
                }
            }
            Self::Int(column) => tagged(column.is_valid(row), column.value(row).to_le_bytes(), out),
            Self::Long(column) => tagged(column.is_valid(row), column.value(row).to_le_bytes(), out),
            Self::Double(column) => {
                tagged(column.is_valid(row), normalized_double(column.value(row)).to_le_bytes(), out)
            }
            Self::Boolean(column) => tagged(column.is_valid(row), [u8::from(column.value(row))], out),
            Self::Decimal(column) => tagged(column.is_valid(row), column.value(row).to_le_bytes(), out),
            Self::Micros(column) => tagged(column.is_valid(row), column.value(row).to_le_bytes(), out),
        }
    }
}

impl<'a> RowHasher<'a> {
    pub(crate) fn new(columns: impl Iterator<Item = &'a ArrayRef>) -> Self {
        Self { columns: columns.map(Cells::of).collect(), scratch: Vec::with_capacity(128) }
    }

    #[inline]
    pub(crate) fn hash(&mut self, row: usize) -> u128 {
        self.scratch.clear();
        for column in &self.columns {
            column.add(row, &mut self.scratch);
        }
        xxh3_128(&self.scratch)
    }
}

#[cfg(test)]
mod tests {
    use turnstile_pipeline::FieldKind;

    use super::*;

    #[test]
    fn the_hash_of_a_row_is_stable_because_ledgers_hold_it() {
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("ab"), None]));
        let int: ArrayRef = Arc::new(Int32Array::from(vec![7, 8]));
        let flag: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
        let mut hasher = RowHasher::new([&text, &int, &flag].into_iter());
        assert_eq!(hasher.hash(0), xxh3_128(&[1, 2, 0, 0, 0, b'a', b'b', 1, 7, 0, 0, 0, 1, 1]));
        assert_eq!(hasher.hash(1), xxh3_128(&[0, 1, 8, 0, 0, 0, 1, 0]));
    }

    #[test]
    fn a_field_of_any_type_can_make_messages_unique() {
        let zone = chrono_tz::Tz::UTC;
        let format = Default::default();
        let kinds = [
            FieldKind::String,
            FieldKind::Int,
            FieldKind::Long,
            FieldKind::Double,
            FieldKind::Decimal { precision: 5, scale: 2 },
            FieldKind::Boolean,
            FieldKind::Timestamp { format, zone },
        ];
        for kind in kinds {
            let column = arrow::array::new_null_array(&kind.arrow_type(), 2);
            let mut hasher = RowHasher::new([&column].into_iter());
            assert_eq!(hasher.hash(0), hasher.hash(1), "{kind:?}");
        }
    }

    #[test]
    fn nulls_and_neighbouring_texts_hash_apart() {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(-1), Some(0), Some(0)]));
        let first: ArrayRef = Arc::new(StringViewArray::from(vec!["x", "x", "ab", "a"]));
        let second: ArrayRef = Arc::new(StringViewArray::from(vec!["", "", "c", "bc"]));
        let mut hasher = RowHasher::new([&first, &second, &numbers].into_iter());
        let hashes: std::collections::BTreeSet<u128> = (0..4).map(|row| hasher.hash(row)).collect();
        assert_eq!(hashes.len(), 4);
    }
}
