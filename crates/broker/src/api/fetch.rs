//! Fetch: batches read.
//!
//! The response is written by hand around the records: everything else is encoded by the message library
//! with empty records, then the records are read from the segment straight into their place. They are
//! copied once between the system's cache and the socket's buffer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use kafka_protocol::protocol::Encodable;
use turnstile_values::BoxError;

use super::context::{RequestContext, check_epoch, encode};
use crate::fetch_sessions::{CachedPartition, FetchContext};
use crate::log::Slice;
use crate::partition::{Partition, Waiter};

/// Bytes of records in one response, whatever the client allows; a single larger batch still comes whole.
const MAX_BYTES: usize = 32 << 20;
/// Topic ids replace names from this version on.
const WITH_IDS: i16 = 13;
/// Lengths are in the compact form, and tagged fields follow, from this version on.
const FLEXIBLE: i16 = 12;
const READ_COMMITTED: i8 = 1;

/// What was read of one partition.
#[derive(Debug)]
struct FetchPartitionData {
    error: Option<ResponseError>,
    /// -1 with an error.
    end: i64,
    start: i64,
    slice: Option<Slice>,
}

impl FetchPartitionData {
    fn bytes(&self) -> usize {
        self.slice.as_ref().map_or(0, |slice| slice.len)
    }
}

pub(super) fn fetch(c: &RequestContext, request: FetchRequest, out: &mut BytesMut) -> Result<(), BoxError> {
    let mut fetch = match c.broker.sessions.begin(&request) {
        Ok(fetch) => fetch,
        Err(code) => return encode(&FetchResponse::default().with_error_code(code.code()), c.version, out),
    };
    let partitions: Vec<_> = fetch.partitions.iter().map(|wanted| partition(c, wanted)).collect();
    let found = wait_for_enough(c, &request, &fetch, &partitions);
    let written = write(c, &request, &mut fetch, &found, out);
    c.broker.sessions.finish(fetch);
    written
}

fn partition(c: &RequestContext, wanted: &CachedPartition) -> Result<Arc<Partition>, ResponseError> {
    let topics = &c.broker.topics;
    let by_id = c.version >= WITH_IDS;
    let topic = if by_id { topics.get_by_id(&wanted.id) } else { topics.get(&wanted.name) };
    let missing = if by_id { ResponseError::UnknownTopicId } else { ResponseError::UnknownTopicOrPartition };
    topic.ok_or(missing)?.partition(wanted.partition).ok_or(ResponseError::UnknownTopicOrPartition)
}

/// Reads, and waits for more while there is less than the client asked for and time is left.
fn wait_for_enough(
    c: &RequestContext,
    request: &FetchRequest,
    fetch: &FetchContext,
    partitions: &[Result<Arc<Partition>, ResponseError>],
) -> Vec<FetchPartitionData> {
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let enough = |found: &[FetchPartitionData]| {
        found.iter().any(|found| found.error.is_some())
            || found.iter().map(FetchPartitionData::bytes).sum::<usize>() >= min_bytes
    };
    let found = read_partitions(c, fetch, partitions, max_bytes);
    if enough(&found) || request.max_wait_ms <= 0 {
        return found;
    }
    let waiter = Arc::new(Waiter::default());
    let watched = || partitions.iter().flatten();
    watched().for_each(|partition| partition.watch(&waiter));
    let found = loop {
        // After the watch has begun, or an append in between would go unnoticed.
        let found = read_partitions(c, fetch, partitions, max_bytes);
        if enough(&found) || c.broker.shutdown.is_requested() {
            break found;
        }
        if !waiter.wait_until(deadline) {
            break read_partitions(c, fetch, partitions, max_bytes);
        }
    };
    watched().for_each(|partition| partition.unwatch(&waiter));
    found
}

fn read_partitions(
    c: &RequestContext,
    fetch: &FetchContext,
    partitions: &[Result<Arc<Partition>, ResponseError>],
    max_bytes: usize,
) -> Vec<FetchPartitionData> {
    let mut total = 0;
    let all = fetch.partitions.iter().zip(partitions).map(|(wanted, partition)| {
        let found = read_partition(c, wanted, partition, max_bytes - total.min(max_bytes), total == 0);
        let found =
            found.unwrap_or_else(|code| FetchPartitionData { error: Some(code), end: -1, start: -1, slice: None });
        total += found.bytes();
        found
    });
    all.collect()
}

