//! A hash of one message.

use xxhash_rust::xxh3::Xxh3;

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
