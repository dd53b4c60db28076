//! How far a pipeline or a consumer group is behind its topic, and when it will have caught up.
//!
//! In: positions (a ledger's, or a group's committed offsets) and the ends of a topic's partitions, sampled over time.
//! Out: a [`LagReport`]. Prints nothing. Start at [`LagMonitor::report`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use turnstile_kafka::{ClientSettings, KafkaConnection};
use turnstile_lake::{CommitRecord, Lake, Slot, StoreOptions};
use turnstile_message::TopicPartition;
use turnstile_pipeline::TopicSelection;
use turnstile_values::MINUTE_US;

use super::fault::{client, lake_failed, ledger_failed, no_ledger};
use super::owner::now_us;
use super::start::topic_names;
use crate::process::Process;

/// Number of commits that a pipeline's reading rate is computed from, and how far back they may be.
const COMMITS: u64 = 64;
const RECENT_US: i64 = MINUTE_US;

/// A pipeline that has messages to read but no newer commit is not considered running.
const ALIVE_US: i64 = 30_000_000;

/// No rate is computed over less than this.
const SHORTEST: Duration = Duration::from_secs(2);

/// How long the topic's growth is measured before the first report, and how far back samples are kept.
const GROWTH: Duration = Duration::from_secs(1);
const SAMPLES: Duration = Duration::from_secs(60);

/// A reader that is less than this many seconds behind, at its own speed, keeps up.
const KEEPS_UP_SECONDS: f64 = 2.0;

/// Whose lag.
pub(crate) enum LagReader {
    /// A pipeline, by its ledger.
    Pipeline { name: String, url: String, options: StoreOptions, topics: Option<TopicSelection> },
    /// A consumer group, by its committed offsets.
    Group { group: String, topic: String },
}

/// Samples positions and ends, and reports the lag.
pub(crate) struct LagMonitor {
    reader: LagReader,
    connection: KafkaConnection,
    process: Process,
    samples: VecDeque<LagSample>,
}

/// What a pipeline's ledger tells without a broker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommittedPositions {
    /// The next offset of each partition, as of the newest commit.
    pub(crate) next: Vec<(TopicPartition, i64)>,
    pub(crate) commits: RecentCommits,
}

impl LagMonitor {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// The client settings cannot be used.
    pub(crate) fn open(reader: LagReader, settings: &ClientSettings, process: &Process) -> anyhow::Result<Self> {
        let connection = KafkaConnection::open(settings).map_err(client)?;
        Ok(Self { reader, connection, process: process.clone(), samples: VecDeque::new() })
    }

    /// What the ledger tells; `None` of a group, which has none. No broker is asked.
    ///
    /// # Errors
    /// The lake or the ledger cannot be read.
    pub(crate) fn committed(&self) -> anyhow::Result<Option<CommittedPositions>> {
        let LagReader::Pipeline { name, url, options, .. } = &self.reader else { return Ok(None) };
        let recent = self.process.runtime.block_on(async {
            let lake = Lake::open_for_reading(url, options).await.map_err(lake_failed)?;
            turnstile_lake::recent_commits(&lake, name, COMMITS).await.map_err(ledger_failed)
        })?;
        let Some((slot, records)) = recent else {
            return Err(no_ledger(url, name));
        };
        let next = slot.positions.iter().map(|p| (p.partition.clone(), p.next_offset)).collect();
        Ok(Some(CommittedPositions { next, commits: RecentCommits::of(&slot, &records) }))
    }

