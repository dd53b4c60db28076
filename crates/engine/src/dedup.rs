//! Remembers which messages were seen, as long as their windows can still take rows.
//!
//! A message is known by the 128-bit xxh3 hash of its dedup columns: at a billion live messages the chance
//! that any two differ and hash alike is below 2e-21, so a row is never dropped for another's sake.
//! Keys live in buckets of event time; a bucket is dropped whole once the watermark has passed it.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use hashbrown::HashSet;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128;

use crate::plan::{DedupPlan, Plan};

/// One remembered message: its event-time bucket and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
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

type Shard = BTreeMap<i64, HashSet<u128, BuildHasherDefault<Folded>>>;

/// The keys are hashes already; half of one is as good as any hash of it.
#[derive(Debug, Default)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
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

impl Dedup {
    pub(crate) fn new(plan: &Plan, shards: usize) -> Self {
        let same_time = matches!(plan.dedup, Some(DedupPlan::Columns { same_time: true, .. }) | Some(DedupPlan::Value));
        // A look-up that must try every live bucket tries at most a handful.
        let bucket_us = plan.window.slide_us.max((plan.window.size_us + plan.watermark_us) / 4).max(1);
        Self { shards: (0..shards.max(1)).map(|_| Mutex::default()).collect(), bucket_us, same_time }
    }

    /// Remembers a message; `None` when it was seen before.
    #[inline]
    pub(crate) fn insert(&self, hash: u128, event_us: i64) -> Option<Seen> {
        let bucket_us = event_us.div_euclid(self.bucket_us) * self.bucket_us;
        let mut shard = self.shards[(hash >> 64) as usize % self.shards.len()].lock();
        if !self.same_time && shard.iter().any(|(at, set)| *at != bucket_us && set.contains(&hash)) {
            return None;
        }
        let set = match shard.get_mut(&bucket_us) {
            Some(set) => set,
            None => {
                // Neighbouring buckets are about as full: room for as many at once spares the growth.
                let expected = shard.values().next_back().map_or(0, HashSet::len);
                shard
                    .entry(bucket_us)
                    .or_insert_with(|| HashSet::with_capacity_and_hasher(expected, Default::default()))
            }
        };
        set.insert(hash).then_some(Seen { bucket_us, hash })
    }

    /// Takes back what was persisted.
    pub(crate) fn restore(&self, seen: Seen) {
        let mut shard = self.shards[(seen.hash >> 64) as usize % self.shards.len()].lock();
        shard.entry(seen.bucket_us).or_default().insert(seen.hash);
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

    /// When everything remembered in the bucket at `bucket_us` is forgotten: an instant for [`Dedup::expire`].
    pub(crate) fn bucket_end(&self, bucket_us: i64) -> i64 {
        bucket_us + self.bucket_us
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        let entry = size_of::<u128>() + 1;
        self.shards.iter().map(|s| s.lock().values().map(|set| set.capacity() * entry).sum::<usize>()).sum()
    }
}

/// The hash of each row's dedup columns.
pub(crate) struct RowHasher<'a> {
    columns: Vec<&'a ArrayRef>,
    scratch: Vec<u8>,
}

impl<'a> RowHasher<'a> {
    pub(crate) fn new(columns: impl Iterator<Item = &'a ArrayRef>) -> Self {
        Self { columns: columns.collect(), scratch: Vec::with_capacity(128) }
    }

    /// Lengths stand before text, so `("ab", "c")` and `("a", "bc")` differ.
    #[inline]
    pub(crate) fn hash(&mut self, row: usize) -> u128 {
        self.scratch.clear();
        for column in &self.columns {
            // A tag keeps a null apart from every value.
            self.scratch.push(u8::from(column.is_valid(row)));
            if column.is_null(row) {
                continue;
            }
            match column.data_type() {
                DataType::Utf8View => {
                    let text = column.as_string_view().value(row);
                    self.scratch.extend_from_slice(&(text.len() as u32).to_le_bytes());
                    self.scratch.extend_from_slice(text.as_bytes());
                }
                DataType::Int32 => {
                    self.scratch.extend_from_slice(&column.as_primitive::<Int32Type>().value(row).to_le_bytes());
                }
                DataType::Int64 => {
                    self.scratch.extend_from_slice(&column.as_primitive::<Int64Type>().value(row).to_le_bytes());
                }
                DataType::Float64 => {
                    self.scratch.extend_from_slice(&column.as_primitive::<Float64Type>().value(row).to_le_bytes());
                }
                DataType::Boolean => self.scratch.push(u8::from(column.as_boolean().value(row))),
                _ => {
                    let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
                    self.scratch.extend_from_slice(&micros.to_le_bytes());
                }
            }
        }
        xxh3_128(&self.scratch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringViewArray};

    use super::*;

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
