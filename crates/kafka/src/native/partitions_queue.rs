//! A queue of librdkafka onto which chosen partitions are forwarded, read in batches.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka_sys as sys;
use turnstile_message::TopicPartition;

use super::queued_message::QueuedMessage;
use crate::link::LinkContext;

/// Most messages that one call takes from librdkafka; it bounds the array of pointers that is kept per queue.
pub(crate) const CHUNK: usize = 1024;

/// A queue of librdkafka, destroyed with its last owner.
struct NativeQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Keeps the client alive: a queue must be destroyed before its client, and fields drop after `drop` ran.
    consumer: Arc<BaseConsumer<LinkContext>>,
    /// Somebody wants the next wait to end. librdkafka's own flag can be used up by a call that does not wait.
    woken: AtomicBool,
}

// SAFETY: librdkafka's queues may be used from any thread, also from several at once: each operation takes the queue's own
// lock. The pointer stays valid until `drop`, which runs once, when no thread has the value any more.
unsafe impl Send for NativeQueue {}
// SAFETY: as above.
unsafe impl Sync for NativeQueue {}

impl Drop for NativeQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is valid, and this is the last use of it.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// Ends the wait of a [`crate::ReadQueue`] from another thread.
#[derive(Clone)]
pub struct QueueWaker(Arc<NativeQueue>);

impl QueueWaker {
    /// Lets the wait that is under way end at once, or the next one when there is none.
    pub fn wake(&self) {
        self.0.woken.store(true, Ordering::Release);
        // SAFETY: the queue is valid as long as the value lives, and librdkafka takes its lock.
        unsafe { sys::rd_kafka_queue_yield(self.0.queue.as_ptr()) };
    }
}

/// A queue of librdkafka that gets the messages of the partitions forwarded to it, and of no others.
pub(crate) struct PartitionsQueue {
    native: Arc<NativeQueue>,
    messages: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: the queue may be used from any thread, and the pointers in `messages` are only meaningful within one call of
// `take`, which needs `&mut self`.
unsafe impl Send for PartitionsQueue {}

impl PartitionsQueue {
    /// A queue without partitions.
    pub(crate) fn new(consumer: Arc<BaseConsumer<LinkContext>>) -> Option<Self> {
        // SAFETY: the client pointer is valid as long as `consumer` lives, which this value keeps alive.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let native = NativeQueue { queue: NonNull::new(queue)?, consumer, woken: AtomicBool::new(false) };
        Some(Self { native: Arc::new(native), messages: vec![ptr::null_mut(); CHUNK] })
    }

    /// Ends a wait of [`PartitionsQueue::take`] from another thread.
    pub(crate) fn waker(&self) -> QueueWaker {
        QueueWaker(Arc::clone(&self.native))
    }

    /// Sends the partition's messages here instead of to the consumer's own queue. Must come before `assign`, since
    /// messages that were fetched earlier stay where they are. `false` when librdkafka has no such partition.
    pub(crate) fn forward(&self, partition: &TopicPartition) -> bool {
        let Ok(topic) = CString::new(&*partition.topic) else { return false };
        // SAFETY: client and string are valid during the call; librdkafka copies the name.
        let source = unsafe {
            sys::rd_kafka_queue_get_partition(
                self.native.consumer.client().native_ptr(),
                topic.as_ptr(),
                partition.partition,
            )
        };
        if source.is_null() {
            return false;
        }
        // SAFETY: both queues are valid. Forwarding takes its own reference to the destination; the reference to the
        // source that `get_partition` gave is released exactly once.
        unsafe {
            sys::rd_kafka_queue_forward(source, self.native.queue.as_ptr());
            sys::rd_kafka_queue_destroy(source);
        }
        true
    }

    /// Hands up to `max` waiting messages to `each`, in the queue's order, and returns how many there were.
    ///
    /// Waits up to `wait` until `max` messages have come: with `max` > 1, `wait` should be zero.
    pub(crate) fn take(&mut self, max: usize, wait: Duration, mut each: impl FnMut(&QueuedMessage<'_>)) -> usize {
        // Woken from here on, librdkafka ends the wait; woken before, there is none.
        let woken = !wait.is_zero() && self.native.woken.swap(false, Ordering::Acquire);
        let wait_ms = if woken { 0 } else { i32::try_from(wait.as_millis()).unwrap_or(i32::MAX) };
        let max = max.min(self.messages.len());
        // SAFETY: the queue is valid, and the array has room for `max` pointers.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(self.native.queue.as_ptr(), wait_ms, self.messages.as_mut_ptr(), max)
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        for message in &self.messages[..taken] {
            // SAFETY: librdkafka filled the first `taken` slots with messages that are ours until they are destroyed,
            // which happens once, below, after the last borrow of it has ended. Should `each` panic, the messages that
            // are left leak, which is safe.
            unsafe {
                each(&QueuedMessage { message: &**message });
                sys::rd_kafka_message_destroy(*message);
            }
        }
        taken
    }
}
