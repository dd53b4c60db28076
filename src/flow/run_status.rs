//! The status that a running flow reports about once a second.

use std::time::{Duration, Instant};

use turnstile_engine::Cut;
use turnstile_lake::Committed;
use turnstile_message::Counters;
use turnstile_values::human;

use super::event::{Event, Status};
use super::rejections::Rejections;

/// How often a status is given.
const EVERY: Duration = Duration::from_secs(1);

/// What the next status says.
#[derive(Debug)]
pub(crate) struct RunStatus {
    status: Status,
    given_at: Instant,
    /// Messages read when the last status was given.
    given_read: u64,
    /// What the pipeline had counted before this run.
    before: Counters,
    rejections: Rejections,
}

impl RunStatus {
    /// The status of a run that begins at `now`, after commit `seq` with these counts.
    pub(crate) fn new(seq: u64, counters: &Counters, now: Instant) -> Self {
        let status = Status { seq, ..Status::default() };
        let rejections = Rejections::new(counters.read);
        let mut this = Self { status, given_at: now, given_read: 0, before: counters.clone(), rejections };
        this.count(counters);
        this
    }

    /// When the next one is due.
    pub(crate) fn due_at(&self) -> Instant {
        self.given_at + EVERY
    }

    /// The status at `now`, when `read` messages were read since the start.
    pub(crate) fn give(&mut self, now: Instant, read: u64, lag: Option<u64>) -> Status {
        let since = now.duration_since(self.given_at).as_secs_f64();
        if since > 0.0 {
            self.status.rate = (read - self.given_read) as f64 / since;
        }
        self.status.lag = lag;
        (self.given_at, self.given_read) = (now, read);
        self.status.clone()
    }

    /// The engine finished a cut.
    pub(crate) fn record_cut(&mut self, cut: &Cut) {
        self.count(&cut.counters);
        self.rejections.record(&cut.dead_letters);
        let (closed, dead_letters) = (cut.closed.len(), cut.dead_letters.len());
        let watermark = cut.watermark_us.map(human::instant);
        tracing::debug!(read = cut.counters.read, closed, dead_letters, open = cut.open_windows, watermark, "cut");
        self.status.watermark_us = cut.watermark_us;
        self.status.open_windows = cut.open_windows;
    }

    /// The ledger holds it, with these files.
    pub(crate) fn record_commit(&mut self, committed: &Committed, files: &[Event]) {
        self.status.seq = committed.seq;
        let (published, pending) = (committed.published.len(), committed.pending.len());
        tracing::debug!(seq = committed.seq, published, pending, "committed");
        self.status.run.files += files.iter().filter(|file| matches!(file, Event::Published { .. })).count() as u64;
    }

    /// Messages of this run that are committed.
    pub(crate) fn committed(&self) -> u64 {
        self.status.run.read
    }

    /// Windows that are open.
    pub(crate) fn open_windows(&self) -> usize {
        self.status.open_windows
    }

    /// The status as it stands.
    pub(crate) fn into_status(self, lag: Option<u64>) -> Status {
        Status { lag, rejected: self.rejections.share(self.status.read), ..self.status }
    }

    fn count(&mut self, counters: &Counters) {
        let (status, before) = (&mut self.status, &self.before);
        (status.read, status.late, status.dead_lettered) = (counters.read, counters.late, counters.dead_lettered);
        let run = &mut status.run;
        run.read = counters.read.saturating_sub(before.read);
        run.late = counters.late.saturating_sub(before.late);
        run.dead_lettered = counters.dead_lettered.saturating_sub(before.dead_lettered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::event::RunCounts;

    #[test]
    fn the_rate_is_that_since_the_last_status() {
        let begin = Instant::now();
        let mut status = RunStatus::new(7, &Counters::default(), begin);
        assert_eq!(status.due_at(), begin + EVERY);
        assert_eq!(status.give(begin + 2 * EVERY, 1000, Some(3)).rate, 500.0);
        let next = status.give(begin + 3 * EVERY, 1100, None);
        assert_eq!((next.rate, next.lag, next.seq), (100.0, None, 7));
        assert_eq!(status.due_at(), begin + 4 * EVERY);
    }

    #[test]
    fn a_run_s_counts_begin_with_it_and_the_pipeline_s_do_not() {
        let counters = |read, late, dead_lettered| Counters { read, late, dead_lettered, ..Counters::default() };
        let begin = Instant::now();
        let mut status = RunStatus::new(7, &counters(3_000, 5, 7), begin);
        let first = status.give(begin + EVERY, 0, None);
        assert_eq!((first.read, first.late, first.dead_lettered), (3_000, 5, 7), "as the ledger has them");
        assert_eq!(first.run, RunCounts::default());
        status.count(&counters(3_010, 6, 9));
        let next = status.give(begin + 2 * EVERY, 10, None);
        assert_eq!((next.read, next.run), (3_010, RunCounts { read: 10, files: 0, dead_lettered: 2, late: 1 }));
    }
}
