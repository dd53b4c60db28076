//! Batches given out.
//!
//! The answer is written by hand around the records: everything else is encoded by the message library
//! with empty records, then the records are read from the segment straight into their place. They are
//! copied once between the system's cache and the socket's buffer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use kafka_protocol::protocol::Encodable;

use super::sessions::{Plan, Wanted};
use super::{Context, check_epoch, put};
use crate::log::Slice;
use crate::partition::{Partition, Waiter};

/// Records in one answer, whatever the client allows; a single larger batch still comes whole.
const MAX_BYTES: usize = 32 << 20;
/// Topic ids stand in place of names from this version on.
const WITH_IDS: i16 = 13;
/// Lengths are written in the compact form, and tags follow, from this version on.
const FLEXIBLE: i16 = 12;
const COMMITTED_ONLY: i8 = 1;

/// What one partition answers.
#[derive(Debug)]
struct Found {
    error: Option<ResponseError>,
    /// -1 with an error.
    end: i64,
    start: i64,
    slice: Option<Slice>,
}

impl Found {
    fn bytes(&self) -> usize {
        self.slice.as_ref().map_or(0, |slice| slice.len)
    }
}

pub(super) fn fetch(c: &Context, request: FetchRequest, out: &mut BytesMut) -> Result<(), String> {
    let mut plan = match c.node.sessions.begin(&request) {
        Ok(plan) => plan,
        Err(code) => return put(&FetchResponse::default().with_error_code(code.code()), c.version, out),
    };
    let partitions: Vec<_> = plan.wanted.iter().map(|wanted| partition(c, wanted)).collect();
    let found = wait_for_enough(c, &request, &plan, &partitions);
    let written = write(c, &request, &mut plan, &found, out);
    c.node.sessions.finish(plan);
    written
}

fn partition(c: &Context, wanted: &Wanted) -> Result<Arc<Partition>, ResponseError> {
    let topics = &c.node.topics;
    let by_id = c.version >= WITH_IDS;
    let topic = if by_id { topics.get_by_id(&wanted.id) } else { topics.get(&wanted.name) };
    let missing = if by_id { ResponseError::UnknownTopicId } else { ResponseError::UnknownTopicOrPartition };
    topic.ok_or(missing)?.partition(wanted.partition).ok_or(ResponseError::UnknownTopicOrPartition)
}

/// Looks, and waits for more while there is less than the client asked for and time is left.
fn wait_for_enough(
    c: &Context,
    request: &FetchRequest,
    plan: &Plan,
    partitions: &[Result<Arc<Partition>, ResponseError>],
) -> Vec<Found> {
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let enough = |found: &[Found]| {
        found.iter().any(|found| found.error.is_some()) || found.iter().map(Found::bytes).sum::<usize>() >= min_bytes
    };
    let found = look(c, plan, partitions, max_bytes);
    if enough(&found) || request.max_wait_ms <= 0 {
        return found;
    }
    let waiter = Arc::new(Waiter::default());
    let watched = || partitions.iter().flatten();
    watched().for_each(|partition| partition.watch(&waiter));
    let found = loop {
        // After the watch has begun, or what came in between would go unnoticed.
        let found = look(c, plan, partitions, max_bytes);
        if enough(&found) || c.node.is_stopping() {
            break found;
        }
        if !waiter.wait_until(deadline) {
            break look(c, plan, partitions, max_bytes);
        }
    };
    watched().for_each(|partition| partition.unwatch(&waiter));
    found
}

fn look(
    c: &Context,
    plan: &Plan,
    partitions: &[Result<Arc<Partition>, ResponseError>],
    max_bytes: usize,
) -> Vec<Found> {
    let mut total = 0;
    let all = plan.wanted.iter().zip(partitions).map(|(wanted, partition)| {
        let found = look_at(c, wanted, partition, max_bytes - total.min(max_bytes), total == 0);
        let found = found.unwrap_or_else(|code| Found { error: Some(code), end: -1, start: -1, slice: None });
        total += found.bytes();
        found
    });
    all.collect()
}