    /// Takes the first sample, and waits until a second one shows growth.
    ///
    /// # Errors
    /// The brokers, the lake or the ledger cannot be read.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        let first = self.sample()?;
        self.samples.push_back(first);
        self.process.sleep(GROWTH);
        Ok(())
    }

    /// Whose lag.
    pub(crate) fn reader(&self) -> &LagReader {
        &self.reader
    }

    /// Takes a sample, and reports the lag at it.
    ///
    /// # Errors
    /// The brokers, the lake or the ledger cannot be read.
    pub(crate) fn report(&mut self) -> anyhow::Result<LagReport> {
        let sample = self.sample()?;
        let waiting = sample.partitions.iter().filter(|p| p.records().is_some_and(|records| records > 0));
        let positions: Vec<_> = waiting.filter_map(|p| Some((p.partition.clone(), p.next?))).collect();
        let times = self.connection.timestamps_from(&positions).map_err(client)?;
        let times: Vec<_> = positions.into_iter().map(|(partition, _)| partition).zip(times).collect();
        self.samples.push_back(sample);
        while self.samples.len() > 2 && self.samples[1].at.elapsed() > SAMPLES {
            self.samples.pop_front();
        }
        Ok(LagReport::new(&self.samples, &times, now_us()))
    }

    fn sample(&self) -> anyhow::Result<LagSample> {
        let ReaderPositions { known, commits, topics } = self.positions()?;
        let mut partitions = Vec::new();
        for topic in topics {
            let numbers = self.connection.topic_partitions(&topic).map_err(client)?;
            let named: Vec<_> = numbers.into_iter().map(|n| TopicPartition::new(topic.as_str(), n)).collect();
            let ranges = self.connection.watermarks(&named).map_err(client)?;
            let nexts: Vec<Option<i64>> = match &known {
                None => self.connection.group_offsets(&named).map_err(client)?,
                // A partition that is not in the ledger yet will be read from its first record.
                Some(known) => named
                    .iter()
                    .zip(&ranges)
                    .map(|(p, (low, _))| Some(known.iter().find(|(q, _)| q == p).map_or(*low, |(_, next)| *next)))
                    .collect(),
            };
            for ((partition, (low, end)), next) in named.into_iter().zip(ranges).zip(nexts) {
                partitions.push(PartitionLag { partition, next, low, end, next_at_ms: None });
            }
        }
        Ok(LagSample { at: Instant::now(), partitions, commits })
    }

    fn positions(&self) -> anyhow::Result<ReaderPositions> {
        let named = match &self.reader {
            LagReader::Group { topic, .. } => {
                return Ok(ReaderPositions { known: None, commits: None, topics: vec![topic.clone()] });
            }
            LagReader::Pipeline { topics, .. } => topics,
        };
        let committed = self.committed()?;
        let (known, commits) = committed.map(|CommittedPositions { next, commits }| (next, commits)).unzip();
        let mut topics: Vec<String> = known.iter().flatten().map(|(p, _)| p.topic.to_string()).collect();
        if let Some(named) = named {
            topics.extend(topic_names(&self.connection, named).map_err(client)?);
        }
        topics.sort();
        topics.dedup();
        Ok(ReaderPositions { known, commits, topics })
    }
}

/// Where a reader is.
struct ReaderPositions {
    /// A pipeline's next offsets; a group's are asked per topic.
    known: Option<Vec<(TopicPartition, i64)>>,
    commits: Option<RecentCommits>,
    topics: Vec<String>,
}

/// Reader and topic at one moment.
#[derive(Debug, Clone)]
struct LagSample {
    at: Instant,
    partitions: Vec<PartitionLag>,
    commits: Option<RecentCommits>,
}

/// One partition's lag.
#[derive(Debug, Clone)]
pub(crate) struct PartitionLag {
    pub(crate) partition: TopicPartition,
    /// The next offset to be read; `None` if the group has committed none.
    pub(crate) next: Option<i64>,
    low: i64,
    pub(crate) end: i64,
    /// The timestamp of the next message to be read, milliseconds since the epoch; `None` if none is left.
    pub(crate) next_at_ms: Option<i64>,
}

impl PartitionLag {
    /// Messages left: offsets that still exist, transaction markers included.
    pub(crate) fn records(&self) -> Option<i64> {
        Some((self.end - self.next?.max(self.low)).max(0))
    }

    /// Offsets that were deleted before they were read.
    pub(crate) fn lost(&self) -> i64 {
        self.next.map_or(0, |next| (self.low - next).max(0))
    }
}

/// What a pipeline's recent commits tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecentCommits {
    /// Number of the newest one.
    pub(crate) seq: u64,
    /// When it was written, microseconds since the epoch.
    pub(crate) last_at_us: i64,
    /// No process owns the pipeline.
    pub(crate) released: bool,
    /// Messages read per second; `None` if there are too few commits.
    rate: Option<f64>,
}

