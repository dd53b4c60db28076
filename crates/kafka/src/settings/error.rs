//! Settings that cannot be used.

use std::path::PathBuf;

/// Settings that cannot be used. Never holds a value that may be secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of the file is not `key=value`.
    #[error("{}:{line}: {reason}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// librdkafka does not know the key.
    #[error("{origin}: unknown Kafka client key `{key}`{hint}")]
    UnknownKey {
        /// Where the key was set: `file:line`, or the name of the map.
        origin: String,
        /// The key.
        key: String,
        /// The nearest known key or what to write instead, with its punctuation; may be empty.
        hint: String,
    },
    /// librdkafka does not accept the value.
    #[error("{origin}: `{key}`: {reason}")]
    InvalidValue {
        /// Where the key was set.
        origin: String,
        /// The key.
        key: String,
        /// Why the value is refused.
        reason: String,
    },
    /// No broker is named.
    #[error("{origin}: `bootstrap.servers` is missing")]
    NoServers {
        /// Where it was looked for.
        origin: String,
    },
    /// A key is missing that another one needs.
    #[error("{origin}: `{key}` is missing: {reason}")]
    Missing {
        /// Where it was looked for.
        origin: String,
        /// The key.
        key: String,
        /// Why it is needed.
        reason: String,
    },
    /// The keys do not fit together.
    #[error("the Kafka client refused its settings ({origin}): {reason}")]
    Refused {
        /// Where the settings came from.
        origin: String,
        /// librdkafka's reason.
        reason: String,
    },
}
