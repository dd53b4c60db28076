//! Metadata: topics, the broker, coordinators.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::context::{NODE_ID, RequestContext, text, topic_name};
use crate::log::LEADER_EPOCH;
use crate::request_error::RequestError;
use crate::topic_config::TopicConfig;
use crate::topics::Topic;

/// The only kind of endpoint: brokers. The other is controllers.
const BROKERS: i8 = 1;
const GROUP_COORDINATOR: i8 = 0;
const TRANSACTION_COORDINATOR: i8 = 1;

pub(super) fn metadata(c: &RequestContext, request: MetadataRequest) -> MetadataResponse {
    let create = request.allow_auto_topic_creation && c.broker.settings.auto_create_topics;
    let topics = match request.topics {
        Some(wanted) if !(wanted.is_empty() && c.version == 0) => {
            wanted.into_iter().map(|wanted| topic_metadata(c, wanted, create)).collect()
        }
        _ => c.broker.topics.all().iter().map(|topic| existing_topic(topic)).collect(),
    };
    let broker = MetadataResponseBroker::default().with_node_id(NODE_ID).with_host(c.client.host());
    MetadataResponse::default()
        .with_brokers(vec![broker.with_port(c.client.port())])
        .with_cluster_id(Some(text(&c.broker.identity.cluster_id)))
        .with_controller_id(NODE_ID)
        .with_topics(topics)
}

fn topic_metadata(c: &RequestContext, wanted: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    let Some(name) = wanted.name else {
        let none = || {
            // A topic may be without a name only from version 12 on.
            let name = (c.version < 12).then(TopicName::default);
            let none = MetadataResponseTopic::default().with_topic_id(wanted.topic_id).with_name(name);
            none.with_error_code(ResponseError::UnknownTopicId.code())
        };
        return c.broker.topics.get_by_id(&wanted.topic_id).map_or_else(none, |topic| existing_topic(&topic));
    };
    let mut error = ResponseError::UnknownTopicOrPartition;
    if create && c.broker.topics.get(&name).is_none() {
        match c.broker.topics.create(&name, c.broker.settings.default_partitions, TopicConfig::default(), false) {
            Ok(()) | Err(RequestError { code: ResponseError::TopicAlreadyExists, .. }) => {}
            Err(refusal) => error = refusal.code,
        }
    }
    match c.broker.topics.get(&name) {
        Some(topic) => existing_topic(&topic),
        None => MetadataResponseTopic::default().with_name(Some(name)).with_error_code(error.code()),
    }
}

fn existing_topic(topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions();
    let partitions = partitions.iter().map(|partition| {
        MetadataResponsePartition::default()
            .with_partition_index(partition.index)
            .with_leader_id(NODE_ID)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![NODE_ID])
            .with_isr_nodes(vec![NODE_ID])
    });
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

pub(super) fn describe_cluster(c: &RequestContext, request: DescribeClusterRequest) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return DescribeClusterResponse::default()
            .with_error_code(ResponseError::UnsupportedEndpointType.code())
            .with_error_message(Some(StrBytes::from_static_str("no controller can be reached")));
    }
    let broker = DescribeClusterBroker::default().with_broker_id(NODE_ID).with_host(c.client.host());
    DescribeClusterResponse::default()
        .with_cluster_id(text(&c.broker.identity.cluster_id))
        .with_controller_id(NODE_ID)
        .with_brokers(vec![broker.with_port(c.client.port())])
}

pub(super) fn find_coordinator(c: &RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let refusal = match request.key_type {
        GROUP_COORDINATOR => None,
        // Both librdkafka and the Java client give up at this code; at others one of them retries for ever.
        TRANSACTION_COORDINATOR => {
            Some((ResponseError::TransactionalIdAuthorizationFailed, "the embedded broker has no transactions"))
        }
        _ => Some((ResponseError::InvalidRequest, "the embedded broker coordinates consumer groups only")),
    };
    if c.version < 4 {
        return match refusal {
            Some((code, message)) => FindCoordinatorResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(text(message)))
                .with_node_id(BrokerId(-1))
                .with_port(-1),
            None => FindCoordinatorResponse::default()
                .with_node_id(NODE_ID)
                .with_host(c.client.host())
                .with_port(c.client.port()),
        };
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| match refusal {
        Some((code, message)) => Coordinator::default()
            .with_key(key)
            .with_error_code(code.code())
            .with_error_message(Some(text(message)))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
        None => {
            let here = Coordinator::default().with_key(key).with_node_id(NODE_ID);
            here.with_host(c.client.host()).with_port(c.client.port())
        }
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}
