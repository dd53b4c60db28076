//! Questions of the admin API: the ids of topics, and what this client may do with a topic or a group.

use std::ffi::{CStr, CString};
use std::time::Duration;
use std::{ptr, slice};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use crate::link::LinkContext;

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
