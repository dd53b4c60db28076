//! When each message of a feed is due.

use std::time::Duration;

/// How fast a feed sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as the topic takes it.
    Unlimited,
    /// This many messages a second, evenly.
    Rate(f64),
    /// One message each time this has passed; the first at once.
    Every(Duration),
    /// As fast as event time passes, times `speed`, counted from the first message's.
    EventTime {
        /// 1 is real time, 60 makes an hour pass in a minute.
        speed: f64,
    },
}

/// Time between messages from which on each one is worth a report.
const SLOW: Duration = Duration::from_secs(1);

impl Pace {
    /// Whether a person can follow every message: one a second at most.
    pub(crate) fn is_slow(self) -> bool {
        match self {
            Pace::Rate(rate) => after(1.0 / rate) >= SLOW,
            Pace::Every(every) => every >= SLOW,
            Pace::Unlimited | Pace::EventTime { .. } => false,
        }
    }
}

/// Turns a [`Pace`] into due times. Due times count from the feed's start, so a delay is caught up afterwards.
#[derive(Debug)]
pub(crate) struct PaceSchedule {
    pace: Pace,
    first_event_ms: Option<i64>,
}

impl PaceSchedule {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, first_event_ms: None }
    }

    /// How long after the start message `nth` (from 0), which happened at `event_at_ms`, is due.
    pub(crate) fn due(&mut self, nth: u64, event_at_ms: i64) -> Duration {
        match self.pace {
            Pace::Unlimited => Duration::ZERO,
            Pace::Rate(rate) => after(nth as f64 / rate),
            Pace::Every(every) => after(every.as_secs_f64() * nth as f64),
            Pace::EventTime { speed } => {
                let first = *self.first_event_ms.get_or_insert(event_at_ms);
                after(event_at_ms.saturating_sub(first) as f64 / 1000.0 / speed)
            }
        }
    }
}

/// Event time that goes back is due at once, and a rate of almost nothing is due in a very long time.
fn after(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_of_a_message_a_second_or_less_is_slow() {
        for slow in [Pace::Every(Duration::from_secs(10)), Pace::Rate(1.0), Pace::Rate(0.01)] {
            assert!(slow.is_slow(), "{slow:?}");
        }
        for fast in
            [Pace::Every(Duration::from_millis(999)), Pace::Rate(1.1), Pace::Unlimited, Pace::EventTime { speed: 1.0 }]
        {
            assert!(!fast.is_slow(), "{fast:?}");
        }
    }

    #[test]
    fn each_pace_gives_its_due_times() {
        let due = |pace, nth, event_ms| {
            let mut schedule = PaceSchedule::new(pace);
            schedule.due(0, 1_000);
            schedule.due(nth, event_ms)
        };
        assert_eq!(due(Pace::Unlimited, 9, 0), Duration::ZERO);
        assert_eq!(due(Pace::Rate(4.0), 2, 0), Duration::from_millis(500));
        assert_eq!(due(Pace::Every(Duration::from_secs(10)), 3, 0), Duration::from_secs(30));
        assert_eq!(due(Pace::EventTime { speed: 60.0 }, 1, 121_000), Duration::from_secs(2));
        assert_eq!(due(Pace::EventTime { speed: 60.0 }, 1, 0), Duration::ZERO);
        assert_eq!(due(Pace::Rate(0.0), 1, 0), Duration::MAX);
    }
}
