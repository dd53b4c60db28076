//! Brings changes of alerts to the log, to listeners in the process and to a webhook.

use parking_lot::Mutex;
use serde::Serialize;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use turnstile_values::{Secret, human};

use crate::outbox::{HttpOutbox, OUTBOX_RETRIES, OutboxCounts, OutboxError, OutboxSettings};

use super::rule::{AlertChange, AlertSeverity};

/// Alerts that may wait for a webhook that is away; the oldest go first.
pub const WEBHOOK_CAPACITY: usize = 256;
const WEBHOOK_CAPACITY_BYTES: usize = 1 << 20;

/// Where alerts go.
#[derive(Debug, Default)]
pub struct AlertDelivery {
    webhook: Option<HttpOutbox>,
    listeners: Mutex<Vec<mpsc::Sender<AlertChange>>>,
}

/// The webhook's body; docs/alerts.md describes it.
#[derive(Debug, Serialize)]
struct WebhookBody<'a> {
    version: u32,
    status: &'static str,
    /// The same in both changes of one alert.
    id: String,
    pipeline: &'a str,
    rule: &'a str,
    severity: AlertSeverity,
    subject: Option<&'a str>,
    summary: &'a str,
    value: Option<f64>,
    threshold: Option<f64>,
    since: String,
    at: String,
    /// What chat services show.
    text: String,
}

impl AlertDelivery {
    /// To the log and to listeners.
    pub fn new() -> Self {
        Self::default()
    }

    /// To a webhook as well. Its URL may hold a password.
    ///
    /// # Errors
    /// The URL or a header is not one.
    pub fn with_webhook(
        self,
        url: Secret,
        headers: Vec<(String, Secret)>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, OutboxError> {
        let settings = OutboxSettings {
            name: "the alerts' webhook",
            url,
            headers,
            content_type: "application/json",
            capacity: WEBHOOK_CAPACITY,
            capacity_bytes: WEBHOOK_CAPACITY_BYTES,
            retries: OUTBOX_RETRIES,
        };
        Ok(Self { webhook: Some(HttpOutbox::start(settings, runtime)?), ..self })
    }

    /// Adds a listener in the process, such as the console; at most `capacity` changes wait for it, and later ones are lost to it.
    pub fn subscribe(&self, capacity: usize) -> mpsc::Receiver<AlertChange> {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        self.listeners.lock().push(sender);
        receiver
    }

    /// Logs a change, and sends it everywhere. Never waits.
    pub fn deliver(&self, change: &AlertChange) {
        let alert = change.alert();
        match change {
            AlertChange::Fired(_) => {
                tracing::warn!(pipeline = alert.pipeline, "alert {}: {}", alert.rule, alert.summary)
            }
            AlertChange::Resolved(_) => tracing::info!(pipeline = alert.pipeline, "alert {} is resolved", alert.rule),
        }
        self.deliver_without_log(change);
    }

    /// Sends a change everywhere but to the log, where its cause stands already. Never waits.
    pub fn deliver_without_log(&self, change: &AlertChange) {
        if let Some(webhook) = &self.webhook {
            webhook.push(webhook_body(change));
        }
        let still_there = |listener: &mpsc::Sender<AlertChange>| {
            !matches!(listener.try_send(change.clone()), Err(TrySendError::Closed(_)))
        };
        self.listeners.lock().retain(still_there);
    }

    /// What became of the webhook's alerts so far, if there is one.
    pub fn webhook_counts(&self) -> Option<OutboxCounts> {
        self.webhook.as_ref().map(HttpOutbox::counts)
    }

    /// Sends what waits for the webhook, for at most `within`.
    pub async fn close(self, within: Duration) -> Option<OutboxCounts> {
        match self.webhook {
            Some(webhook) => Some(webhook.close(within).await),
            None => None,
        }
    }
}

fn webhook_body(change: &AlertChange) -> Vec<u8> {
    let (status, alert) = match change {
        AlertChange::Fired(alert) => ("fired", alert),
        AlertChange::Resolved(alert) => ("resolved", alert),
    };
    let subject = alert.subject.as_deref();
    let name = [Some(alert.pipeline.as_str()), Some(&alert.rule), subject].into_iter().flatten();
    let name = name.collect::<Vec<_>>().join("/");
    let body = WebhookBody {
        version: 1,
        status,
        id: format!("{name}/{}", alert.since_us),
        pipeline: &alert.pipeline,
        rule: &alert.rule,
        severity: alert.severity,
        subject,
        summary: &alert.summary,
        value: alert.value,
        threshold: alert.threshold,
        since: human::instant(alert.since_us),
        at: human::instant(alert.at_us),
        text: format!("{status}: {name}: {}", alert.summary),
    };
    // Numbers and text always have a JSON form.
    serde_json::to_vec(&body).unwrap_or_default()
}