impl RecentCommits {
    fn of(slot: &Slot, records: &[CommitRecord]) -> Self {
        let (last_at_us, epoch) = (slot.committed_at_us, slot.epoch);
        let first = records.iter().find(|old| old.epoch == epoch && old.committed_at_us >= last_at_us - RECENT_US);
        let rate = first.and_then(|first| {
            let us = last_at_us - first.committed_at_us;
            let read = slot.counters.read.saturating_sub(first.counters.read);
            (us >= SHORTEST.as_micros() as i64).then(|| read as f64 * 1e6 / us as f64)
        });
        Self { seq: slot.seq, last_at_us, released: slot.released, rate }
    }
}

/// When a reader will have caught up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CatchUp {
    /// Nothing is left to read.
    Done,
    /// It is as close to the end as a reader can be while messages arrive.
    KeepsUp,
    /// In this many seconds, at the current rates.
    In(f64),
    /// The topic grows as fast, or faster.
    Never,
    /// Why it is unknown.
    Unknown(&'static str),
}

impl CatchUp {
    fn estimate(
        records: Option<i64>,
        commits: Option<&RecentCommits>,
        rate: Option<f64>,
        growth: f64,
        now_us: i64,
    ) -> Self {
        let Some(records) = records else { return Self::Unknown("the group has committed no offset") };
        if records == 0 {
            return Self::Done;
        }
        if let Some(commits) = commits {
            if commits.released {
                return Self::Unknown("the pipeline is not running");
            }
            if now_us - commits.last_at_us > ALIVE_US {
                return Self::Unknown("the pipeline has not committed for more than 30 s");
            }
        }
        let Some(rate) = rate else { return Self::Unknown("there are too few samples of its rate") };
        if rate > 0.0 && records as f64 / rate < KEEPS_UP_SECONDS {
            Self::KeepsUp
        } else if rate > growth {
            Self::In(records as f64 / (rate - growth))
        } else {
            Self::Never
        }
    }

    /// The estimate, where there is one.
    pub(crate) fn seconds(self) -> Option<f64> {
        match self {
            Self::Done | Self::KeepsUp => Some(0.0),
            Self::In(seconds) => Some(seconds),
            Self::Never | Self::Unknown(_) => None,
        }
    }
}

/// The lag at one moment, and the rates that lead on from there.
pub(crate) struct LagReport {
    pub(crate) partitions: Vec<PartitionLag>,
    /// A pipeline's commits.
    pub(crate) commits: Option<RecentCommits>,
    now_us: i64,
    /// Messages read per second, if known.
    pub(crate) rate: Option<f64>,
    /// Messages added to the topic per second.
    pub(crate) growth: f64,
    pub(crate) catch_up: CatchUp,
}

impl LagReport {
    fn new(samples: &VecDeque<LagSample>, times: &[(TopicPartition, Option<i64>)], now_us: i64) -> Self {
        let (first, last) = (&samples[0], &samples[samples.len() - 1]);
        let took = last.at.duration_since(first.at).as_secs_f64().max(0.001);
        // Partitions that were added meanwhile count from their second sample on.
        let moved = |offset: fn(&PartitionLag) -> Option<i64>| -> Option<f64> {
            let mut sum = 0;
            for now in &last.partitions {
                let Some(before) = first.partitions.iter().find(|p| p.partition == now.partition) else { continue };
                sum += offset(now)? - offset(before)?;
            }
            Some(sum as f64 / took)
        };
        let growth = moved(|p| Some(p.end)).unwrap_or_default().max(0.0);
        let rate = match &last.commits {
            Some(commits) => commits.rate,
            // A group commits every few seconds, so its rate needs a longer time.
            None => moved(|p| p.next).filter(|_| took >= 10.0),
        };
        let records = last.partitions.iter().map(PartitionLag::records).sum::<Option<i64>>();
        let catch_up = CatchUp::estimate(records, last.commits.as_ref(), rate, growth, now_us);
        let mut partitions = last.partitions.clone();
        for partition in &mut partitions {
            partition.next_at_ms = times.iter().find(|(p, _)| *p == partition.partition).and_then(|(_, at)| *at);
        }
        Self { partitions, commits: last.commits.clone(), now_us, rate, growth, catch_up }
    }

    /// Messages left, in all partitions.
    pub(crate) fn records(&self) -> Option<i64> {
        self.partitions.iter().map(PartitionLag::records).sum()
    }

