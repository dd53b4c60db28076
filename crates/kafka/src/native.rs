//! The parts of librdkafka that the safe wrapper does not offer: batches from a queue onto which chosen partitions are
//! forwarded, the ids of topics, and what this client may do with a topic or a group. All unsafe code of this crate is in
//! this file.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use turnstile_message::TopicPartition;

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

/// What an authorizer may allow; only what is asked for here has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AclOperation {
    Read,
    Write,
    Other,
}

/// The operations that this client may do on a topic; `None` when the cluster does not report them.
pub(crate) fn allowed_on_topic(
    consumer: &BaseConsumer<LinkContext>,
    topic: &str,
    wait: Duration,
) -> Result<Option<Vec<AclOperation>>, RDKafkaErrorCode> {
    let event = describe_topics(consumer, &[topic], wait)?;
    let [described] = *descriptions(&event) else { return Err(RDKafkaErrorCode::BadMessage) };
    // SAFETY: what the event holds lives as long as it does.
    unsafe {
        refusal(sys::rd_kafka_TopicDescription_error(described))?;
        let mut operations = 0;
        let allowed = sys::rd_kafka_TopicDescription_authorized_operations(described, &mut operations);
        Ok(operations_of(allowed, operations))
    }
}

/// A topic and its id, or why the cluster does not report it.
pub(crate) type TopicIdentity = (String, Result<String, RDKafkaErrorCode>);

/// The ids of `topics`, in Kafka's own base64: a topic that is deleted and recreated gets another one. An empty id
/// comes from clusters older than ids (Kafka 2.8). Waits up to `wait` for the answer.
pub(crate) fn topic_ids(
    consumer: &BaseConsumer<LinkContext>,
    topics: &[&str],
    wait: Duration,
) -> Result<Vec<TopicIdentity>, RDKafkaErrorCode> {
    let event = describe_topics(consumer, topics, wait)?;
    // SAFETY: the descriptions are those of an event that is still there.
    Ok(descriptions(&event).iter().map(|topic| unsafe { identity(*topic) }).collect())
}

/// # Safety
/// `topic` is valid.
unsafe fn identity(topic: *const sys::rd_kafka_TopicDescription_t) -> TopicIdentity {
    // SAFETY: as the caller promises; name, error and id belong to the description, and the id keeps its text.
    unsafe {
        let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
        if let Err(code) = refusal(sys::rd_kafka_TopicDescription_error(topic)) {
            return (name, Err(code));
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let known = !id.is_null()
            && (sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id)) != (0, 0);
        let text = if known { sys::rd_kafka_Uuid_base64str(id) } else { ptr::null() };
        let text = if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() };
        (name, Ok(text))
    }
}

/// The cluster's description of `topics`: an event of that kind.
fn describe_topics(
    consumer: &BaseConsumer<LinkContext>,
    topics: &[&str],
    wait: Duration,
) -> Result<AdminEvent, RDKafkaErrorCode> {
    let names: Vec<CString> = topics
        .iter()
        .map(|topic| CString::new(*topic).map_err(|_| RDKafkaErrorCode::InvalidArgument))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let request = AdminRequest::new(consumer, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, wait)?;
    // SAFETY: all pointers are valid during the call; librdkafka copies names and options before it returns.
    unsafe {
        let asked = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        sys::rd_kafka_DescribeTopics(consumer.client().native_ptr(), asked, request.options, request.queue);
        sys::rd_kafka_TopicCollection_destroy(asked);
    }
    request.answer(wait)
}

/// The topics that an event of [`describe_topics`] describes; they live as long as it does.
fn descriptions(event: &AdminEvent) -> &[*const sys::rd_kafka_TopicDescription_t] {
    let mut count = 0;
    // SAFETY: the event is valid; one of another kind gives no result, and the array belongs to the event.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return &[];
        }
        let described = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if described.is_null() { &[] } else { slice::from_raw_parts(described, count) }
    }
}

