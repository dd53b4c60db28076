//! Settings that cannot be used.

use std::io;
use std::path::PathBuf;

/// Settings that cannot be used. Never holds a value that may be secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
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
        /// What the file system says of the file that the value names.
        #[source]
        source: Option<io::Error>,
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

/// Why a value is refused. Never holds one that may be secret.
#[derive(Debug)]
pub(super) struct WrongValue {
    reason: String,
    source: Option<io::Error>,
}

impl WrongValue {
    /// The value names a file that cannot be read.
    pub(super) fn unreadable(file: &str, source: io::Error) -> Self {
        Self { reason: format!("{file} cannot be read"), source: Some(source) }
    }

    /// The error with the key, and where that was set.
    pub(super) fn at(self, origin: &str, key: &str) -> SettingsError {
        let Self { reason, source } = self;
        SettingsError::InvalidValue { origin: origin.to_owned(), key: key.to_owned(), reason, source }
    }
}

impl<T: Into<String>> From<T> for WrongValue {
    fn from(reason: T) -> Self {
        Self { reason: reason.into(), source: None }
    }
}
