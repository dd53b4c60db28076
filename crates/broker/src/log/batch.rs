//! The header of a record batch (message format 2), read in place.
//!
//! Source: <https://kafka.apache.org/documentation/#recordbatch>.

/// Bytes before the records.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before what `batch_length` counts: base offset and the length itself.
const LENGTH_END: usize = 12;
/// The checksum covers everything from the attributes on, so base offset and leader epoch can be
/// overwritten without computing it again.
const CRC_FROM: usize = 21;

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The header as it is written. The checksum is not verified: see [`BatchHeader::is_intact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub(crate) size: usize,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: i32,
    crc: u32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; `None` if there are too few, or if they are not a
    /// batch of format 2.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let length = i32::from_be_bytes(take(bytes, 8));
        let size = usize::try_from(length).ok()? + LENGTH_END;
        let header = Self {
            base_offset: i64::from_be_bytes(take(bytes, 0)),
            size,
            attributes: i16::from_be_bytes(take(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(take(bytes, 23)),
            base_timestamp: i64::from_be_bytes(take(bytes, 27)),
            max_timestamp: i64::from_be_bytes(take(bytes, 35)),
            producer_id: i64::from_be_bytes(take(bytes, 43)),
            producer_epoch: i16::from_be_bytes(take(bytes, 51)),
            base_sequence: i32::from_be_bytes(take(bytes, 53)),
            records: i32::from_be_bytes(take(bytes, 57)),
            crc: u32::from_be_bytes(take(bytes, 17)),
        };
        (bytes[16] == 2 && size >= HEADER_BYTES && header.last_offset_delta >= 0).then_some(header)
    }

    /// Whether the checksum matches `batch`, all bytes of this header's batch.
    pub(crate) fn is_intact(&self, batch: &[u8]) -> bool {
        batch.len() == self.size && crc32c::crc32c(&batch[CRC_FROM..]) == self.crc
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    pub(crate) fn codec(&self) -> i16 {
        self.attributes & 7
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the batch comes from an idempotent producer.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }
}

/// The bytes that replace the first sixteen of `batch` when it is stored at `base_offset`:
/// base offset, length as it was, leader epoch.
pub(crate) fn head_at(batch: &[u8], base_offset: i64, leader_epoch: i32) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&base_offset.to_be_bytes());
    head[8..12].copy_from_slice(&batch[8..12]);
    head[12..].copy_from_slice(&leader_epoch.to_be_bytes());
    head
}

fn take<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Builds batches for tests: uncompressed, one record of `value` for each timestamp.
#[cfg(test)]
pub(crate) mod fixtures {
    pub(crate) struct TestBatch {
        pub(crate) timestamps: Vec<i64>,
        pub(crate) value: Vec<u8>,
        pub(crate) producer: (i64, i16, i32),
    }

    pub(crate) fn batch(records: usize) -> Vec<u8> {
        TestBatch { timestamps: vec![1_000; records], value: b"value".to_vec(), producer: (-1, -1, -1) }.bytes()
    }

    pub(crate) fn stamped(timestamps: &[i64]) -> Vec<u8> {
        TestBatch { timestamps: timestamps.to_vec(), value: b"value".to_vec(), producer: (-1, -1, -1) }.bytes()
    }

    pub(crate) fn idempotent(records: usize, id: i64, epoch: i16, sequence: i32) -> Vec<u8> {
        TestBatch { timestamps: vec![1_000; records], value: b"v".to_vec(), producer: (id, epoch, sequence) }.bytes()
    }

    impl TestBatch {
        pub(crate) fn bytes(&self) -> Vec<u8> {
            let mut records = Vec::new();
            for (delta, timestamp) in self.timestamps.iter().enumerate() {
                let mut record = vec![0];
                varint(&mut record, timestamp - self.timestamps[0]);
                varint(&mut record, delta as i64);
                varint(&mut record, -1);
                varint(&mut record, self.value.len() as i64);
                record.extend_from_slice(&self.value);
                varint(&mut record, 0);
                varint(&mut records, record.len() as i64);
                records.extend_from_slice(&record);
            }
            assemble(0, &self.timestamps, self.producer, &records)
        }
    }

    /// A batch around `records`, which may be compressed: `attributes` says how.
    pub(crate) fn assemble(attributes: i16, timestamps: &[i64], producer: (i64, i16, i32), records: &[u8]) -> Vec<u8> {
        let mut tail = Vec::new();
        tail.extend_from_slice(&attributes.to_be_bytes());
        tail.extend_from_slice(&(timestamps.len() as i32 - 1).to_be_bytes());
        tail.extend_from_slice(&timestamps[0].to_be_bytes());
        tail.extend_from_slice(&timestamps.iter().max().unwrap().to_be_bytes());
        tail.extend_from_slice(&producer.0.to_be_bytes());
        tail.extend_from_slice(&producer.1.to_be_bytes());
        tail.extend_from_slice(&producer.2.to_be_bytes());
        tail.extend_from_slice(&(timestamps.len() as i32).to_be_bytes());
        tail.extend_from_slice(records);
        let mut out = vec![0; 8];
        out.extend_from_slice(&(tail.len() as i32 + 9).to_be_bytes());
        out.extend_from_slice(&[255, 255, 255, 255, 2]);
        out.extend_from_slice(&crc32c::crc32c(&tail).to_be_bytes());
        out.extend_from_slice(&tail);
        out
    }

    pub(crate) fn varint(out: &mut Vec<u8>, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_the_checksum_survives_a_new_base_offset() {
        let mut batch = fixtures::idempotent(3, 7, 1, 40);
        let head = head_at(&batch, 1_000, 0);
        batch[..16].copy_from_slice(&head);
        let header = BatchHeader::read(&batch).unwrap();
        assert_eq!((header.base_offset, header.last_offset(), header.size), (1_000, 1_002, batch.len()));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 1, 40));
        assert!(header.is_intact(&batch));
        *batch.last_mut().unwrap() ^= 1;
        assert!(!header.is_intact(&batch));
    }

    #[test]
    fn bytes_that_are_not_a_batch_are_refused() {
        let batch = fixtures::batch(1);
        assert!(BatchHeader::read(&batch[..60]).is_none());
        assert!(BatchHeader::read(&[0xff; 80]).is_none());
        let mut old_format = batch;
        old_format[16] = 1;
        assert!(BatchHeader::read(&old_format).is_none());
    }
}
