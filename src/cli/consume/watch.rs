//! Whether the topic is still the one that is read, and has the partitions that it had.

use std::time::{Duration, Instant};

use turnstile_kafka::{ClientError, KafkaConnection};

use crate::exit::Exit;
use crate::report::Failure;

/// How often the cluster is asked, and how long it may take to answer.
const EVERY: Duration = Duration::from_secs(3);
const WAIT: Duration = Duration::from_secs(1);

/// librdkafka is silent about an assigned topic that goes away, and reads on in one that was created anew.
pub(super) struct TopicWatch {
    connection: KafkaConnection,
    topic: String,
    /// `None` where the cluster gives topics no ids.
    id: Option<String>,
    looked_at: Instant,
    /// A broker that has just started may not know the topic yet: only a second miss counts.
    missed: bool,
}

impl TopicWatch {
    /// Notes which topic is read, and asks by `connection` from now on.
    ///
    /// # Errors
    /// That the topic or the broker is not there.
    pub(super) fn begin(connection: KafkaConnection, topic: &str) -> Result<Self, ClientError> {
        let id = connection.topic_ids(&[topic])?.remove(topic);
        let connection = connection.with_connect_timeout(WAIT);
        Ok(Self { connection, topic: topic.to_owned(), id, looked_at: Instant::now(), missed: false })
    }

    /// The topic's partitions, when it is time to look and the cluster answers.
    ///
    /// # Errors
    /// That the topic was deleted, or created anew.
    pub(super) fn poll(&mut self) -> Result<Option<Vec<i32>>, Failure> {
        if self.looked_at.elapsed() < EVERY {
            return Ok(None);
        }
        let ids = self.connection.topic_ids(&[&self.topic]);
        self.looked_at = Instant::now();
        let now = match ids {
            Err(ClientError::TopicMissing { .. }) if self.missed => return Err(self.gone("deleted")),
            Err(ClientError::TopicMissing { .. }) => {
                self.missed = true;
                return Ok(None);
            }
            // Whether the broker can be reached, and lets this client in, the reading itself finds out.
            Err(_) => return Ok(None),
            Ok(mut ids) => ids.remove(&self.topic),
        };
        self.missed = false;
        if let (Some(before), Some(now)) = (&self.id, &now)
            && before != now
        {
            return Err(self.gone("deleted and created anew"));
        }
        Ok(self.connection.topic_partitions(&self.topic).ok())
    }

    fn gone(&self, how: &str) -> Failure {
        Failure::new(Exit::SourceData, format!("topic {:?} was {how} while it was read", self.topic)).hint(
            "start again once the topic you mean is there; of one that was created anew, some may be printed already",
        )
    }
}
