//! Messages seen of one bucket, in a file: their hashes in order.

use std::sync::Arc;

use crate::bloom_filter::BloomFilter;
use crate::error::EngineError;
use crate::spill::SpillFile;

const HASH_BYTES: usize = size_of::<u128>();

/// Hashes that one read covers.
const BLOCK: usize = 256;

/// Hashes in a file, ascending.
#[derive(Debug)]
pub(crate) struct SeenRun {
    file: Arc<dyn SpillFile>,
    at: u64,
    count: usize,
    /// The first hash of each block.
    firsts: Vec<u128>,
    filter: BloomFilter,
}

impl SeenRun {
    /// Writes `hashes`, ascending, to `file`.
    pub(crate) fn write(file: &Arc<dyn SpillFile>, hashes: &[u128]) -> Result<Self, EngineError> {
        let mut begin = None;
        for block in hashes.chunks(BLOCK) {
            let bytes: Vec<u8> = block.iter().flat_map(|hash| hash.to_le_bytes()).collect();
            let at = file.append(&bytes).map_err(EngineError::Spill)?;
            begin.get_or_insert(at);
        }
        Ok(Self {
            file: Arc::clone(file),
            at: begin.unwrap_or_default(),
            count: hashes.len(),
            firsts: hashes.chunks(BLOCK).map(|block| block[0]).collect(),
            filter: BloomFilter::of(hashes),
        })
    }

    /// Whether `hash` is one of them.
    pub(crate) fn contains(&self, hash: u128) -> Result<bool, EngineError> {
        if !self.filter.may_contain(hash) {
            return Ok(false);
        }
        let Some(block) = self.firsts.partition_point(|first| *first <= hash).checked_sub(1) else { return Ok(false) };
        let first = block * BLOCK;
        let mut bytes = vec![0; BLOCK.min(self.count - first) * HASH_BYTES];
        self.file.read_at(self.at + (first * HASH_BYTES) as u64, &mut bytes).map_err(EngineError::Spill)?;
        let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
        Ok(hashes.binary_search_by_key(&hash, |bytes| u128::from_le_bytes(*bytes)).is_ok())
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.filter.bytes() + self.firsts.capacity() * HASH_BYTES
    }
}
