//! Why a request was not carried out, as a client learns it.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

/// The protocol's code and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestError {
    pub(crate) code: ResponseError,
    pub(crate) message: String,
}

impl RequestError {
    pub(crate) fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn unknown_topic(name: &str) -> Self {
        Self::new(ResponseError::UnknownTopicOrPartition, format!("topic '{name}' does not exist"))
    }

    /// The two fields of a response that carry an outcome: 0 and nothing after a success.
    pub(crate) fn fields<T>(outcome: &Result<T, Self>) -> (i16, Option<StrBytes>) {
        match outcome {
            Ok(_) => (0, None),
            Err(error) => (error.code.code(), Some(StrBytes::from_string(error.message.clone()))),
        }
    }
}
