//! Decides when the next cut is due.
//!
//! In: the pipeline's commit interval, what was read since the last cut. Out: "now", or the instant to check again.
//! Reads no clock: time is an argument.

use std::time::{Duration, Instant};

use turnstile_pipeline::CommitCadence;

/// Windows that can close are cut early, but not sooner than this part of the interval after the last cut.
const EARLY: u32 = 4;
/// The longest interval between cuts of a pipeline that commits by rows alone: quiet times have few rows.
const ROWS_EVERY: Duration = Duration::from_secs(10);

/// When cuts are taken.
#[derive(Debug)]
pub(crate) struct Cadence {
    every: Duration,
    rows: Option<u64>,
    cut_at: Instant,
    /// Messages read up to the last cut.
    cut_read: u64,
}

/// What has happened since the last cut.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SinceCut {
    /// Messages read since the start.
    pub(crate) read: u64,
    /// Partitions have fallen idle, which may move the watermark.
    pub(crate) idle: bool,
    /// A worker holds as much as it may, or more windows are due than the last cut closed.
    pub(crate) urgent: bool,
}

/// Whether a cut is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutDue {
    /// Now.
    Now,
    /// At this instant, or as soon as a window can close.
    At(Instant),
    /// Not before something happens.
    Nothing,
}

impl Cadence {
    /// The cadence of `settings`, as if the last cut had been taken at `now` after nothing was read.
    pub(crate) fn new(settings: &CommitCadence, now: Instant) -> Self {
        let every = settings.every_us.map_or(ROWS_EVERY, |us| Duration::from_micros(us.max(0) as u64));
        Self { every, rows: settings.rows, cut_at: now, cut_read: 0 }
    }

    /// A cut is taken at `now`, with `read` messages read since the start.
    pub(crate) fn record(&mut self, now: Instant, read: u64) {
        (self.cut_at, self.cut_read) = (now, read);
    }

    /// Messages read up to the last cut.
    pub(crate) fn cut_read(&self) -> u64 {
        self.cut_read
    }

    /// Whether a cut is due. `can_close` tells whether a window could close; it is asked only when that matters.
    pub(crate) fn due(&self, now: Instant, since: SinceCut, can_close: impl FnOnce() -> bool) -> CutDue {
        let read = since.read - self.cut_read;
        if since.urgent || self.rows.is_some_and(|rows| read >= rows) {
            return CutDue::Now;
        }
        if read == 0 && !since.idle {
            return CutDue::Nothing;
        }
        let (early, late) = (self.cut_at + self.every / EARLY, self.cut_at + self.every);
        match now {
            now if now >= late => CutDue::Now,
            now if now < early => CutDue::At(early),
            // A window that can close does not wait for the rest of the interval.
            _ if can_close() => CutDue::Now,
            _ => CutDue::At(late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn cadence(every_us: Option<i64>, rows: Option<u64>) -> (Cadence, Instant) {
        let now = Instant::now();
        (Cadence::new(&CommitCadence { every_us, rows }, now), now)
    }

    fn read(read: u64) -> SinceCut {
        SinceCut { read, ..SinceCut::default() }
    }

    #[test]
    fn without_news_nothing_is_due_however_long_it_lasts() {
        let (cadence, begin) = cadence(Some(1_000_000), None);
        assert_eq!(cadence.due(begin + 60 * SECOND, read(0), || true), CutDue::Nothing);
        let idle = SinceCut { idle: true, ..read(0) };
        assert_eq!(cadence.due(begin + 60 * SECOND, idle, || false), CutDue::Now, "an idle partition is news");
    }

    #[test]
    fn news_is_cut_after_the_interval_and_earlier_when_a_window_can_close() {
        let (mut cadence, begin) = cadence(Some(1_000_000), None);
        let (early, late) = (begin + SECOND / 4, begin + SECOND);
        assert_eq!(cadence.due(begin, read(1), || panic!("too early to ask")), CutDue::At(early));
        assert_eq!(cadence.due(early, read(1), || false), CutDue::At(late));
        assert_eq!(cadence.due(early, read(1), || true), CutDue::Now);
        assert_eq!(cadence.due(late, read(1), || false), CutDue::Now);
        cadence.record(late, 1);
        assert_eq!(cadence.due(late + 5 * SECOND, read(1), || true), CutDue::Nothing, "it was cut");
    }

    #[test]
    fn rows_and_memory_do_not_wait_for_the_interval() {
        let (cadence, begin) = cadence(None, Some(100));
        assert_eq!(cadence.due(begin, read(99), || false), CutDue::At(begin + ROWS_EVERY / EARLY));
        assert_eq!(cadence.due(begin, read(100), || false), CutDue::Now);
        assert_eq!(cadence.due(begin, SinceCut { urgent: true, ..read(0) }, || false), CutDue::Now);
    }
}
