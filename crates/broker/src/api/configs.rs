//! Settings of topics shown and changed; settings of the broker shown.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Replaced;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as Changed;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::{Context, NODE_ID, text};
use crate::topic_config::{FIXED, TopicConfig, described};
use crate::topics::{Refusal, Topic, unknown};

// Kinds of things that have settings.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
// Where a setting comes from.
const OF_TOPIC: i8 = 1;
const OF_BROKER: i8 = 4;
const BUILT_IN: i8 = 5;
// Kinds of values.
const STRING: i8 = 2;
const LONG: i8 = 5;
// What an incremental change does.
const SET: i8 = 0;
const DELETE: i8 = 1;

pub(super) fn describe(c: &Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|wanted| {
        let outcome = match wanted.resource_type {
            TOPIC => match c.node.topics.get(&wanted.resource_name) {
                Some(topic) => Ok(of_topic(c, &topic)),
                None => Err(unknown(&wanted.resource_name)),
            },
            BROKER if *wanted.resource_name == *NODE_ID.to_string() => Ok(of_broker(c)),
            _ => Err(Refusal::new(ResponseError::InvalidRequest, "only topics and broker 1 have settings")),
        };
        let answer = DescribeConfigsResult::default()
            .with_resource_type(wanted.resource_type)
            .with_resource_name(wanted.resource_name)
            .with_error_message(None);
        match outcome {
            Ok(mut configs) => {
                if let Some(keys) = wanted.configuration_keys.filter(|keys| !keys.is_empty()) {
                    configs.retain(|config| keys.contains(&config.name));
                }
                if !request.include_synonyms {
                    configs.iter_mut().for_each(|config| config.synonyms.clear());
                }
                answer.with_configs(configs)
            }
            Err(refusal) => answer.with_error_code(refusal.code.code()).with_error_message(Some(text(&refusal.why))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// All settings that apply to `topic`.
pub(super) fn of_topic(c: &Context, topic: &Topic) -> Vec<DescribeConfigsResourceResult> {
    let chosen = topic.config();
    let limits = described(&c.node.topics.limits(topic)).into_iter().map(|(key, value)| {
        let source = if chosen.get(key).is_some() { OF_TOPIC } else { OF_BROKER };
        setting(key, &value.to_string(), source, LONG)
    });
    limits.chain(FIXED.iter().map(|(key, value)| setting(key, value, BUILT_IN, STRING).with_read_only(true))).collect()
}

fn of_broker(c: &Context) -> Vec<DescribeConfigsResourceResult> {
    let defaults = described(&c.node.topics.defaults()).into_iter().map(|(key, value)| {
        let key = if key == "max.message.bytes" { "message.max.bytes".to_owned() } else { format!("log.{key}") };
        setting(&key, &value.to_string(), OF_BROKER, LONG)
    });
    let settings = &c.node.settings;
    let more = [
        ("auto.create.topics.enable", settings.auto_create_topics.to_string()),
        ("num.partitions", settings.default_partitions.to_string()),
        ("default.replication.factor", "1".to_owned()),
    ];
    let more = more.iter().map(|(key, value)| setting(key, value, OF_BROKER, STRING));
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

/// AlterConfigs: what is not named goes back to the default.
pub(super) fn replace(c: &Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let responses = request.resources.into_iter().map(|wanted| {
        let outcome = alter(c, wanted.resource_type, &wanted.resource_name, request.validate_only, |config| {
            *config = TopicConfig::default();
            wanted.configs.iter().try_for_each(|entry| config.set(&entry.name, value(&entry.value)))
        });
        let answer =
            Replaced::default().with_resource_type(wanted.resource_type).with_resource_name(wanted.resource_name);
        let (code, why) = told(outcome);
        answer.with_error_code(code).with_error_message(why)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// IncrementalAlterConfigs: what is not named stays.
pub(super) fn change(c: &Context, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.into_iter().map(|wanted| {
        let outcome = alter(c, wanted.resource_type, &wanted.resource_name, request.validate_only, |config| {
            wanted.configs.iter().try_for_each(|entry| match entry.config_operation {
                SET => config.set(&entry.name, value(&entry.value)),
                DELETE => {
                    config.unset(&entry.name);
                    Ok(())
                }
                _ => Err(Refusal::new(ResponseError::InvalidRequest, format!("{} is no list", &*entry.name))),
            })
        });
        let answer =
            Changed::default().with_resource_type(wanted.resource_type).with_resource_name(wanted.resource_name);
        let (code, why) = told(outcome);
        answer.with_error_code(code).with_error_message(why)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn alter(
    c: &Context,
    kind: i8,
    name: &str,
    dry: bool,
    change: impl FnOnce(&mut TopicConfig) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if kind != TOPIC {
        return Err(Refusal::new(ResponseError::InvalidRequest, "only settings of topics can be changed"));
    }
    c.node.topics.configure(name, dry, change)
}

fn value(from: &Option<StrBytes>) -> &str {
    from.as_deref().unwrap_or_default()
}

fn told(outcome: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    outcome.map_or_else(|refusal| (refusal.code.code(), Some(text(&refusal.why))), |()| (0, None))
}
