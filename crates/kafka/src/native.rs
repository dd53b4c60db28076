//! The part of librdkafka that the safe wrapper does not offer: batches from a queue onto which chosen partitions are
//! forwarded. All unsafe code of this crate is in this file.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use message::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use crate::link::LinkContext;

/// Most messages that one call takes from librdkafka; it bounds the array of pointers that is kept per queue.
pub(crate) const CHUNK: usize = 1024;

/// A queue of librdkafka that gets the messages of the partitions forwarded to it, and of no others.
pub(crate) struct PartitionsQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    messages: Vec<*mut sys::rd_kafka_message_t>,
    /// Keeps the client alive: a queue must be destroyed before its client, and fields drop after `drop` ran.
    consumer: Arc<BaseConsumer<LinkContext>>,
}

// SAFETY: librdkafka's objects may be used from any thread, and the pointers in `messages` are only meaningful within
// one call of `take`, which needs `&mut self`.
unsafe impl Send for PartitionsQueue {}

impl PartitionsQueue {
    /// A queue without partitions.
    pub(crate) fn new(consumer: Arc<BaseConsumer<LinkContext>>) -> Option<Self> {
        // SAFETY: the client pointer is valid as long as `consumer` lives, which this value keeps alive.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Some(Self { queue: NonNull::new(queue)?, messages: vec![ptr::null_mut(); CHUNK], consumer })
    }

    /// Sends the partition's messages here instead of to the consumer's own queue. Must come before `assign`, since
    /// messages that were fetched earlier stay where they are. `false` when librdkafka has no such partition.
    pub(crate) fn forward(&self, partition: &TopicPartition) -> bool {
        let Ok(topic) = CString::new(&*partition.topic) else { return false };
        // SAFETY: client and string are valid during the call; librdkafka copies the name.
        let source = unsafe {
            sys::rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), topic.as_ptr(), partition.partition)
        };
        if source.is_null() {
            return false;
        }
        // SAFETY: both queues are valid. Forwarding takes its own reference to the destination; the reference to the
        // source that `get_partition` gave is released exactly once.
        unsafe {
            sys::rd_kafka_queue_forward(source, self.queue.as_ptr());
            sys::rd_kafka_queue_destroy(source);
        }
        true
    }

    /// Hands up to `max` waiting messages to `each`, in the queue's order, and returns how many there were.
    ///
    /// Waits up to `wait` until `max` messages have come: with `max` > 1, `wait` should be zero.
    pub(crate) fn take(&mut self, max: usize, wait: Duration, mut each: impl FnMut(&Taken<'_>)) -> usize {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let max = max.min(self.messages.len());
        // SAFETY: the queue is valid, and the array has room for `max` pointers.
        let taken =
            unsafe { sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait_ms, self.messages.as_mut_ptr(), max) };
        let taken = usize::try_from(taken).unwrap_or(0);
        for message in &self.messages[..taken] {
            // SAFETY: librdkafka filled the first `taken` slots with messages that are ours until they are destroyed,
            // which happens once, below, after the last borrow of it has ended. Should `each` panic, the messages that
            // are left leak, which is safe.
            unsafe {
                each(&Taken { message: &**message });
                sys::rd_kafka_message_destroy(*message);
            }
        }
        taken
    }
}

impl Drop for PartitionsQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is valid, this is its owner, and its client outlives it (see `consumer`). Partitions that are
        // still forwarded here keep their own reference; what they enqueue from now on is discarded by librdkafka.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A message or an error of one partition, borrowed from librdkafka.
pub(crate) struct Taken<'a> {
    message: &'a sys::rd_kafka_message_t,
}

impl Taken<'_> {
    /// `None` for a message, otherwise what happened to the partition.
    pub(crate) fn error(&self) -> Option<RDKafkaErrorCode> {
        match self.message.err {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => None,
            error => Some(error.into()),
        }
    }

    /// Whether this belongs to the topic that `handle` stands for.
    pub(crate) fn topic_handle(&self) -> usize {
        self.message.rkt as usize
    }

    /// The topic's name; `None` for an error that concerns no topic.
    pub(crate) fn topic(&self) -> Option<&str> {
        if self.message.rkt.is_null() {
            return None;
        }
        // SAFETY: the topic object lives as long as the message that refers to it, and its name is a C string that
        // lives as long as the object.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.message.rkt)) };
        name.to_str().ok()
    }

    pub(crate) fn partition(&self) -> i32 {
        self.message.partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.message.offset
    }

    /// Milliseconds since the epoch, -1 when the message has none.
    pub(crate) fn timestamp_ms(&self) -> i64 {
        // SAFETY: the message is valid, and a null pointer for the kind of timestamp is allowed.
        unsafe { sys::rd_kafka_message_timestamp(self.message, ptr::null_mut()) }
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.bytes(self.message.key, self.message.key_len)
    }

    /// A message's value, or an error's text.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.bytes(self.message.payload, self.message.len)
    }

    fn bytes(&self, start: *mut c_void, len: usize) -> Option<&[u8]> {
        if start.is_null() {
            return None;
        }
        // SAFETY: librdkafka gives a start that is valid for `len` bytes as long as the message is not destroyed, and
        // the message outlives `self`.
        Some(unsafe { slice::from_raw_parts(start.cast::<u8>(), len) })
    }
}
