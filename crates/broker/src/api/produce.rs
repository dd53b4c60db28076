//! Batches appended, and ids for idempotent producers.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::*;
use turnstile_values::BoxError;

use super::context::RequestContext;
use crate::log::LogLimits;
use crate::settings::Fsync;
use crate::state::now_ms;
use crate::topics::Topic;

/// Topic ids replace names from this version on.
const WITH_IDS: i16 = 13;
const NO_ACKS: i16 = 0;

/// Stores the batches. `None` when the client expects no response; it learns of a failure by the closed
/// connection, which the error causes.
pub(super) fn produce(c: &RequestContext, request: ProduceRequest) -> Result<Option<ProduceResponse>, BoxError> {
    let refused = if request.transactional_id.is_some() {
        Some(ResponseError::TransactionalIdAuthorizationFailed)
    } else if !matches!(request.acks, -1..=1) {
        Some(ResponseError::InvalidRequiredAcks)
    } else {
        None
    };
    let mut failed = None;
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let (topic, missing) = if c.version >= WITH_IDS {
            (c.broker.topics.get_by_id(&data.topic_id), ResponseError::UnknownTopicId)
        } else {
            (c.broker.topics.get(&data.name), ResponseError::UnknownTopicOrPartition)
        };
        let limits = topic.as_ref().map(|topic| c.broker.topics.limits(topic));
        let partitions = data.partition_data.into_iter().map(|data| {
            let index = data.index;
            let outcome = match (refused, &topic, &limits) {
                (Some(code), ..) => Err(code),
                (None, Some(topic), Some(limits)) => store(c, topic, limits, data),
                _ => Err(missing),
            };
            let response = PartitionProduceResponse::default().with_index(index);
            match outcome {
                Ok((offset, start)) => response.with_base_offset(offset).with_log_start_offset(start),
                Err(code) => {
                    failed = Some(code);
                    response.with_error_code(code.code()).with_base_offset(-1)
                }
            }
        });
        let partitions = partitions.collect();
        responses.push(
            TopicProduceResponse::default()
                .with_name(data.name)
                .with_topic_id(data.topic_id)
                .with_partition_responses(partitions),
        );
    }
    match failed {
        _ if request.acks != NO_ACKS => Ok(Some(ProduceResponse::default().with_responses(responses))),
        None => Ok(None),
        Some(code) => Err(format!("a batch was refused ({code}), and the client expects no response").into()),
    }
}

/// Stores one batch; gives its base offset and the first offset of the log.
fn store(
    c: &RequestContext,
    topic: &Topic,
    limits: &LogLimits,
    data: PartitionProduceData,
) -> Result<(i64, i64), ResponseError> {
    let partition = topic.partition(data.index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let records = data.records.unwrap_or_default();
    let mut log = partition.log()?;
    let appended = log.append(&records, limits, now_ms())?;
    let start = log.start();
    drop(log);
    partition.wake();
    if c.broker.settings.fsync == Fsync::EveryBatch
        && let Some(medium) = appended.medium
        && let Err(error) = medium.sync()
    {
        tracing::error!(topic = &*topic.name, partition = data.index, %error, "fsync");
        return Err(ResponseError::KafkaStorageError);
    }
    Ok((appended.base_offset, start))
}

pub(super) fn init_producer_id(c: &RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |code: ResponseError| {
        InitProducerIdResponse::default().with_error_code(code.code()).with_producer_id(ProducerId(-1))
    };
    if request.transactional_id.is_some() {
        return refused(ResponseError::TransactionalIdAuthorizationFailed);
    }
    match c.broker.identity.next_producer_id() {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)),
        Err(error) => {
            tracing::error!(%error, "cannot reserve producer ids");
            refused(ResponseError::KafkaStorageError)
        }
    }
}
