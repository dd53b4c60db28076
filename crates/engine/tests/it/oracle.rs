//! The slow, obvious truth: no code of the engine, one row at a time, everything kept forever.

use std::collections::{BTreeMap, BTreeSet};

pub(crate) struct Oracle {
    pub(crate) size: i64,
    pub(crate) slide: i64,
    pub(crate) delay: i64,
    pub(crate) dedup: bool,
    pub(crate) max_event: Vec<Option<i64>>,
    pub(crate) idle: Vec<bool>,
    pub(crate) closed_until: i64,
    seen: BTreeSet<(String, String, i64)>,
    /// Window start and station to the entries of its rows.
    open: BTreeMap<(i64, String), Vec<i64>>,
    /// The same of closed windows.
    pub(crate) closed: BTreeMap<(i64, String), Vec<i64>>,
    pub(crate) late: u64,
    pub(crate) duplicate: u64,
    pub(crate) aggregated: u64,
    pub(crate) ambiguous: u64,
    pub(crate) nonexistent: u64,
}

/// What its rows' times are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Clock {
    Utc,
    /// The wall clock of New York about 2023-03-12, when 02:00 to 03:00 did not happen.
    Spring,
    /// The same about 2023-11-05, when 01:00 to 02:00 happened twice.
    Autumn,
}

impl Clock {
    /// When its clocks change, as seconds of the wall clock: the first one that is odd and the first one that is not.
    pub(crate) fn change(self) -> (i64, i64) {
        match self {
            Self::Utc => (1_699_164_000, 1_699_164_000),
            Self::Spring => (1_678_586_400, 1_678_590_000),
            Self::Autumn => (1_699_146_000, 1_699_149_600),
        }
    }
}

impl Oracle {
    pub(crate) fn new(size: i64, slide: i64, delay: i64, dedup: bool, partitions: usize) -> Self {
        Self {
            size,
            slide,
            delay,
            dedup,
            max_event: vec![None; partitions],
            idle: vec![false; partitions],
            closed_until: i64::MIN,
            seen: BTreeSet::new(),
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            late: 0,
            duplicate: 0,
            aggregated: 0,
            ambiguous: 0,
            nonexistent: 0,
        }
    }

    /// The instant of a wall clock's time: the first of two; a time that never happened moves by the gap.
    pub(crate) fn instant(&mut self, clock: Clock, local: i64) -> i64 {
        let (standard, summer) = (5 * 3600, 4 * 3600);
        let (odd, even) = clock.change();
        let is_odd = (odd..even).contains(&local);
        match clock {
            Clock::Utc => local,
            Clock::Spring => {
                self.nonexistent += u64::from(is_odd);
                local + if local < even { standard } else { summer }
            }
            Clock::Autumn => {
                self.ambiguous += u64::from(is_odd);
                local + if local < even { summer } else { standard }
            }
        }
    }

    /// Times are seconds.
    pub(crate) fn row(&mut self, partition: usize, station: &str, entries: i64, id: &str, time: i64) {
        self.max_event[partition] = self.max_event[partition].max(Some(time));
        self.idle[partition] = false;
        // Every window that holds the row, found by trying them all.
        let first = (time - self.size).div_euclid(self.slide) * self.slide;
        let windows: Vec<i64> = (0..)
            .map(|i| first + i * self.slide)
            .take_while(|start| *start <= time)
            .filter(|start| time < start + self.size)
            .collect();
        let still_open: Vec<i64> = windows.into_iter().filter(|start| start + self.size > self.closed_until).collect();
        if still_open.is_empty() {
            self.late += 1;
        } else if self.dedup && !self.seen.insert((id.to_owned(), station.to_owned(), time)) {
            self.duplicate += 1;
        } else {
            self.aggregated += 1;
            for start in still_open {
                self.open.entry((start, station.to_owned())).or_default().push(entries);
            }
        }
    }

    pub(crate) fn cut(&mut self) {
        let partitions = || self.max_event.iter().zip(&self.idle);
        let watermark = if partitions().all(|(_, idle)| *idle) {
            partitions().filter_map(|(time, _)| *time).max()
        } else {
            partitions().filter(|(_, idle)| !**idle).map(|(time, _)| *time).min().flatten()
        };
        if let Some(time) = watermark {
            self.closed_until = self.closed_until.max(time - self.delay);
        }
        self.close();
    }

    pub(crate) fn drain(&mut self) {
        self.closed_until = i64::MAX;
        self.close();
    }

    fn close(&mut self) {
        let (closed, open): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|((start, _), _)| start + self.size <= self.closed_until);
        self.open = open;
        self.closed.extend(closed);
    }

    /// The closed windows as rows: start, station, sum, count, least, greatest.
    pub(crate) fn rows(&self) -> Vec<(i64, String, i64, i64, i64, i64)> {
        let rows = self.closed.iter().map(|((start, station), values)| {
            let (lo, hi) = (values.iter().min().unwrap(), values.iter().max().unwrap());
            (*start, station.clone(), values.iter().sum(), values.len() as i64, *lo, *hi)
        });
        rows.collect()
    }
}
