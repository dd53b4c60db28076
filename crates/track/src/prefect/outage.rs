//! When to try again, and what to say of it: one line when an outage begins, one when it is over. Time is given.

use std::time::{Duration, Instant};

use turnstile_values::{RetryPolicy, RetryWaits};

/// The waits between tries while the server is away.
const POLICY: RetryPolicy = RetryPolicy::new(Duration::from_secs(1), Duration::from_secs(60));
/// The server may ask for a longer wait, up to this.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// What to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OutageLine {
    /// It began, for this reason.
    Began(String),
    /// It is over; it lasted this long.
    Over(Duration),
}

/// The state of the connection.
#[derive(Debug)]
pub(super) struct PrefectOutage {
    waits: RetryWaits,
    since: Option<Instant>,
    until: Option<Instant>,
}

impl PrefectOutage {
    /// A connection that is not known to fail.
    pub(super) fn new() -> Self {
        Self { waits: POLICY.waits(), since: None, until: None }
    }

    /// A try failed because of `cause`; the server may have asked for a wait. The next try is after the wait.
    pub(super) fn failed(&mut self, cause: &str, asked: Option<Duration>, now: Instant) -> Option<OutageLine> {
        let wait = match asked {
            Some(asked) => asked.min(LONGEST_ASKED),
            None => self.waits.next().unwrap_or(POLICY.longest_wait),
        };
        self.until = Some(now + wait);
        if self.since.is_some() {
            return None;
        }
        self.since = Some(now);
        Some(OutageLine::Began(cause.to_owned()))
    }

    /// A try succeeded.
    pub(super) fn succeeded(&mut self, now: Instant) -> Option<OutageLine> {
        self.waits.reset();
        self.until = None;
        self.since.take().map(|since| OutageLine::Over(now.saturating_duration_since(since)))
    }

    /// How long not to try.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_one_line_when_it_begins_and_one_when_it_is_over_however_often_it_is_tried() {
        let begin = Instant::now();
        let at = |secs| begin + Duration::from_secs(secs);
        let mut outage = PrefectOutage::new();
        assert_eq!(outage.succeeded(at(0)), None);
        assert_eq!(outage.failed("away", None, at(1)), Some(OutageLine::Began("away".into())));
        assert_eq!(outage.wait(at(1)), Duration::from_secs(1));
        assert_eq!(outage.failed("still", None, at(2)), None);
        assert_eq!(outage.wait(at(2)), Duration::from_secs(2));
        for n in 0..20 {
            assert_eq!(outage.failed("still", None, at(10 + n)), None);
        }
        assert_eq!(outage.wait(at(29)), Duration::from_secs(60), "no wait is longer");
        assert_eq!(outage.succeeded(at(100)), Some(OutageLine::Over(Duration::from_secs(99))));
        assert_eq!((outage.succeeded(at(101)), outage.wait(at(101))), (None, Duration::ZERO));
    }

    #[test]
    fn the_server_may_ask_for_another_wait_but_not_for_a_day() {
        let now = Instant::now();
        let mut outage = PrefectOutage::new();
        outage.failed("busy", Some(Duration::from_secs(17)), now);
        assert_eq!(outage.wait(now), Duration::from_secs(17));
        outage.failed("busy", Some(Duration::from_secs(86_400)), now);
        assert_eq!(outage.wait(now), LONGEST_ASKED);
    }
}
