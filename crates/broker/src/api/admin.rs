//! Topics and partitions created and deleted, messages deleted.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::*;

use super::configs;
use super::context::{NODE_ID, RequestContext, error_code, topic_name};
use crate::request_error::RequestError;
use crate::topic_config::TopicConfig;

/// Stands for the end of the log in a DeleteRecords request.
const END: i64 = -1;

pub(super) fn create_topics(c: &RequestContext, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let results = request.topics.into_iter().map(|wanted| {
        let outcome = create_topic(c, &wanted, request.validate_only);
        let (code, message) = RequestError::fields(&outcome);
        let response = CreatableTopicResult::default().with_name(wanted.name.clone()).with_error_code(code);
        match outcome {
            Ok(partitions) => {
                let created = c.broker.topics.get(&wanted.name).filter(|_| !request.validate_only);
                let described = created.as_ref().map(|topic| configs::topic_configs(c, topic)).unwrap_or_default();
                let configs = described.into_iter().map(|config| {
                    CreatableTopicConfigs::default()
                        .with_name(config.name)
                        .with_value(config.value)
                        .with_read_only(config.read_only)
                        .with_config_source(config.config_source)
                });
                // Older responses have no field for settings, and the library refuses to leave them out.
                let configs = if c.version >= 5 { configs.collect() } else { Vec::new() };
                response
                    .with_error_message(None)
                    .with_topic_id(created.map(|topic| topic.id).unwrap_or_default())
                    .with_num_partitions(partitions)
                    .with_replication_factor(1)
                    .with_configs(Some(configs))
            }
            Err(_) => response.with_error_message(message),
        }
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

fn create_topic(c: &RequestContext, wanted: &CreatableTopic, validate_only: bool) -> Result<i32, RequestError> {
    if !matches!(wanted.replication_factor, -1 | 1) {
        let message = format!("{} replicas, but there is only one broker", wanted.replication_factor);
        return Err(RequestError::new(ResponseError::InvalidReplicationFactor, message));
    }
    if wanted.assignments.iter().any(|assignment| assignment.broker_ids != [NODE_ID]) {
        return Err(RequestError::new(ResponseError::InvalidReplicaAssignment, "the only broker has id 1"));
    }
    let count = match wanted.num_partitions {
        -1 if wanted.assignments.is_empty() => c.broker.settings.default_partitions,
        -1 => i32::try_from(wanted.assignments.len()).unwrap_or(i32::MAX),
        count => count,
    };
    let mut config = TopicConfig::default();
    for entry in &wanted.configs {
        config.set(&entry.name, entry.value.as_deref().unwrap_or_default())?;
    }
    c.broker.topics.create(&wanted.name, count, config, validate_only)?;
    tracing::info!(topic = &**wanted.name, partitions = count, validate_only, "created a topic");
    Ok(count)
}

pub(super) fn delete_topics(c: &RequestContext, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = request.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
    let responses = request.topics.into_iter().chain(by_name).map(|wanted| {
        let (found, missing) = match &wanted.name {
            Some(name) => (c.broker.topics.get(name), ResponseError::UnknownTopicOrPartition),
            None => (c.broker.topics.get_by_id(&wanted.topic_id), ResponseError::UnknownTopicId),
        };
        let name = found.as_ref().map(|topic| topic_name(&topic.name)).or(wanted.name);
        let id = found.as_ref().map_or(wanted.topic_id, |topic| topic.id);
        let outcome = found.ok_or_else(|| RequestError::new(missing, "the topic does not exist")).and_then(|topic| {
            c.broker.topics.delete(&topic)?;
            c.broker.groups.remove_topic(&topic.name);
            tracing::info!(topic = &*topic.name, "deleted a topic");
            Ok(())
        });
        let (code, message) = RequestError::fields(&outcome);
        let response = DeletableTopicResult::default().with_name(name).with_topic_id(id);
        response.with_error_code(code).with_error_message(message)
    });
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

pub(super) fn create_partitions(c: &RequestContext, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let results = request.topics.into_iter().map(|wanted| {
        let foreign = wanted.assignments.iter().flatten().any(|assignment| assignment.broker_ids != [NODE_ID]);
        let outcome = if foreign {
            Err(RequestError::new(ResponseError::InvalidReplicaAssignment, "the only broker has id 1"))
        } else {
            c.broker.topics.add_partitions(&wanted.name, wanted.count, request.validate_only)
        };
        let (code, message) = RequestError::fields(&outcome);
        let response = CreatePartitionsTopicResult::default().with_name(wanted.name);
        response.with_error_code(code).with_error_message(message)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

pub(super) fn delete_records(c: &RequestContext, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|wanted| {
        let topic = c.broker.topics.get(&wanted.name).ok_or_else(|| RequestError::unknown_topic(&wanted.name).code);
        let partitions = wanted.partitions.into_iter().map(|wanted| {
            let delete = || {
                let topic = topic.as_ref().map_err(|code| *code)?;
                let partition = topic.partition(wanted.partition_index);
                let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition)?;
                let mut log = partition.log()?;
                let before = if wanted.offset == END { log.end() } else { wanted.offset };
                log.delete_before(before)
            };
            let start = delete();
            DeleteRecordsPartitionResult::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(error_code(&start))
                .with_low_watermark(start.unwrap_or(-1))
        });
        DeleteRecordsTopicResult::default().with_partitions(partitions.collect()).with_name(wanted.name.clone())
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}
