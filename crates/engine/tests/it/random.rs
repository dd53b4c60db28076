//! Generated streams: the engine agrees with the oracle, whatever order rows, cuts and crashes come in.

use arrow::array::AsArray;
use chrono::DateTime;
use turnstile_engine::ClosedWindow;

use crate::oracle::{Clock, Oracle};
use crate::story::{Story, number, pipeline_in, sums};

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

type Row = (usize, String, i64, String, i64);

/// Mostly forward in time, with stragglers, duplicates, huge and negative values, and messages that are no rows. Times are those of `clock`.
fn rows(rng: &mut Rng, partitions: usize, count: usize, clock: Clock) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    // From before the odd hour to after it.
    let mut now = clock.change().0 - 600;
    for i in 0..count {
        now += rng.below(40) as i64;
        if !rows.is_empty() && rng.below(10) == 0 {
            let mut again = rows[rng.below(rows.len() as u64) as usize].clone();
            again.0 = rng.below(partitions as u64) as usize;
            rows.push(again);
            continue;
        }
        if rng.below(12) == 0 {
            rows.push((rng.below(partitions as u64) as usize, "none".to_owned(), 0, format!("id-{i}"), NEVER));
            continue;
        }
        let back = if rng.below(5) == 0 { rng.below(2_000) as i64 } else { rng.below(60) as i64 };
        let entries = match rng.below(20) {
            0 => -1_000_000_000_000,
            1 => 1_000_000_000_000_000,
            n => n as i64,
        };
        let station = ["A", "Station with a long name", "", "Ünïcode ⌘ station"][rng.below(4) as usize];
        rows.push((rng.below(partitions as u64) as usize, station.to_owned(), entries, format!("id-{i}"), now - back));
    }
    rows
}

/// The time of a message that is no row.
const NEVER: i64 = i64::MAX;

fn usable(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| row.4 != NEVER)
}

fn run(seed: u64) {
    let mut rng = Rng(seed * 2_654_435_761 + 1);
    let partitions = 1 + rng.below(4) as usize;
    let (size, slide) = [(300, 300), (600, 300), (900, 200), (60, 60)][rng.below(4) as usize];
    let delay = [0, 60, 300][rng.below(3) as usize];
    let dedup = rng.below(2) == 0;
    let stream = format!(
        "watermark = \"{delay} seconds\"{}",
        if dedup { "\ndedup = [\"ID\", \"STATION\", \"TIMESTAMP\"]" } else { "" }
    );
    let clock = match seed % 6 {
        0 => Clock::Spring,
        1 => Clock::Autumn,
        _ => Clock::Utc,
    };
    let zone = if clock == Clock::Utc { "UTC" } else { "America/New_York" };
    let pipeline = pipeline_in(zone, &stream, &sums(&format!("'{size} seconds', '{slide} seconds'")));
    let mut story = Story::new(&pipeline, partitions);
    let mut oracle = Oracle::new(size, slide, delay, dedup, partitions);
    let rows = rows(&mut rng, partitions, 300, clock);
    let mut uncommitted: Vec<Row> = Vec::new();
    let feed = |story: &mut Story, (partition, station, entries, id, time): &Row| {
        let time = DateTime::from_timestamp(*time, 0).filter(|_| *time != NEVER);
        let text = time.map_or("never".to_owned(), |time| time.format("%F %T").to_string());
        story.row(*partition, station, *entries, id, &text);
    };
    for row in rows {
        feed(&mut story, &row);
        uncommitted.push(row);
        match rng.below(30) {
            0 | 1 => {
                let moved: Vec<usize> = uncommitted.iter().map(|row| row.0).collect();
                let counting: Vec<usize> = usable(&uncommitted).map(|row| row.0).collect();
                for (partition, station, entries, id, time) in usable(&uncommitted) {
                    let time = oracle.instant(clock, *time);
                    oracle.row(*partition, station, *entries, id, time);
                }
                uncommitted.clear();
                let partition = rng.below(partitions as u64) as usize;
                match rng.below(6) {
                    // Nothing more has come since.
                    0 => {
                        story.idle(partition);
                        oracle.idle[partition] = true;
                    }
                    // It was seen before the messages of this cut, which end it.
                    1 => {
                        let of = |moved: &[usize]| moved.iter().filter(|moved| **moved == partition).count();
                        story.idle_since(partition, story.next_offset(partition) - of(&moved) as i64);
                        oracle.idle[partition] |= of(&counting) == 0;
                    }
                    _ => {}
                }
                story.cut();
                oracle.cut();
            }
            2 => {
                let salt = rng.below(1 << 32);
                story.rearrange_state(|at| (at as u64 + 1).wrapping_mul(salt | 1) % 7, rng.below(5) as usize);
                story.crash();
                oracle.idle.fill(false);
                uncommitted.iter().for_each(|row| feed(&mut story, row));
            }
            _ => {}
        }
    }
    for (partition, station, entries, id, time) in usable(&uncommitted) {
        let time = oracle.instant(clock, *time);
        oracle.row(*partition, station, *entries, id, time);
    }
    story.drain();
    oracle.drain();
    let mut found: Vec<_> = story.closed.iter().flat_map(result_rows).collect();
    found.sort();
    assert_eq!(found, oracle.rows(), "seed {seed}");
    let c = &story.counters;
    assert_eq!((c.late, c.duplicate, c.aggregated), (oracle.late, oracle.duplicate, oracle.aggregated), "seed {seed}");
    assert_eq!((c.ambiguous_times, c.nonexistent_times), (oracle.ambiguous, oracle.nonexistent), "seed {seed}");
    match clock {
        Clock::Utc => assert_eq!((oracle.ambiguous, oracle.nonexistent), (0, 0)),
        Clock::Spring => assert!(oracle.nonexistent > 20, "seed {seed}: {}", oracle.nonexistent),
        Clock::Autumn => assert!(oracle.ambiguous > 20, "seed {seed}: {}", oracle.ambiguous),
    }
}

fn result_rows(window: &ClosedWindow) -> Vec<(i64, String, i64, i64, i64, i64)> {
    let station = window.rows.column(0).as_string_view();
    (0..window.rows.num_rows())
        .map(|row| {
            let cell = |column| number(window, column, row);
            (window.start_us / 1_000_000, station.value(row).to_owned(), cell(1), cell(2), cell(3), cell(4))
        })
        .collect()
}

#[test]
fn the_engine_agrees_with_the_oracle_on_random_streams() {
    for seed in 0..150 {
        run(seed);
    }
}
