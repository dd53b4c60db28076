//! Finds a record of one batch by its timestamp: the only place that sees single records.
//!
//! In: the bytes of one batch. Out: the first record at or after an instant. Decompression is streamed
//! and stops at the record, so memory stays small however much the batch claims to hold.

use std::io::{self, BufReader, Cursor, Read};

use super::batch::{BatchHeader, HEADER_BYTES};

/// Snappy's block format cannot be streamed; a batch that decompresses to more than this is refused.
const MAX_SNAPPY_BYTES: usize = 128 << 20;
/// The magic of the framing that Java clients put around snappy blocks; two version numbers follow.
const XERIAL: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

/// Offset and timestamp of the first record of `batch` from `from_offset` on whose timestamp is
/// `at_least` or later. `None` if there is none.
pub(crate) fn first_record(
    batch: &[u8],
    header: &BatchHeader,
    from_offset: i64,
    at_least: i64,
) -> io::Result<Option<(i64, i64)>> {
    if header.max_timestamp < at_least {
        return Ok(None);
    }
    if header.base_timestamp >= at_least && header.base_offset >= from_offset {
        return Ok(Some((header.base_offset, header.base_timestamp)));
    }
    let mut records = BufReader::new(decompress(header, batch.get(HEADER_BYTES..).unwrap_or_default())?);
    for _ in 0..header.records {
        let length = varint(&mut records)?;
        let mut record = records.by_ref().take(u64::try_from(length).map_err(invalid)?);
        let _attributes = byte(&mut record)?;
        let timestamp = header.base_timestamp.saturating_add(varint(&mut record)?);
        let offset = header.base_offset.saturating_add(varint(&mut record)?);
        if timestamp >= at_least && offset >= from_offset {
            return Ok(Some((offset, timestamp)));
        }
        io::copy(&mut record, &mut io::sink())?;
    }
    Ok(None)
}

fn decompress<'a>(header: &BatchHeader, compressed: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match header.codec() {
        0 => Box::new(compressed),
        1 => Box::new(flate2::read::MultiGzDecoder::new(compressed)),
        2 => Box::new(Cursor::new(decompress_snappy(compressed)?)),
        3 => Box::new(lz4_flex::frame::FrameDecoder::new(compressed)),
        4 => Box::new(zstd::stream::read::Decoder::with_buffer(compressed)?),
        codec => return Err(invalid(format!("codec {codec}"))),
    })
}

fn decompress_snappy(compressed: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut decompress = |block: &[u8]| {
        let size = snap::raw::decompress_len(block)?;
        if out.len() + size > MAX_SNAPPY_BYTES {
            return Err(invalid("too large when decompressed"));
        }
        out.extend(snap::raw::Decoder::new().decompress_vec(block)?);
        Ok(())
    };
    match compressed.strip_prefix(&XERIAL) {
        None => decompress(compressed)?,
        Some(framed) => {
            let mut rest = framed.get(8..).ok_or_else(|| invalid("cut short"))?;
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let (block, next) =
                    after.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(|| invalid("cut short"))?;
                decompress(block)?;
                rest = next;
            }
        }
    }
    Ok(out)
}

fn varint(from: &mut impl Read) -> io::Result<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let next = byte(from)?;
        value |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(invalid("a number of more than ten bytes"))
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut one = [0];
    from.read_exact(&mut one)?;
    Ok(one[0])
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::batch::fixtures;
    use super::*;

    const TIMES: [i64; 4] = [100, 300, 200, 400];

    fn compressed_with(codec: i16) -> Vec<u8> {
        let plain = fixtures::stamped(&TIMES);
        let records = &plain[HEADER_BYTES..];
        let compressed = match codec {
            0 => records.to_vec(),
            1 => {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                out.write_all(records).unwrap();
                out.finish().unwrap()
            }
            2 => snap::raw::Encoder::new().compress_vec(records).unwrap(),
            3 => {
                let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
                out.write_all(records).unwrap();
                out.finish().unwrap()
            }
            4 => zstd::encode_all(records, 1).unwrap(),
            _ => {
                let block = snap::raw::Encoder::new().compress_vec(records).unwrap();
                [&XERIAL[..], &[0; 8], &(block.len() as u32).to_be_bytes(), &block].concat()
            }
        };
        fixtures::assemble(codec.min(4) - i16::from(codec == 5) * 2, &TIMES, (-1, -1, -1), &compressed)
    }

    #[test]
    fn a_record_is_found_by_time_under_every_codec() {
        for codec in 0..=5 {
            let batch = compressed_with(codec);
            let header = BatchHeader::read(&batch).unwrap();
            let find = |at_least| first_record(&batch, &header, 0, at_least).unwrap();
            assert_eq!(find(50), Some((0, 100)), "codec {codec}");
            assert_eq!(find(101), Some((1, 300)), "codec {codec}");
            assert_eq!(find(301), Some((3, 400)), "codec {codec}");
            assert_eq!(find(401), None, "codec {codec}");
            assert_eq!(first_record(&batch, &header, 2, 100).unwrap(), Some((2, 200)), "codec {codec}");
        }
    }

    #[test]
    fn a_batch_with_invalid_records_is_an_error_not_a_panic() {
        let garbage = fixtures::assemble(0, &TIMES, (-1, -1, -1), &[0xff; 40]);
        let header = BatchHeader::read(&garbage).unwrap();
        assert!(first_record(&garbage, &header, 0, 350).is_err());
    }
}
