//! Creates, lists, describes and deletes topics; every call waits for the cluster's answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use turnstile_message::TopicPartition;

use crate::connection::{KafkaConnection, creation_error, failure};
use crate::error::{ClientError, topic_error};
use crate::link::LinkContext;
use crate::pause::block_on;
use crate::settings::ClientSettings;

/// How long a broker may take to carry out a change.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the brokers may take to list a topic that their controller has created.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// Administers topics.
pub struct TopicAdmin {
    admin: AdminClient<LinkContext>,
    connection: KafkaConnection,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopicPlan {
    /// Its name.
    pub topic: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Copies of each partition; -1 is the broker's default.
    pub replication: i32,
    /// Topic settings, such as `retention.ms`.
    pub config: Vec<(String, String)>,
}

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub topic: String,
    /// Its partitions, ascending.
    pub partitions: Vec<PartitionDescription>,
    /// Settings that differ from the broker's defaults; empty where the broker does not report them.
    pub config: Vec<(String, String)>,
}

/// A partition as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it; -1 when none does.
    pub leader: i32,
    /// Brokers that hold a copy.
    pub replicas: Vec<i32>,
    /// Brokers whose copy is complete.
    pub in_sync: Vec<i32>,
    /// First offset held.
    pub low: i64,
    /// Offset after the last one.
    pub high: i64,
}

