//! Settings of topics described and altered; settings of the broker described.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::context::{NODE_ID, RequestContext, text};
use crate::request_error::RequestError;
use crate::topic_config::{FIXED, TopicConfig, config_entries};
use crate::topics::Topic;

// Types of resources that have settings.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
// Where a setting comes from.
const TOPIC_SOURCE: i8 = 1;
const BROKER_SOURCE: i8 = 4;
const DEFAULT_SOURCE: i8 = 5;
// Types of values.
const STRING: i8 = 2;
const LONG: i8 = 5;
// Operations of an incremental change.
const SET: i8 = 0;
const DELETE: i8 = 1;

pub(super) fn describe_configs(c: &RequestContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|wanted| {
        let outcome = match wanted.resource_type {
            TOPIC => match c.broker.topics.get(&wanted.resource_name) {
                Some(topic) => Ok(topic_configs(c, &topic)),
                None => Err(RequestError::unknown_topic(&wanted.resource_name)),
            },
            BROKER if *wanted.resource_name == *NODE_ID.to_string() => Ok(broker_configs(c)),
            _ => Err(RequestError::new(ResponseError::InvalidRequest, "only topics and broker 1 have settings")),
        };
        let response = DescribeConfigsResult::default()
            .with_resource_type(wanted.resource_type)
            .with_resource_name(wanted.resource_name)
            .with_error_message(None);
        let (code, message) = RequestError::fields(&outcome);
        match outcome {
            Ok(mut configs) => {
                if let Some(keys) = wanted.configuration_keys.filter(|keys| !keys.is_empty()) {
                    configs.retain(|config| keys.contains(&config.name));
                }
                if !request.include_synonyms {
                    configs.iter_mut().for_each(|config| config.synonyms.clear());
                }
                response.with_configs(configs)
            }
            Err(_) => response.with_error_code(code).with_error_message(message),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// All settings that apply to `topic`.
pub(super) fn topic_configs(c: &RequestContext, topic: &Topic) -> Vec<DescribeConfigsResourceResult> {
    let chosen = topic.config();
    let limits = config_entries(&c.broker.topics.limits(topic)).into_iter().map(|(key, value)| {
        let source = if chosen.get(key).is_some() { TOPIC_SOURCE } else { BROKER_SOURCE };
        setting(key, &value.to_string(), source, LONG)
    });
    limits
        .chain(FIXED.iter().map(|(key, value)| setting(key, value, DEFAULT_SOURCE, STRING).with_read_only(true)))
        .collect()
}

fn broker_configs(c: &RequestContext) -> Vec<DescribeConfigsResourceResult> {
    let defaults = config_entries(&c.broker.topics.defaults()).into_iter().map(|(key, value)| {
        let key = if key == "max.message.bytes" { "message.max.bytes".to_owned() } else { format!("log.{key}") };
        setting(&key, &value.to_string(), BROKER_SOURCE, LONG)
    });
    let settings = &c.broker.settings;
    let more = [
        ("auto.create.topics.enable", settings.auto_create_topics.to_string()),
        ("num.partitions", settings.default_partitions.to_string()),
        ("default.replication.factor", "1".to_owned()),
    ];
    let more = more.iter().map(|(key, value)| setting(key, value, BROKER_SOURCE, STRING));
    defaults.chain(more).map(|config| config.with_read_only(true)).collect()
}

fn setting(key: &str, value: &str, source: i8, kind: i8) -> DescribeConfigsResourceResult {
    let (key, value) = (text(key), Some(text(value)));
    let itself = DescribeConfigsSynonym::default().with_name(key.clone()).with_value(value.clone()).with_source(source);
    DescribeConfigsResourceResult::default()
        .with_name(key)
        .with_value(value)
        .with_config_source(source)
        .with_config_type(kind)
        .with_synonyms(vec![itself])
        .with_documentation(None)
}

/// What is not named is reset to its default.
pub(super) fn alter_configs(c: &RequestContext, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let responses = request.resources.into_iter().map(|wanted| {
        let outcome = update_config(c, wanted.resource_type, &wanted.resource_name, request.validate_only, |config| {
            *config = TopicConfig::default();
            wanted.configs.iter().try_for_each(|entry| config.set(&entry.name, value(&entry.value)))
        });
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(wanted.resource_type)
            .with_resource_name(wanted.resource_name);
        let (code, message) = RequestError::fields(&outcome);
        response.with_error_code(code).with_error_message(message)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// What is not named stays.
pub(super) fn incremental_alter_configs(
    c: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.into_iter().map(|wanted| {
        let outcome = update_config(c, wanted.resource_type, &wanted.resource_name, request.validate_only, |config| {
            wanted.configs.iter().try_for_each(|entry| match entry.config_operation {
                SET => config.set(&entry.name, value(&entry.value)),
                DELETE => {
                    config.unset(&entry.name);
                    Ok(())
                }
                _ => Err(RequestError::new(ResponseError::InvalidRequest, format!("{} is not a list", &*entry.name))),
            })
        });
        let response = IncrementalResponse::default()
            .with_resource_type(wanted.resource_type)
            .with_resource_name(wanted.resource_name);
        let (code, message) = RequestError::fields(&outcome);
        response.with_error_code(code).with_error_message(message)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn update_config(
    c: &RequestContext,
    kind: i8,
    name: &str,
    validate_only: bool,
    change: impl FnOnce(&mut TopicConfig) -> Result<(), RequestError>,
) -> Result<(), RequestError> {
    if kind != TOPIC {
        return Err(RequestError::new(ResponseError::InvalidRequest, "only settings of topics can be changed"));
    }
    c.broker.topics.configure(name, validate_only, change)
}

fn value(from: &Option<StrBytes>) -> &str {
    from.as_deref().unwrap_or_default()
}
