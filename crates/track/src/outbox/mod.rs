//! Posts bodies to one URL without ever making the sender wait: alerts, lineage and telemetry leave through here.
//!
//! In: bodies. Out: HTTP POST requests, one after another, in order. Bodies wait in memory, within two limits; when either is
//! exceeded the oldest are dropped and counted. Knows nothing of what bodies mean. Start at [`HttpOutbox::start`].
//!
//! A server that is away, overloaded (408, 429, 5xx) or slow is tried again with growing waits, for ever; one that refuses a
//! body (any other status) gets the next one. An outage is logged once when it begins and once when it ends.

mod queue;
mod sender;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use turnstile_values::{RetryPolicy, Secret};

use queue::OutboxQueue;
use sender::OutboxSender;

/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Waits while a server is away.
pub const OUTBOX_RETRIES: RetryPolicy = RetryPolicy::new(Duration::from_secs(1), Duration::from_secs(60));

/// Where an outbox posts to, and how much may wait.
#[derive(Debug, Clone)]
pub struct OutboxSettings {
    /// What it is, for the log: `the alerts' webhook`.
    pub name: &'static str,
    /// `http://` or `https://`. Part of it may be a password: it is neither logged nor part of an error.
    pub url: Secret,
    /// Headers beside `Content-Type`, such as `Authorization`.
    pub headers: Vec<(String, Secret)>,
    /// `Content-Type` of every body.
    pub content_type: &'static str,
    /// At most so many bodies wait.
    pub capacity: usize,
    /// At most so many bytes wait.
    pub capacity_bytes: usize,
    /// Waits after a failure; usually [`OUTBOX_RETRIES`].
    pub retries: RetryPolicy,
}

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The URL is not one, or its scheme is another.
    #[error("the URL of {name} is not an http:// or https:// address")]
    Url {
        /// [`OutboxSettings::name`].
        name: &'static str,
    },
    /// A header's name or value has characters that HTTP does not allow.
    #[error("the header {header:?} of {name} is not one that HTTP allows")]
    Header {
        /// [`OutboxSettings::name`].
        name: &'static str,
        /// Its name.
        header: String,
    },
    /// The HTTP client cannot be built, such as for missing certificates.
    #[error("the HTTP client of {name} cannot be built")]
    Client {
        /// [`OutboxSettings::name`].
        name: &'static str,
        /// Why.
        source: reqwest::Error,
    },
}

/// What became of the bodies so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// The server took them.
    pub delivered: u64,
    /// The server refused them; they are gone.
    pub refused: u64,
    /// They did not fit in while the server was away; they are gone.
    pub dropped: u64,
    /// They wait, or are being sent.
    pub waiting: usize,
}

/// Sends bodies to one URL. Dropping it ends the sending at once; [`HttpOutbox::close`] sends what waits.
#[derive(Debug)]
pub struct HttpOutbox {
    queue: Arc<OutboxQueue>,
    task: tokio::task::JoinHandle<()>,
}

impl HttpOutbox {
    /// Starts sending on `runtime`.
    ///
    /// # Errors
    /// The settings cannot work. Whether the server answers is not tried here.
    pub fn start(settings: OutboxSettings, runtime: &tokio::runtime::Handle) -> Result<Self, OutboxError> {
        let queue = Arc::new(OutboxQueue::new(settings.capacity, settings.capacity_bytes));
        let sender = OutboxSender::new(settings, Arc::clone(&queue))?;
        Ok(Self { queue, task: runtime.spawn(sender.run()) })
    }

    /// Queues a body. Never waits.
    pub fn push(&self, body: Vec<u8>) {
        self.queue.push(body);
    }

    /// What became of the bodies so far.
    pub fn counts(&self) -> OutboxCounts {
        self.queue.counts()
    }

    /// Sends what waits, for at most `within`, and ends. Returns the final counts: what still waits then is lost.
    pub async fn close(mut self, within: Duration) -> OutboxCounts {
        self.queue.close();
        // A server that is away at the end does not hold up the end.
        let _ = tokio::time::timeout(within, &mut self.task).await;
        self.queue.counts()
    }
}

impl Drop for HttpOutbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}
