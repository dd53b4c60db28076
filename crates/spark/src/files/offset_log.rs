//! The checkpoint's log of offsets: where each batch ends.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{UnknownFormat, lines};

const WHAT: &str = "a batch's offsets in the checkpoint";

/// Offsets by topic and partition.
pub type PartitionOffsets = BTreeMap<String, BTreeMap<i32, i64>>;

/// Where a batch ends, and which watermark it had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchOffsets {
    /// The offset after the last message of each partition.
    pub next: PartitionOffsets,
    /// Windows that end up to here are complete with this batch, milliseconds since the epoch; 0: no message was seen before.
    pub watermark_ms: i64,
    /// The clock of the batch, milliseconds since the epoch: what `current_timestamp()` is in it.
    pub clock_ms: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    batch_watermark_ms: i64,
    batch_timestamp_ms: i64,
}

/// The path of a batch's offsets, below the checkpoint's folder.
pub fn offsets_path(batch: u64) -> String {
    format!("offsets/{batch}")
}

impl BatchOffsets {
    /// Reads a file of the log; the query has one source, Kafka.
    ///
    /// # Errors
    /// It is not what Spark 4 writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, UnknownFormat> {
        let mut lines = lines(WHAT, bytes)?;
        let (Some(metadata), Some(offsets), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(UnknownFormat::new(WHAT, "it does not have one line of metadata and one of offsets"));
        };
        let unknown = |error: serde_json::Error| UnknownFormat::new(WHAT, error);
        let metadata: Metadata = serde_json::from_str(metadata).map_err(unknown)?;
        let next = serde_json::from_str(offsets).map_err(unknown)?;
        Ok(Self { next, watermark_ms: metadata.batch_watermark_ms, clock_ms: metadata.batch_timestamp_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_offsets_and_a_watermark() {
        let text =
            "v1\n{\"batchWatermarkMs\":1793491200000,\"batchTimestampMs\":5,\"conf\":{}}\n{\"t\":{\"0\":7,\"10\":8}}";
        let read = BatchOffsets::parse(text.as_bytes()).unwrap();
        assert_eq!((read.watermark_ms, read.clock_ms), (1_793_491_200_000, 5));
        assert_eq!(read.next["t"], BTreeMap::from([(0, 7), (10, 8)]));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in [
            "",
            "v2\n{}\n{}",
            "v1\n{\"batchWatermarkMs\":1}",
            "v1\n{\"batchWatermarkMs\":1}\n-",
            "v1\n{}\n{}",
            "v1\n1\n2\n3",
        ] {
            assert!(BatchOffsets::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
