//! How many requests may be sent: a bucket that fills evenly. Time is given.

use std::time::{Duration, Instant};

/// Requests that may be sent at once after a quiet time.
const BURST: f64 = 20.0;

/// A budget of requests in a minute.
#[derive(Debug)]
pub(super) struct RequestBudget {
    per_second: f64,
    most: f64,
    left: f64,
    at: Instant,
}

impl RequestBudget {
    /// A full budget of `per_minute` requests.
    pub(super) fn new(per_minute: u32, now: Instant) -> Self {
        let per_minute = f64::from(per_minute.max(1));
        let most = BURST.min(per_minute);
        Self { per_second: per_minute / 60.0, most, left: most, at: now }
    }

    /// Takes one request; otherwise says how long to wait for the next.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.most);
        self.at = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) / self.per_second))
    }

    /// Takes requests that were sent beyond the one that was taken: the next ones wait for them.
    pub(super) fn spend(&mut self, requests: u64) {
        self.left -= requests as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_no_minute_are_more_requests_sent_than_burst_and_budget_allow() {
        let begin = Instant::now();
        for per_minute in [1, 60, 600] {
            let mut budget = RequestBudget::new(per_minute, begin);
            let (mut now, mut sent) = (begin, 0u32);
            while now < begin + Duration::from_secs(600) {
                match budget.take(now) {
                    // Some need a second request.
                    Ok(()) if sent % 3 == 1 => {
                        budget.spend(1);
                        sent += 2;
                    }
                    Ok(()) => sent += 1,
                    Err(wait) => now += wait + Duration::from_nanos(1),
                }
            }
            let allowed = per_minute * 10 + BURST as u32;
            assert!(sent <= allowed && sent + 2 >= per_minute * 10, "{sent} at {per_minute} a minute");
        }
    }
}
