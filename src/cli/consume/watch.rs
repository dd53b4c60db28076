//! Whether the topic is still the one that is read, and which partitions it has.

use std::time::{Duration, Instant};

use turnstile_kafka::{ClientError, KafkaConnection, LostTopic, TopicIdentityWatch};

use crate::exit::Exit;
use crate::report::Failure;

/// How often the cluster is asked, and how long it may take to answer.
const EVERY: Duration = Duration::from_secs(3);
const WAIT: Duration = Duration::from_secs(1);
/// How often in a row the topic must be missing before it counts as deleted.
const MISSES: u32 = 2;

/// Asks the cluster about the topic now and then.
pub(super) struct TopicWatch {
    connection: KafkaConnection,
    topic: String,
    identity: TopicIdentityWatch,
    asked_at: Instant,
}

impl TopicWatch {
    /// Notes which topic is read, and asks by `connection` from now on.
    ///
    /// # Errors
    /// The topic does not exist, or no broker answers.
    pub(super) fn begin(connection: KafkaConnection, topic: &str) -> Result<Self, ClientError> {
        let identity = TopicIdentityWatch::new(connection.topic_ids(&[topic])?, MISSES);
        let connection = connection.with_connect_timeout(WAIT);
        Ok(Self { connection, topic: topic.to_owned(), identity, asked_at: Instant::now() })
    }

    /// The topic's partitions, when it is time to ask and the cluster answers.
    ///
    /// # Errors
    /// The topic was deleted or recreated.
    pub(super) fn poll(&mut self) -> Result<Option<Vec<i32>>, Failure> {
        if self.asked_at.elapsed() < EVERY {
            return Ok(None);
        }
        let answer = self.connection.topic_ids(&[&self.topic]);
        self.asked_at = Instant::now();
        if let Some(lost) = self.identity.observe(&answer) {
            return Err(failure(&lost));
        }
        // Whether the broker can be reached, and lets this client in, the reading itself finds out.
        Ok(answer.and_then(|_| self.connection.topic_partitions(&self.topic)).ok())
    }
}

fn failure(lost: &LostTopic) -> Failure {
    let (topic, change) = match lost {
        LostTopic::Deleted { topic } => (topic, "deleted"),
        LostTopic::Recreated { topic, .. } => (topic, "deleted and recreated"),
    };
    Failure::new(Exit::SourceData, format!("topic {topic:?} was {change} while it was read"))
        .hint("start again once the topic exists; some messages of a recreated topic may have been printed already")
}