/// The operations that this client may do on a consumer group; `None` when the cluster does not report them.
pub(crate) fn allowed_on_group(
    consumer: &BaseConsumer<LinkContext>,
    group: &str,
    wait: Duration,
) -> Result<Option<Vec<AclOperation>>, RDKafkaErrorCode> {
    let name = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
    let request =
        AdminRequest::new(consumer, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, wait)?;
    // SAFETY: all pointers are valid during the call; librdkafka copies names and options before it returns.
    unsafe {
        let client = consumer.client().native_ptr();
        let mut names = [name.as_ptr()];
        sys::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), 1, request.options, request.queue);
    }
    let event = request.answer(wait)?;
    // SAFETY: the event is of that kind, and what it holds lives as long as it does.
    unsafe {
        let (mut groups, mut operations) = (0, 0);
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.0);
        let described = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut groups);
        if described.is_null() || groups != 1 {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        refusal(sys::rd_kafka_ConsumerGroupDescription_error(*described))?;
        let allowed = sys::rd_kafka_ConsumerGroupDescription_authorized_operations(*described, &mut operations);
        Ok(operations_of(allowed, operations))
    }
}

/// # Safety
/// `error` is null or valid.
unsafe fn refusal(error: *const sys::rd_kafka_error_t) -> Result<(), RDKafkaErrorCode> {
    // SAFETY: as the caller promises; a null pointer stands for no error.
    match unsafe { sys::rd_kafka_error_code(error) } {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(code.into()),
    }
}

/// # Safety
/// `allowed` is null or valid for `count` operations.
unsafe fn operations_of(allowed: *const sys::rd_kafka_AclOperation_t, count: usize) -> Option<Vec<AclOperation>> {
    if allowed.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    let all = unsafe { slice::from_raw_parts(allowed, count) };
    let named = |operation: &sys::rd_kafka_AclOperation_t| match *operation {
        sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ => AclOperation::Read,
        sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE => AclOperation::Write,
        _ => AclOperation::Other,
    };
    Some(all.iter().map(named).collect())
}

/// What a question of the admin API needs while it is under way.
struct AdminRequest<'a> {
    queue: *mut sys::rd_kafka_queue_t,
    options: *mut sys::rd_kafka_AdminOptions_t,
    /// Both must be destroyed before their client.
    _client: &'a BaseConsumer<LinkContext>,
}

impl<'a> AdminRequest<'a> {
    fn new(
        consumer: &'a BaseConsumer<LinkContext>,
        kind: sys::rd_kafka_admin_op_t,
        wait: Duration,
    ) -> Result<Self, RDKafkaErrorCode> {
        let client = consumer.client().native_ptr();
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).clamp(1, 60_000);
        // SAFETY: the client is valid; a null text with length 0 is allowed for the reason, and the errors that setting an
        // option returns are destroyed (null is allowed there too).
        unsafe {
            let queue = sys::rd_kafka_queue_new(client);
            let options = sys::rd_kafka_AdminOptions_new(client, kind);
            let request = Self { queue, options, _client: consumer };
            let mut reason = [0; 256];
            sys::rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, reason.as_mut_ptr(), reason.len());
            let wrong = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
            let result = refusal(wrong);
            if !wrong.is_null() {
                sys::rd_kafka_error_destroy(wrong);
            }
            result.map(|()| request)
        }
    }

    fn answer(&self, wait: Duration) -> Result<AdminEvent, RDKafkaErrorCode> {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid, and the event it gives is ours to destroy.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue, wait_ms) };
        if event.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        let event = AdminEvent(event);
        // SAFETY: the event is valid.
        match unsafe { sys::rd_kafka_event_error(event.0) } {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(event),
            code => Err(code.into()),
        }
    }
}

impl Drop for AdminRequest<'_> {
    fn drop(&mut self) {
        // SAFETY: both are valid, ours, and their client still lives.
        unsafe {
            sys::rd_kafka_AdminOptions_destroy(self.options);
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

struct AdminEvent(*mut sys::rd_kafka_event_t);

impl Drop for AdminEvent {
    fn drop(&mut self) {
        // SAFETY: the event is valid and ours.
        unsafe { sys::rd_kafka_event_destroy(self.0) };
    }
}

/// A message or an error of one partition, borrowed from librdkafka.
pub(crate) struct QueuedMessage<'a> {
    message: &'a sys::rd_kafka_message_t,
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
