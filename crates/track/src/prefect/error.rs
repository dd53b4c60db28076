//! What can go wrong with a request to Prefect.

use std::time::Duration;

/// An error of a request. Its text never holds a key.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PrefectError {
    /// The settings are wrong; no request was sent.
    #[error("the settings of Prefect are wrong: {0}")]
    Settings(String),
    /// The server cannot be reached; try again later.
    #[error("the Prefect server cannot be reached: {cause}")]
    Away {
        /// Why.
        cause: String,
        /// Whether the server may have carried out the request all the same.
        sent: bool,
    },
    /// The server is busy, or a proxy before it; try again later.
    #[error("the Prefect server answered {status}")]
    Busy {
        /// Its answer.
        status: u16,
        /// How long it asks to wait.
        after: Option<Duration>,
    },
    /// The key is missing, wrong or not allowed to do this; a person has to act.
    #[error("the Prefect server answered {status}: check the key (`PREFECT_API_KEY`), and what it is allowed to do")]
    Key {
        /// Its answer.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// The server will never take this request; go on with the next.
    #[error("the Prefect server refused it with {status}: {detail}")]
    Refused {
        /// Its answer.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// A block is not there, or does not hold what it should; a person has to act.
    #[error("block {block} of the Prefect server {reason}")]
    Block {
        /// `TYPE/NAME`.
        block: String,
        /// What is wrong with it; never a value of it.
        reason: String,
    },
    /// What answers is no Prefect server, or not one that is known here; try again later.
    #[error("the Prefect server answered {0}")]
    Garbage(String),
}

impl PrefectError {
    /// Whether the same request can succeed later without a change.
    pub(super) fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Settings(_) | Self::Block { .. })
    }

    /// Whether the server may have carried out the request.
    pub(super) fn may_have_arrived(&self) -> bool {
        match self {
            Self::Away { sent, .. } => *sent,
            Self::Busy { status, .. } => !matches!(status, 425 | 429),
            Self::Garbage(_) => true,
            Self::Settings(_) | Self::Key { .. } | Self::Refused { .. } | Self::Block { .. } => false,
        }
    }

    /// The wait that the server asks for.
    pub(super) fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::Busy { after, .. } => *after,
            _ => None,
        }
    }
}
