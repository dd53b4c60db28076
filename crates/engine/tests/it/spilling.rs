//! State beyond its memory: on disk, with the same results; or an error.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use turnstile_engine::{EngineError, SpillFile, SpillSpace};

use crate::story::{Story, pipeline};

/// A double of the flow's files: bytes in memory, with a limit.
#[derive(Debug)]
pub(crate) struct MemoryFiles {
    limit: usize,
    usage: Arc<Mutex<SpillUsage>>,
}

/// What was ever stored.
#[derive(Debug, Default)]
pub(crate) struct SpillUsage {
    pub(crate) files: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
    limit: usize,
    usage: Arc<Mutex<SpillUsage>>,
}

impl MemoryFiles {
    pub(crate) fn new(limit: usize) -> (Arc<Self>, Arc<Mutex<SpillUsage>>) {
        let usage = Arc::default();
        (Arc::new(Self { limit, usage: Arc::clone(&usage) }), usage)
    }
}

impl SpillSpace for MemoryFiles {
    fn create(&self) -> io::Result<Arc<dyn SpillFile>> {
        self.usage.lock().files += 1;
        Ok(Arc::new(MemoryFile { bytes: Mutex::default(), limit: self.limit, usage: Arc::clone(&self.usage) }))
    }
}

impl SpillFile for MemoryFile {
    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let mut all = self.bytes.lock();
        if all.len() + bytes.len() > self.limit {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "there is no more room"));
        }
        self.usage.lock().bytes += bytes.len();
        all.extend_from_slice(bytes);
        Ok((all.len() - bytes.len()) as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        into.copy_from_slice(&self.bytes.lock()[at as usize..][..into.len()]);
        Ok(())
    }
}

const SQL: &str = "SELECT STATION, sum(ENTRIES) AS ENTRIES, count(DISTINCT ID) AS N, first(ID) AS A, last(ENTRIES) AS Z FROM turnstile \
                   GROUP BY window(TIMESTAMP, '1 hour'), STATION";

/// Rows of twelve hours, out of order within three hours, a fifth of them sent twice; cuts, crashes, late rows that correct.
fn day(seed: u64, settings: &str, spill: Option<Arc<dyn SpillSpace>>) -> Story {
    let stream = format!("watermark = \"3 hours\"\n{settings}");
    let mut story = Story::spilling(&pipeline(&stream, SQL), 2, spill);
    let mut random = seed * 2 + 1;
    let mut below = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    let mut sent: Vec<String> = Vec::new();
    for cut in 0..12_u64 {
        for partition in 0..2 {
            let mut batch: Vec<String> = Vec::new();
            for n in 0..4_000 {
                if !sent.is_empty() && below(5) == 0 {
                    batch.push(sent[below(sent.len() as u64) as usize].clone());
                    continue;
                }
                let minutes = (cut * 60 + below(60)).saturating_sub(if below(4) == 0 { below(180) } else { 0 });
                let (hour, minute) = (minutes / 60, minutes % 60);
                let station = below(400);
                batch.push(format!(
                    "S{station},{},id-{cut}-{partition}-{n},2023-12-09 {hour:02}:{minute:02}:00",
                    below(9)
                ));
            }
            sent.extend(batch.iter().cloned());
            // Only what may still be no duplicate of a forgotten one.
            let keep = sent.len().saturating_sub(10_000);
            sent.drain(..keep);
            story.values(partition, batch);
        }
        story.cut();
        if cut % 7 == 5 {
            story.crash();
        }
    }
    story.drain();
    story
}

#[test]
fn what_does_not_fit_memory_is_kept_on_disk_and_nothing_else_changes() {
    for (seed, settings) in [
        "dedup = [\"ID\"]",
        "dedup = [\"ID\", \"TIMESTAMP\"]",
        "dedup = \"value\"\nlate = \"correct\"\ncorrect_for = \"4 hours\"",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let roomy = day(seed as u64, &format!("{settings}\nmemory = \"1 GiB\""), None);
        let (space, usage) = MemoryFiles::new(usize::MAX);
        let tight = day(seed as u64, &format!("{settings}\nmemory = \"1 MiB\""), Some(space));
        assert!(usage.lock().bytes > 1 << 20, "{settings}: {:?}", usage.lock());
        assert_eq!(tight.text(), roomy.text(), "{settings}");
        assert_eq!(tight.counters, roomy.counters, "{settings}");
        assert!(roomy.counters.duplicate > 5_000 || settings.is_empty(), "{:?}", roomy.counters);
        let shape = |story: &Story| {
            story.closed.iter().map(|w| (w.start_us, w.version, w.messages, w.sources.clone())).collect::<Vec<_>>()
        };
        assert_eq!(shape(&tight), shape(&roomy), "{settings}");
    }
}

/// Groups whose last readings fill more than three quarters of 1 MiB, and less than all of it.
const STATIONS_FOR_A_MIB: usize = 9_000;

fn remembering(spill: Option<Arc<dyn SpillSpace>>) -> Story {
    let stream = "watermark = \"1 hour\"\ndedup = [\"ID\"]\nmemory = \"1 MiB\"";
    let mut story = Story::spilling(&pipeline(stream, SQL), 1, spill);
    story.values(0, (0..1_000).map(|id| format!("A,1,few-{id},2023-12-09 08:01:00"))).cut();
    story.values(0, (0..60_000).map(|id| format!("A,1,many-{id},2023-12-09 08:01:00")));
    story
}

#[test]
fn windows_and_dedup_beyond_their_memory_are_an_error_with_both_numbers_where_nothing_may_be_spilled() {
    let error = remembering(None).cut_error();
    assert!(matches!(error, EngineError::Memory { held, limit: 1_048_576 } if held > 1_048_576), "{error}");
}

#[test]
fn a_spill_space_that_is_full_is_an_error_with_its_reason() {
    let (space, _) = MemoryFiles::new(100_000);
    let error = remembering(Some(space)).cut_error();
    assert!(matches!(&error, EngineError::Spill(reason) if reason.to_string() == "there is no more room"), "{error}");
}

#[test]
fn where_most_of_the_memory_holds_last_readings_files_hold_many_cuts() {
    const CUTS: usize = 100;
    let sql =
        "SELECT STATION, increase(ENTRIES) AS GROWTH FROM turnstile GROUP BY window(TIMESTAMP, '1 hour'), STATION";
    let (space, usage) = MemoryFiles::new(usize::MAX);
    let stream = "watermark = \"1 hour\"\nmemory = \"1 MiB\"";
    let mut story = Story::spilling(&pipeline(stream, sql), 1, Some(space));
    let stations = 0..STATIONS_FOR_A_MIB;
    story.values(0, stations.map(|station| format!("S{station},1,id,2023-12-09 08:01:00"))).cut();
    story.values(0, ["S0,1,id,2023-12-09 11:01:00".to_owned()]).cut();
    for cut in 0..CUTS {
        story.values(0, (0..100).map(|n| format!("S{},{cut},id,2023-12-09 11:{:02}:00", n * 31, cut % 60))).cut();
    }
    story.drain();
    let usage = usage.lock();
    assert!((1..CUTS / 4).contains(&usage.files), "{usage:?}");
}