fn look_at(
    c: &Context,
    wanted: &Wanted,
    partition: &Result<Arc<Partition>, ResponseError>,
    room: usize,
    is_first: bool,
) -> Result<Found, ResponseError> {
    let partition = partition.as_ref().map_err(|code| *code)?;
    check_epoch(wanted.leader_epoch)?;
    let log =
        partition.log().map_err(|code| if c.version >= WITH_IDS { ResponseError::UnknownTopicId } else { code })?;
    let room = wanted.max_bytes.min(room);
    let slice = if room == 0 && !is_first { None } else { log.read(wanted.offset, room)? };
    // A batch larger than allowed comes only where nothing came before it: a client must get on.
    let slice = slice.filter(|slice| slice.len <= room || is_first);
    Ok(Found { error: None, end: log.end(), start: log.start(), slice })
}

/// Writes the answer, and notes in the session what the client was told.
fn write(
    c: &Context,
    request: &FetchRequest,
    plan: &mut Plan,
    found: &[Found],
    out: &mut BytesMut,
) -> Result<(), String> {
    let mut news: Vec<(&Wanted, &Found)> = Vec::with_capacity(found.len());
    for (wanted, found) in plan.wanted.iter_mut().zip(found) {
        let told = (found.error.is_none()).then_some((found.end, found.start));
        let is_news = found.error.is_some() || found.bytes() > 0 || wanted.told != told;
        wanted.told = told;
        if is_news || !plan.only_news {
            news.push((wanted, found));
        }
    }
    let topics: Vec<_> = news.chunk_by(|(a, _), (b, _)| a.name == b.name && a.id == b.id).collect();
    open(&FetchResponse::default().with_session_id(plan.session), c.version, topics.len(), out)?;
    for partitions in topics {
        let (first, _) = partitions[0];
        let topic = FetchableTopicResponse::default().with_topic(first.name.clone()).with_topic_id(first.id);
        open(&topic, c.version, partitions.len(), out)?;
        for (wanted, found) in partitions {
            write_partition(c, request, wanted, found, out)?;
        }
        close(c.version, out);
    }
    close(c.version, out);
    // Next time whoever got nothing now comes first, so that a small limit starves nobody.
    let mut got: Vec<bool> = found.iter().map(|found| found.bytes() > 0).collect();
    if plan.session != 0 && got.iter().any(|got| *got) {
        let mut order: Vec<_> = std::mem::take(&mut plan.wanted).into_iter().zip(got.drain(..)).collect();
        order.sort_by_key(|(_, got)| *got);
        plan.wanted = order.into_iter().map(|(wanted, _)| wanted).collect();
    }
    Ok(())
}

fn write_partition(
    c: &Context,
    request: &FetchRequest,
    wanted: &Wanted,
    found: &Found,
    out: &mut BytesMut,
) -> Result<(), String> {
    let data = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_error_code(found.error.map_or(0, |code| code.code()))
        .with_high_watermark(found.end)
        .with_last_stable_offset(found.end)
        .with_log_start_offset(found.start)
        .with_aborted_transactions((request.isolation_level == COMMITTED_ONLY).then(Vec::new));
    let begin = out.len();
    open(&data, c.version, found.bytes(), out)?;
    if let Some(slice) = &found.slice {
        let records = out.len();
        out.resize(records + slice.len, 0);
        if let Err(error) = slice.read(&mut out[records..]) {
            tracing::error!(topic = &**wanted.name, partition = wanted.partition, offset = wanted.offset, %error, "cannot read");
            out.truncate(begin);
            open(&data.with_error_code(ResponseError::KafkaStorageError.code()), c.version, 0, out)?;
        }
    }
    close(c.version, out);
    Ok(())
}

/// Writes `message`, whose last field is empty, up to that field, and `count` as the field's length. The
/// field's content is the caller's to write, and then [`close`].
fn open(message: &impl Encodable, version: i16, count: usize, out: &mut BytesMut) -> Result<(), String> {
    put(message, version, out)?;
    if version < FLEXIBLE {
        out.truncate(out.len() - 4);
        out.put_u32(u32::try_from(count).map_err(|error| error.to_string())?);
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

/// Ends what [`open`] began: no tags.
fn close(version: i16, out: &mut BytesMut) {
    if version >= FLEXIBLE {
        out.put_u8(0);
    }
}
