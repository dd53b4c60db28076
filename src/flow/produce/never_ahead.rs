//! A provider whose readings are never ahead of the clock: readings from the future would be rejected.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;
use turnstile_kafka::{ProducerRecord, Provider, ProviderError, SkippedRows, pause};

/// `provider`, waiting for the clock where its event time has caught up.
pub(crate) struct NeverAhead {
    provider: Box<dyn Provider>,
    shutdown: CancellationToken,
}

impl NeverAhead {
    /// Ends with `shutdown`.
    pub(crate) fn new(provider: Box<dyn Provider>, shutdown: CancellationToken) -> Self {
        Self { provider, shutdown }
    }
}

impl Provider for NeverAhead {
    fn name(&self) -> &'static str {
        self.provider.name()
    }

    fn total(&self) -> Option<u64> {
        self.provider.total()
    }

    fn next(&mut self, record: &mut ProducerRecord) -> Result<bool, ProviderError> {
        let more = self.provider.next(record)?;
        // Again after each pause: the wall clock may be set meanwhile.
        while let Some(ahead_ms) = Some(ahead_ms(record)).filter(|ms| more && *ms > 0) {
            if pause(Duration::from_millis(ahead_ms.unsigned_abs()), &self.shutdown) {
                return Ok(false);
            }
        }
        Ok(more)
    }

    fn skipped_rows(&self) -> SkippedRows {
        self.provider.skipped_rows()
    }
}

fn ahead_ms(record: &ProducerRecord) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    record.event_at_ms - now
}