fn read_partition(
    c: &RequestContext,
    wanted: &CachedPartition,
    partition: &Result<Arc<Partition>, ResponseError>,
    room: usize,
    is_first: bool,
) -> Result<FetchPartitionData, ResponseError> {
    let partition = partition.as_ref().map_err(|code| *code)?;
    check_epoch(wanted.leader_epoch)?;
    let log =
        partition.log().map_err(|code| if c.version >= WITH_IDS { ResponseError::UnknownTopicId } else { code })?;
    let room = wanted.max_bytes.min(room);
    let slice = if room == 0 && !is_first { None } else { log.read(wanted.offset, room)? };
    // Only the first batch of a response may be larger than allowed, so that the client makes progress.
    let slice = slice.filter(|slice| slice.len <= room || is_first);
    Ok(FetchPartitionData { error: None, end: log.end(), start: log.start(), slice })
}

/// Writes the response, and notes in the session what the client was sent.
fn write(
    c: &RequestContext,
    request: &FetchRequest,
    fetch: &mut FetchContext,
    found: &[FetchPartitionData],
    out: &mut BytesMut,
) -> Result<(), BoxError> {
    let mut changed: Vec<(&CachedPartition, &FetchPartitionData)> = Vec::with_capacity(found.len());
    for (wanted, found) in fetch.partitions.iter_mut().zip(found) {
        let sent = (found.error.is_none()).then_some((found.end, found.start));
        let has_changed = found.error.is_some() || found.bytes() > 0 || wanted.last_sent != sent;
        wanted.last_sent = sent;
        if has_changed || !fetch.incremental {
            changed.push((wanted, found));
        }
    }
    let topics: Vec<_> = changed.chunk_by(|(a, _), (b, _)| a.name == b.name && a.id == b.id).collect();
    begin_message(&FetchResponse::default().with_session_id(fetch.session), c.version, topics.len(), out)?;
    for partitions in topics {
        let (first, _) = partitions[0];
        let topic = FetchableTopicResponse::default().with_topic(first.name.clone()).with_topic_id(first.id);
        begin_message(&topic, c.version, partitions.len(), out)?;
        for (wanted, found) in partitions {
            write_partition(c, request, wanted, found, out)?;
        }
        end_message(c.version, out);
    }
    end_message(c.version, out);
    // Partitions that got nothing come first next time, so that a small limit starves none of them.
    let mut got: Vec<bool> = found.iter().map(|found| found.bytes() > 0).collect();
    if fetch.session != 0 && got.iter().any(|got| *got) {
        let mut order: Vec<_> = std::mem::take(&mut fetch.partitions).into_iter().zip(got.drain(..)).collect();
        order.sort_by_key(|(_, got)| *got);
        fetch.partitions = order.into_iter().map(|(wanted, _)| wanted).collect();
    }
    Ok(())
}

fn write_partition(
    c: &RequestContext,
    request: &FetchRequest,
    wanted: &CachedPartition,
    found: &FetchPartitionData,
    out: &mut BytesMut,
) -> Result<(), BoxError> {
    let data = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_error_code(found.error.map_or(0, |code| code.code()))
        .with_high_watermark(found.end)
        .with_last_stable_offset(found.end)
        .with_log_start_offset(found.start)
        .with_aborted_transactions((request.isolation_level == READ_COMMITTED).then(Vec::new));
    let begin = out.len();
    begin_message(&data, c.version, found.bytes(), out)?;
    if let Some(slice) = &found.slice {
        let records = out.len();
        out.resize(records + slice.len, 0);
        if let Err(error) = slice.read(&mut out[records..]) {
            tracing::error!(topic = &**wanted.name, partition = wanted.partition, offset = wanted.offset, %error, "cannot read");
            out.truncate(begin);
            begin_message(&data.with_error_code(ResponseError::KafkaStorageError.code()), c.version, 0, out)?;
        }
    }
    end_message(c.version, out);
    Ok(())
}

/// Writes `message`, whose last field is empty, up to that field, and `count` as the field's length. The
/// caller writes the field's content and then calls [`end_message`].
fn begin_message(message: &impl Encodable, version: i16, count: usize, out: &mut BytesMut) -> Result<(), BoxError> {
    encode(message, version, out)?;
    if version < FLEXIBLE {
        out.truncate(out.len() - 4);
        out.put_u32(u32::try_from(count)?);
        return Ok(());
    }
    out.truncate(out.len() - 2);
    let mut rest = count + 1;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
    Ok(())
}

/// Ends what [`begin_message`] began: no tagged fields.
fn end_message(version: i16, out: &mut BytesMut) {
    if version >= FLEXIBLE {
        out.put_u8(0);
    }
}
