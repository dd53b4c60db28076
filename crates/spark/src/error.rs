//! What can go wrong between here and a cluster.

use std::time::Duration;

use thiserror::Error;
use turnstile_values::BoxError;

/// A failure; variants differ where callers act differently.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SparkError {
    /// There is no server, or the connection ended. Repeating is safe for everything but the start of a query.
    #[error("the Spark Connect server {server} cannot be reached")]
    Unreachable {
        /// `sc://host:port`.
        server: String,
        /// Why.
        #[source]
        why: BoxError,
    },
    /// No answer came in time. Whether the server did what was asked is not known.
    #[error("the Spark Connect server {server} did not answer within {} s", after.as_secs_f64())]
    Silent {
        /// `sc://host:port`.
        server: String,
        /// The limit.
        after: Duration,
    },
    /// The server does not accept the token or the user.
    #[error("the Spark Connect server {server} refuses access: {message}")]
    Refused {
        /// `sc://host:port`.
        server: String,
        /// Its words.
        message: String,
    },
    /// The server does not know the session any more: it was restarted, or closed the session. Its queries ended.
    #[error("the Spark Connect server {server} no longer has this session: {message}")]
    SessionLost {
        /// `sc://host:port`.
        server: String,
        /// Its words.
        message: String,
    },
    /// Spark says no.
    #[error("{}", spark_message(class, sql_state, message))]
    Spark {
        /// Spark's name of the error, such as `TABLE_OR_VIEW_NOT_FOUND`; the Java class if it has none.
        class: String,
        /// SQLSTATE.
        sql_state: Option<String>,
        /// Its words, without the class in front.
        message: String,
        /// The Java stack, outermost first; a line for each frame and each cause.
        stack: Vec<String>,
    },
    /// The rows of a table take more memory than they may.
    #[error("the rows of a table take more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Not what the protocol says.
    #[error("the Spark Connect server {server} answered in a way that this release does not know: {message}")]
    Protocol {
        /// `sc://host:port`.
        server: String,
        /// What is wrong.
        message: String,
    },
    /// TLS cannot be used as it was asked for.
    #[error("TLS for {server} cannot be prepared")]
    Tls {
        /// `sc://host:port`.
        server: String,
        /// Why.
        #[source]
        why: BoxError,
    },
}

fn spark_message(class: &str, sql_state: &Option<String>, message: &str) -> String {
    match sql_state {
        Some(state) => format!("Spark: [{class}] {message} (SQLSTATE {state})"),
        None => format!("Spark: [{class}] {message}"),
    }
}

impl SparkError {
    /// Whether the connection failed rather than what was asked: the same call may succeed later.
    pub fn is_of_the_connection(&self) -> bool {
        matches!(self, SparkError::Unreachable { .. } | SparkError::Silent { .. })
    }

    /// Whether server or session are gone, and the query with them for all that is known: it can be started again.
    pub fn lost_the_session(&self) -> bool {
        self.is_of_the_connection() || matches!(self, SparkError::SessionLost { .. })
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            SparkError::Unreachable { .. } => {
                Some("is the Spark Connect server running there? It is started by sbin/start-connect-server.sh")
            }
            SparkError::Refused { .. } => Some("renew the token, or ask the cluster's administrator for access"),
            SparkError::SessionLost { .. } => Some("start again: the query continues from its checkpoint"),
            SparkError::TooLarge { .. } => {
                Some("these are the messages of one batch that go to the dead letters: give [spark] memory more")
            }
            SparkError::Spark { message, .. } if lacks_kafka(message) => Some(
                "start the Connect server with the Kafka package of its release: \
                 --packages org.apache.spark:spark-sql-kafka-0-10_2.13:VERSION",
            ),
            _ => None,
        }
    }
}

/// Whether Spark says that it has no source called kafka.
fn lacks_kafka(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("data source") && message.contains("kafka") && message.contains("find")
        || message.contains("structured streaming + kafka")
}
