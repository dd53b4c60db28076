//! What a queue of librdkafka holds: a message, or an error of one partition.

use std::ffi::{CStr, c_void};
use std::{ptr, slice};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

/// A message or an error of one partition, borrowed from librdkafka.
pub(crate) struct QueuedMessage<'a> {
    pub(super) message: &'a sys::rd_kafka_message_t,
}

impl QueuedMessage<'_> {
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