    /// How long ago the next message to be read was written.
    pub(crate) fn seconds(&self, partition: &PartitionLag) -> Option<f64> {
        match partition.records()? {
            0 => Some(0.0),
            _ => Some(((self.now_us / 1000 - partition.next_at_ms?) as f64 / 1000.0).max(0.0)),
        }
    }

    /// The largest of all partitions.
    pub(crate) fn max_seconds(&self) -> Option<f64> {
        let all: Option<Vec<f64>> = self.partitions.iter().map(|partition| self.seconds(partition)).collect();
        Some(all?.into_iter().fold(0.0, f64::max))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const NOW: i64 = 1_785_542_400_000_000;

    fn commits(released: bool, ago_us: i64, rate: Option<f64>) -> RecentCommits {
        RecentCommits { seq: 9, last_at_us: NOW - ago_us, released, rate }
    }

    #[test]
    fn the_time_to_catch_up_is_estimated_only_when_both_rates_are_known() {
        let running = commits(false, 1_000_000, Some(500.0));
        let estimate = |records, growth| CatchUp::estimate(records, Some(&running), running.rate, growth, NOW);
        assert_eq!(estimate(Some(0), 0.0), CatchUp::Done);
        assert_eq!(estimate(Some(40_000), 100.0), CatchUp::In(100.0));
        assert_eq!(estimate(Some(40_000), 500.0), CatchUp::Never);
        assert_eq!(estimate(Some(900), 500.0), CatchUp::KeepsUp);
        let unknown = |commits: &RecentCommits| CatchUp::estimate(Some(9), Some(commits), commits.rate, 0.0, NOW);
        assert_eq!(unknown(&commits(true, 0, Some(5.0))), CatchUp::Unknown("the pipeline is not running"));
        assert!(matches!(unknown(&commits(false, 31_000_000, Some(5.0))), CatchUp::Unknown(_)));
        assert!(matches!(unknown(&commits(false, 0, None)), CatchUp::Unknown(_)));
        assert!(matches!(CatchUp::estimate(None, None, Some(1.0), 0.0, NOW), CatchUp::Unknown(_)));
    }

    fn sample(at: Instant, next: [Option<i64>; 2], end: [i64; 2], commits: Option<RecentCommits>) -> LagSample {
        let partition = |n: usize| PartitionLag {
            partition: TopicPartition::new("t", n as i32),
            next: next[n],
            low: 5,
            end: end[n],
            next_at_ms: None,
        };
        LagSample { at, partitions: vec![partition(0), partition(1)], commits }
    }

    /// The last commit of a pipeline that has ended.
    pub(crate) fn committed() -> CommittedPositions {
        let next = vec![(TopicPartition::new("t", 0), 2), (TopicPartition::new("t", 1), 40)];
        CommittedPositions { next, commits: commits(true, 0, None) }
    }

    /// Of a pipeline that is 195 messages behind.
    pub(crate) fn report() -> LagReport {
        let at = Instant::now();
        let running = || Some(commits(false, 0, Some(60.0)));
        let samples = VecDeque::from([
            sample(at, [Some(0), Some(40)], [100, 40], running()),
            sample(at + Duration::from_secs(2), [Some(2), Some(40)], [200, 40], running()),
        ]);
        LagReport::new(&samples, &[(TopicPartition::new("t", 0), Some(NOW / 1000 - 2_500))], NOW)
    }

    #[test]
    fn a_report_has_each_partition_and_the_total() {
        let report = report();
        assert_eq!((report.records(), report.max_seconds(), report.growth), (Some(195), Some(2.5), 50.0));
        assert_eq!((report.partitions[0].lost(), report.catch_up), (3, CatchUp::In(19.5)));
        assert_eq!((report.partitions[1].records(), report.seconds(&report.partitions[1])), (Some(0), Some(0.0)));
    }

    #[test]
    fn a_group_that_has_committed_nothing_has_no_known_lag() {
        let at = Instant::now();
        let samples = VecDeque::from([0, 1].map(|_| sample(at, [None, Some(1)], [9, 9], None)));
        let report = LagReport::new(&samples, &[], NOW);
        assert_eq!((report.records(), report.max_seconds()), (None, None));
        assert_eq!(report.catch_up, CatchUp::Unknown("the group has committed no offset"));
    }
}