impl TopicAdmin {
    /// A client with these settings; does no I/O.
    ///
    /// # Errors
    /// `Settings` when librdkafka does not take the settings together.
    pub fn open(settings: &ClientSettings) -> Result<Self, ClientError> {
        let connection = KafkaConnection::open(settings)?;
        let config = settings.config(&[("reconnect.backoff.max.ms", "2000")], &[]);
        // The connection watches the link: it is used first, and the admin client's events are not polled.
        let context = LinkContext(Arc::new(crate::link::BrokerLink::new(settings.servers())));
        let admin = AdminClient::from_config_and_context(&config, context).map_err(|e| creation_error(settings, &e))?;
        Ok(Self { admin, connection })
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// `TopicExists`; `TopicForbidden`; or that no broker answers.
    pub fn create(&self, plan: &NewTopicPlan) -> Result<(), ClientError> {
        self.connection.metadata(Some(&plan.topic))?;
        let mut topic = NewTopic::new(&plan.topic, plan.partitions, TopicReplication::Fixed(plan.replication));
        for (key, value) in &plan.config {
            topic = topic.set(key, value);
        }
        let results = block_on(self.admin.create_topics([&topic], &options()));
        self.check_result(results, "create", &plan.topic)?;
        self.await_visible(&plan.topic)
    }

    /// Waits until the brokers list a created topic: the controller knows it first.
    fn await_visible(&self, topic: &str) -> Result<(), ClientError> {
        let began = Instant::now();
        loop {
            match self.connection.topic_partitions(topic) {
                Err(ClientError::TopicMissing { .. }) if began.elapsed() < VISIBLE_WITHIN => {
                    // A broker sends no news of a topic.
                    self.connection.settings().pause(Duration::from_millis(20));
                }
                // A client that may create a topic need not be allowed to describe it.
                Ok(_) | Err(ClientError::TopicForbidden { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Creates the topic unless it exists; `true` when it did not.
    ///
    /// # Errors
    /// As for [`TopicAdmin::create`].
    pub fn create_if_missing(&self, plan: &NewTopicPlan) -> Result<bool, ClientError> {
        match self.connection.topic_partitions(&plan.topic) {
            Ok(_) => return Ok(false),
            Err(ClientError::TopicMissing { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.create(plan) {
            Ok(()) => Ok(true),
            // Another process was faster.
            Err(ClientError::TopicExists { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a topic with all its records.
    ///
    /// # Errors
    /// `TopicMissing`; `TopicForbidden`; or that no broker answers.
    pub fn delete(&self, topic: &str) -> Result<(), ClientError> {
        self.connection.topic_partitions(topic)?;
        let results = block_on(self.admin.delete_topics(&[topic], &options()));
        self.check_result(results, "delete", topic)
    }

    /// Names and partition counts of all topics that this client may see, by name; the cluster's own topics (their names
    /// begin with `__`) are left out.
    ///
    /// # Errors
    /// That no broker answers.
    pub fn list(&self) -> Result<Vec<(String, usize)>, ClientError> {
        let metadata = self.connection.metadata(None)?;
        let mut topics: Vec<_> = metadata
            .topics()
            .iter()
            .filter(|topic| !topic.name().starts_with("__"))
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect();
        topics.sort();
        Ok(topics)
    }

    /// Partitions, watermarks and settings of a topic.
    ///
    /// # Errors
    /// `TopicMissing`; `TopicForbidden`; or that no broker answers.
    pub fn describe(&self, topic: &str) -> Result<TopicDescription, ClientError> {
        let ids = self.connection.topic_partitions(topic)?;
        let asked: Vec<_> = ids.iter().map(|id| TopicPartition::new(topic, *id)).collect();
        let watermarks = self.connection.watermarks(&asked)?;
        let metadata = self.connection.metadata(Some(topic))?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let known = found.map(|t| t.partitions()).unwrap_or_default();
        let partitions = ids
            .into_iter()
            .zip(watermarks)
            .map(|(partition, (low, high))| {
                let known = known.iter().find(|p| p.id() == partition);
                PartitionDescription {
                    partition,
                    leader: known.map_or(-1, |p| p.leader()),
                    replicas: known.map(|p| p.replicas().to_vec()).unwrap_or_default(),
                    in_sync: known.map(|p| p.isr().to_vec()).unwrap_or_default(),
                    low,
                    high,
                }
            })
            .collect();
        Ok(TopicDescription { topic: topic.to_owned(), partitions, config: self.own_config(topic) })
    }

    /// How long the topic keeps a message, in milliseconds, its own setting or the broker's default. `None`: for ever,
    /// or this client may not see it.
    pub fn retention_ms(&self, topic: &str) -> Option<i64> {
        let answer = block_on(self.admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options()));
        let resource = answer.ok()?.pop()?.ok()?;
        let deletes =
            resource.get("cleanup.policy").and_then(|e| e.value.as_deref()).is_none_or(|v| v.contains("delete"));
        let retention = resource.get("retention.ms")?.value.as_deref()?.parse().ok()?;
        (deletes && retention >= 0).then_some(retention)
    }

    /// A client may be allowed to describe a topic but not its settings, so a refusal leaves them out.
    fn own_config(&self, topic: &str) -> Vec<(String, String)> {
        let answer = block_on(self.admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options()));
        let Some(Ok(resource)) = answer.ok().and_then(|mut all| all.pop()) else { return Vec::new() };
        let mut config: Vec<_> = resource
            .entries
            .into_iter()
            .filter(|entry| !entry.is_default && !entry.is_sensitive)
            .filter(|entry| matches!(entry.source, rdkafka::admin::ConfigSource::DynamicTopic))
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect();
        config.sort();
        config
    }

    fn check_result(
        &self,
        results: Result<Vec<TopicResult>, KafkaError>,
        verb: &str,
        topic: &str,
    ) -> Result<(), ClientError> {
        let action = || format!("{verb} topic \"{topic}\"");
        match results {
            Ok(results) => match results.into_iter().next() {
                Some(Ok(_)) => Ok(()),
                Some(Err((_, code))) => Err(topic_error(code, topic).unwrap_or_else(|| failure(action(), code))),
                None => Err(failure(action(), "the broker's response does not mention it")),
            },
            Err(KafkaError::AdminOp(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut,
            )) => Err(failure(
                action(),
                "the connection was lost before the broker answered; list the topics to see whether it was done",
            )),
            Err(error) => Err(failure(action(), error)),
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(OPERATION_TIMEOUT))
        .request_timeout(Some(OPERATION_TIMEOUT + Duration::from_secs(5)))
}
