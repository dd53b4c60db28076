//! How long to wait between attempts, and when to give up: arithmetic only, the caller has the clock.

use std::time::Duration;

/// Waits that double from `first_wait` to `longest_wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Before the second attempt.
    pub first_wait: Duration,
    /// No wait is longer.
    pub longest_wait: Duration,
    /// No attempt begins once this much time has passed since the first failure; `None`: attempts continue for ever.
    pub give_up_after: Option<Duration>,
}

impl RetryPolicy {
    /// A policy that never gives up.
    pub const fn new(first_wait: Duration, longest_wait: Duration) -> Self {
        Self { first_wait, longest_wait, give_up_after: None }
    }

    /// The same, with an end.
    #[must_use]
    pub const fn give_up_after(self, limit: Duration) -> Self {
        Self { give_up_after: Some(limit), ..self }
    }

    /// The waits from the first failure on.
    pub fn waits(self) -> RetryWaits {
        RetryWaits { policy: self, wait: self.first_wait }
    }
}

/// The waits of one operation, in turn.
#[derive(Debug, Clone)]
pub struct RetryWaits {
    policy: RetryPolicy,
    wait: Duration,
}

impl RetryWaits {
    /// The wait before the next attempt, when the first one failed `elapsed` ago; `None`: give up.
    pub fn next_after(&mut self, elapsed: Duration) -> Option<Duration> {
        match self.policy.give_up_after {
            Some(limit) if elapsed >= limit => None,
            _ => self.next(),
        }
    }

    /// Begins again with the first wait: an attempt succeeded.
    pub fn reset(&mut self) {
        self.wait = self.policy.first_wait;
    }
}

/// The waits themselves, without end: [`RetryWaits::next_after`] knows when to give up.
impl Iterator for RetryWaits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.wait.min(self.policy.longest_wait);
        self.wait = wait.saturating_mul(2);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy::new(Duration::from_secs(1), Duration::from_secs(5)).give_up_after(Duration::from_secs(60));

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again_after_a_success() {
        let mut waits = POLICY.waits();
        let secs: Vec<u64> = waits.by_ref().take(5).map(|wait| wait.as_secs()).collect();
        assert_eq!(secs, [1, 2, 4, 5, 5]);
        waits.reset();
        assert_eq!(waits.next(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn no_attempt_begins_after_the_limit() {
        let mut waits = POLICY.waits();
        assert_eq!(waits.next_after(Duration::from_secs(59)), Some(Duration::from_secs(1)));
        assert_eq!(waits.next_after(Duration::from_secs(60)), None);
    }
}
