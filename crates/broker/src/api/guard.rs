//! Decodes requests without trusting the lengths in them.
//!
//! The message library allocates as many elements as an array claims to have before it reads the first:
//! sixteen bytes that claim two billion topics would abort the process. So every request is decoded
//! twice. The first time, each length that exceeds the bytes left is reduced to one more than those: allocating
//! that many elements is harmless, and reading them fails. Other numbers may be reduced too; that result is
//! dropped. Only a request that decodes like this is decoded again as it is.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::Decodable;
use kafka_protocol::protocol::buf::ByteBuf;
use turnstile_values::{BoxError, caused};

pub(super) fn decode<Q: Decodable>(mut body: Bytes, version: i16) -> Result<Q, BoxError> {
    let unreadable = |error| caused("cannot read the request", error);
    let mut guarded = LengthGuard { bytes: body.clone(), replacement: Vec::new() };
    Q::decode(&mut guarded, version).map_err(unreadable)?;
    Q::decode(&mut body, version).map_err(unreadable)
}

struct LengthGuard {
    bytes: Bytes,
    /// The rest of a number that replaces the next bytes; the next one is last.
    replacement: Vec<u8>,
}

impl Buf for LengthGuard {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    /// Lengths of arrays and of bytes, in older versions.
    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let number = self.bytes.try_get_i32()?;
        let left = i32::try_from(self.bytes.len()).unwrap_or(i32::MAX - 1);
        Ok(number.min(left + 1))
    }

    /// A byte of a length in the compact form: seven bits each, lowest first, plus one.
    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        if let Some(replacement) = self.replacement.pop() {
            return Ok(replacement);
        }
        if byte < 0x80 {
            return Ok(byte);
        }
        let rest = self.bytes.iter().take(4).position(|byte| *byte < 0x80).map_or(4, |at| at + 1).min(self.bytes.len());
        let number = self.bytes[..rest]
            .iter()
            .enumerate()
            .fold(u64::from(byte & 0x7f), |sum, (at, byte)| sum | u64::from(byte & 0x7f) << (7 * (at + 1)));
        let number = number.min((self.bytes.len() - rest) as u64 + 2);
        self.replacement =
            (1..=rest).rev().map(|at| (number >> (7 * at)) as u8 & 0x7f | if at < rest { 0x80 } else { 0 }).collect();
        Ok(number as u8 & 0x7f | if rest > 0 { 0x80 } else { 0 })
    }
}

impl ByteBuf for LengthGuard {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.split_to(size)
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut as _, BytesMut};
    use kafka_protocol::messages::*;
    use kafka_protocol::protocol::Encodable;

    use super::*;

    #[test]
    fn an_array_that_claims_more_than_there_is_is_an_error_and_allocates_nothing() {
        for claim in [1, 2, 1_000, i32::MAX] {
            let mut body = BytesMut::new();
            body.put_i32(claim);
            assert!(decode::<MetadataRequest>(body.freeze(), 1).is_err(), "{claim}");
        }
        for claim in [&[2][..], &[0x83, 0x01], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff; 5], &[0xff; 2]] {
            assert!(decode::<MetadataRequest>(Bytes::from_static(claim), 12).is_err(), "{claim:?}");
        }
    }

    #[test]
    fn numbers_that_are_not_lengths_stay_as_they_are() {
        let request = FetchRequest::default().with_max_bytes(i32::MAX).with_max_wait_ms(77_777).with_min_bytes(-5);
        for version in [4, 11, 12, 17] {
            let mut body = BytesMut::new();
            request.encode(&mut body, version).unwrap();
            assert_eq!(decode::<FetchRequest>(body.freeze(), version).unwrap().max_bytes, i32::MAX);
        }
    }

    #[test]
    fn a_long_field_in_the_compact_form_is_read_whole() {
        let name = |length| TopicName(super::super::context::text(&"x".repeat(length)));
        for length in [1, 126, 127, 128, 5_000, 20_000] {
            let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(name(length)));
            let request = MetadataRequest::default().with_topics(Some(vec![topic]));
            let mut body = BytesMut::new();
            request.encode(&mut body, 12).unwrap();
            assert_eq!(decode::<MetadataRequest>(body.freeze(), 12).unwrap(), request);
        }
    }
}
