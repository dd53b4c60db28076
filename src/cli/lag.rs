//! `turnstile lag`: how far a pipeline or a consumer group is behind its topic, and when it will have caught up.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use turnstile_kafka::{ClientError, ClientSettings, KafkaConnection};
use turnstile_lake::{CommitRecord, Lake, Slot, StoreOptions};
use turnstile_message::TopicPartition;
use turnstile_pipeline::Topics;

use super::cluster::{ClusterArgs, client_failure};
use super::remembered::pipeline_or_last;
use super::store_set;
use crate::exit::Exit;
use crate::flow;
use crate::process::Process;
use crate::progress::{grouped, instant};
use crate::report::Failure;

/// Commits that are looked at for how fast a pipeline reads, and how far they may reach back.
const COMMITS: u64 = 64;
const RECENT_US: i64 = 60_000_000;

/// A pipeline whose last commit is older, though it has messages to read, is not taken to be running.
const ALIVE_US: i64 = 30_000_000;

/// Over less than this no rate is told.
const SHORTEST: Duration = Duration::from_secs(2);

/// How long the topic's growth is watched before the first answer, and how far samples reach back after that.
const GROWTH: Duration = Duration::from_secs(1);
const SAMPLES: Duration = Duration::from_secs(60);

/// Less than this many seconds of its own reading behind, a reader keeps up.
const KEEPS_UP_SECONDS: f64 = 2.0;

/// Show how far a pipeline or a consumer group is behind its topic
///
/// records: messages between the next one to be read and the partition's end. seconds: how long ago the next message to
/// be read was written, by its timestamp; 0 if none is left. A pipeline's position is that of its ledger, a group's its
/// committed offsets.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile lag                                     # the pipeline of `turnstile up`
  turnstile lag pipelines/mta-turnstile.toml
  turnstile lag --pipeline mta-turnstile --lake file:./turnstile-data/lake --bootstrap localhost:9092
  turnstile lag --group turnstile --topic mta-turnstile --bootstrap localhost:9092 --watch

The time to catch up is the records left, divided by how much faster the last minute's commits read than the topic grows;
it is \"unknown\" if either rate is unknown. A group's rate is known only with --watch.")]
pub(crate) struct Args {
    /// The pipeline file, which names the brokers too [default: the pipeline that `turnstile up` runs under
    /// ./turnstile-data]
    #[arg(value_name = "PIPELINE.toml", conflicts_with_all = ["lake", "group", "config", "bootstrap"])]
    file: Option<PathBuf>,
    /// The lake's URL, instead of a pipeline file
    #[arg(long, value_name = "URL", requires = "pipeline")]
    lake: Option<String>,
    /// The pipeline's name in that lake
    #[arg(long, value_name = "NAME", requires = "lake")]
    pipeline: Option<String>,
    /// A consumer group, of any program
    #[arg(long, requires = "topic", conflicts_with = "lake")]
    group: Option<String>,
    /// The topic that the group reads
    #[arg(long, requires = "group")]
    topic: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Set a key of the pipeline file, or with --lake an option of its store; may be given several times.
    /// Pass credentials in the environment
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Repeat every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(2);

pub(crate) fn run(args: Args, process: &Process) -> anyhow::Result<Exit> {
    let stop = process.shutdown_on_signals()?;
    let (reader, settings) = args.source(&stop)?;
    match follow(&args, &reader, &settings, process) {
        // Ctrl-C while it waited for a broker.
        Err(_) if stop.is_cancelled() => Ok(Exit::Done),
        outcome => outcome.map(|()| Exit::Done),
    }
}

fn follow(args: &Args, reader: &Reader, settings: &ClientSettings, process: &Process) -> anyhow::Result<()> {
    let mut connection = KafkaConnection::open(settings).map_err(client_failure)?;
    let mut seen = VecDeque::new();
    seen.push_back(reader.look(process, &connection)?);
    process.sleep(GROWTH);
    while !process.shutdown.is_cancelled() {
        let look = reader.look(process, &connection)?;
        let waiting = look.partitions.iter().filter(|p| p.records().is_some_and(|records| records > 0));
        let positions: Vec<_> = waiting.filter_map(|p| Some((p.partition.clone(), p.next?))).collect();
        let times = match connection.timestamps_from(&positions) {
            Err(ClientError::Stopped) => return Ok(()),
            times => times.map_err(client_failure)?,
        };
        let times: Vec<_> = positions.into_iter().map(|(partition, _)| partition).zip(times).collect();
        seen.push_back(look);
        while seen.len() > 2 && seen[1].at.elapsed() > SAMPLES {
            seen.pop_front();
        }
        let report = Report::new(&seen, &times, flow::now_us());
        if args.json {
            outln!("{}", report.as_json(reader));
        } else {
            if args.watch && std::io::stdout().is_terminal() {
                out!("\x1b[H\x1b[J");
            }
            out!("{}", report.render(reader));
        }
        if !args.watch {
            return Ok(());
        }
        process.sleep(WATCH_EVERY);
    }
    Ok(())
}

/// Whose lag.
enum Reader {
    Pipeline { name: String, url: String, options: StoreOptions, topics: Option<Topics> },
    Group { group: String, topic: String },
}

impl Args {
    fn source(&self, stop: &CancellationToken) -> anyhow::Result<(Reader, ClientSettings)> {
        if self.lake.is_none() && self.group.is_none() {
            let pipeline = pipeline_or_last(self.file.as_ref(), &self.set)?;
            let settings = flow::client_settings(&pipeline, stop)?.with_connect_timeout(self.cluster.connect_timeout());
            let options = flow::store_options(&pipeline);
            let (name, url, topics) = (pipeline.name, pipeline.lake.url, Some(pipeline.source.topics));
            return Ok((Reader::Pipeline { name, url, options, topics }, settings));
        }
        if let (Some(url), Some(name)) = (&self.lake, &self.pipeline) {
            let options = store_set(&self.set)?;
            let reader = Reader::Pipeline { name: name.clone(), url: url.clone(), options, topics: None };
            return Ok((reader, self.cluster.settings(stop)?));
        }
        if let (Some(group), Some(topic)) = (&self.group, &self.topic) {
            let settings = self.cluster.settings(stop)?.with("group.id", group, "--group");
            let settings = settings.map_err(|error| client_failure(error.into()))?;
            return Ok((Reader::Group { group: group.clone(), topic: topic.clone() }, settings));
        }
        // clap lets neither of a pair stand alone.
        Err(Failure::new(Exit::Usage, "no pipeline or group is named").into())
    }
}

impl Reader {
    fn look(&self, process: &Process, connection: &KafkaConnection) -> anyhow::Result<Look> {
        let (known, commits, topics) = match self {
            Self::Group { topic, .. } => (None, None, vec![topic.clone()]),
            Self::Pipeline { name, url, options, topics: named } => {
                let recent = process.runtime.block_on(async {
                    let lake = Lake::open_for_reading(url, options).await.map_err(flow::lake_failed)?;
                    turnstile_lake::recent_commits(&lake, name, COMMITS).await.map_err(flow::ledger_failed)
                })?;
                let Some((slot, lines)) = recent else {
                    let fact = format!("the lake {url} has no ledger of {name:?}");
                    let hint = "check that it has run, and that this is the URL of its lake";
                    return Err(Failure::new(Exit::Failed, fact).hint(hint).into());
                };
                let mut topics: Vec<String> = slot.positions.iter().map(|p| p.partition.topic.to_string()).collect();
                if let Some(named) = named {
                    topics.extend(flow::topic_names(connection, named).map_err(client_failure)?);
                }
                topics.sort();
                topics.dedup();
                let known: Vec<_> = slot.positions.iter().map(|p| (p.partition.clone(), p.next_offset)).collect();
                (Some(known), Some(Commits::of(&slot, &lines)), topics)
            }
        };
        let mut partitions = Vec::new();
        for topic in topics {
            let numbers = connection.topic_partitions(&topic).map_err(client_failure)?;
            let named: Vec<_> = numbers.into_iter().map(|n| TopicPartition::new(topic.as_str(), n)).collect();
            let ranges = connection.watermarks(&named).map_err(client_failure)?;
            let nexts: Vec<Option<i64>> = match &known {
                None => connection.group_offsets(&named).map_err(client_failure)?,
                // A partition that the ledger does not know yet will be read from its first record.
                Some(known) => named
                    .iter()
                    .zip(&ranges)
                    .map(|(p, (low, _))| Some(known.iter().find(|(q, _)| q == p).map_or(*low, |(_, next)| *next)))
                    .collect(),
            };
            for ((partition, (low, end)), next) in named.into_iter().zip(ranges).zip(nexts) {
                partitions.push(PartitionLag { partition, next, low, end });
            }
        }
        Ok(Look { at: Instant::now(), partitions, commits })
    }
}

/// Where reader and topic stood at one moment.
#[derive(Debug, Clone)]
struct Look {
    at: Instant,
    partitions: Vec<PartitionLag>,
    commits: Option<Commits>,
}

#[derive(Debug, Clone)]
struct PartitionLag {
    partition: TopicPartition,
    /// The next offset to be read; `None` where the group has committed none.
    next: Option<i64>,
    low: i64,
    end: i64,
}

impl PartitionLag {
    /// Messages left: offsets that still exist, the markers of transactions among them.
    fn records(&self) -> Option<i64> {
        Some((self.end - self.next?.max(self.low)).max(0))
    }

    /// Offsets that were deleted before they were read.
    fn lost(&self) -> i64 {
        self.next.map_or(0, |next| (self.low - next).max(0))
    }
}

/// What a pipeline's recent commits say of its speed.
#[derive(Debug, Clone, PartialEq)]
struct Commits {
    released: bool,
    last_at_us: i64,
    /// Messages read a second, where enough commits tell.
    rate: Option<f64>,
}

impl Commits {
    fn of(slot: &Slot, lines: &[CommitRecord]) -> Self {
        let (last_at_us, epoch) = (slot.committed_at_us, slot.epoch);
        let first = lines.iter().find(|line| line.epoch == epoch && line.committed_at_us >= last_at_us - RECENT_US);
        let rate = first.and_then(|first| {
            let us = last_at_us - first.committed_at_us;
            let read = slot.counters.read.saturating_sub(first.counters.read);
            (us >= SHORTEST.as_micros() as i64).then(|| read as f64 * 1e6 / us as f64)
        });
        Self { released: slot.released, last_at_us, rate }
    }
}

/// When it will have caught up.
#[derive(Debug, Clone, Copy, PartialEq)]
enum CatchUp {
    /// Nothing is left to read.
    Done,
    /// It is as far as a reader can be while messages come.
    KeepsUp,
    /// In so many seconds, at these rates.
    In(f64),
    /// The topic grows as fast, or faster.
    Never,
    /// Why not.
    Unknown(&'static str),
}

fn catch_up(records: Option<i64>, commits: Option<&Commits>, rate: Option<f64>, growth: f64, now_us: i64) -> CatchUp {
    let Some(records) = records else { return CatchUp::Unknown("the group has committed no offset") };
    if records == 0 {
        return CatchUp::Done;
    }
    if let Some(commits) = commits {
        if commits.released {
            return CatchUp::Unknown("the pipeline is not running");
        }
        if now_us - commits.last_at_us > ALIVE_US {
            return CatchUp::Unknown("the pipeline has not committed for more than 30 s");
        }
    }
    let Some(rate) = rate else { return CatchUp::Unknown("too little was seen of its speed") };
    if rate > 0.0 && records as f64 / rate < KEEPS_UP_SECONDS {
        CatchUp::KeepsUp
    } else if rate > growth {
        CatchUp::In(records as f64 / (rate - growth))
    } else {
        CatchUp::Never
    }
}

struct Report {
    partitions: Vec<(PartitionLag, Option<i64>)>,
    now_us: i64,
    rate: Option<f64>,
    growth: f64,
    catch_up: CatchUp,
}

impl Report {
    fn new(seen: &VecDeque<Look>, times: &[(TopicPartition, Option<i64>)], now_us: i64) -> Self {
        let (first, last) = (&seen[0], &seen[seen.len() - 1]);
        let took = last.at.duration_since(first.at).as_secs_f64().max(0.001);
        // Partitions that were added meanwhile count from their second look on.
        let moved = |of: fn(&PartitionLag) -> Option<i64>| -> Option<f64> {
            let mut sum = 0;
            for now in &last.partitions {
                let Some(before) = first.partitions.iter().find(|p| p.partition == now.partition) else { continue };
                sum += of(now)? - of(before)?;
            }
            Some(sum as f64 / took)
        };
        let growth = moved(|p| Some(p.end)).unwrap_or_default().max(0.0);
        let rate = match &last.commits {
            Some(commits) => commits.rate,
            // A group commits every few seconds, so that only a longer look tells its speed.
            None => moved(|p| p.next).filter(|_| took >= 10.0),
        };
        let records = last.partitions.iter().map(PartitionLag::records).sum::<Option<i64>>();
        let catch_up = catch_up(records, last.commits.as_ref(), rate, growth, now_us);
        let time = |partition: &TopicPartition| times.iter().find(|(p, _)| p == partition).and_then(|(_, at)| *at);
        let partitions = last.partitions.iter().map(|p| (p.clone(), time(&p.partition))).collect();
        Self { partitions, now_us, rate, growth, catch_up }
    }

    fn records(&self) -> Option<i64> {
        self.partitions.iter().map(|(partition, _)| partition.records()).sum()
    }

    /// How long ago the next message to be read was written.
    fn seconds(&self, partition: &PartitionLag, next_at_ms: Option<i64>) -> Option<f64> {
        match partition.records()? {
            0 => Some(0.0),
            _ => Some(((self.now_us / 1000 - next_at_ms?) as f64 / 1000.0).max(0.0)),
        }
    }

    fn most_seconds(&self) -> Option<f64> {
        let all: Option<Vec<f64>> = self.partitions.iter().map(|(p, at)| self.seconds(p, *at)).collect();
        Some(all?.into_iter().fold(0.0, f64::max))
    }

    fn catch_up_text(&self) -> String {
        let rates = || {
            let rate = self.rate.unwrap_or_default();
            format!("it reads {} a second, the topic grows by {}", grouped(rate as u64), grouped(self.growth as u64))
        };
        match self.catch_up {
            CatchUp::Done => "nothing is left to read".to_owned(),
            CatchUp::KeepsUp => format!("it keeps up: {}", rates()),
            CatchUp::In(seconds) => format!("in about {}: {}", rough(seconds), rates()),
            CatchUp::Never => format!("not at this pace: {}", rates()),
            CatchUp::Unknown(why) => format!("unknown: {why}"),
        }
    }

    fn as_json(&self, reader: &Reader) -> serde_json::Value {
        let partition = |(p, next_at): &(PartitionLag, Option<i64>)| {
            json!({
                "topic": &*p.partition.topic, "partition": p.partition.partition, "next": p.next, "end": p.end,
                "records": p.records(), "lost": p.lost(), "seconds": self.seconds(p, *next_at),
                "next_at": next_at.map(|ms| instant(ms * 1000)),
            })
        };
        let (kind, name) = match reader {
            Reader::Pipeline { name, .. } => ("pipeline", name),
            Reader::Group { group, .. } => ("group", group),
        };
        let catch_up_seconds = match self.catch_up {
            CatchUp::Done | CatchUp::KeepsUp => Some(0.0),
            CatchUp::In(seconds) => Some(seconds),
            CatchUp::Never | CatchUp::Unknown(_) => None,
        };
        json!({
            kind: name,
            "partitions": self.partitions.iter().map(partition).collect::<Vec<_>>(),
            "records": self.records(),
            "seconds": self.most_seconds(),
            "read_per_second": self.rate,
            "growth_per_second": self.growth,
            "catch_up_seconds": catch_up_seconds,
            "catch_up": self.catch_up_text(),
        })
    }

    fn render(&self, reader: &Reader) -> String {
        let title = match reader {
            Reader::Pipeline { name, url, .. } => format!("pipeline {name}, by its ledger in {url}"),
            Reader::Group { group, topic } => format!("group {group} on {topic}, by its committed offsets"),
        };
        let unknown = || "-".to_owned();
        let number = |n: i64| grouped(n.unsigned_abs());
        let mut rows = vec![["partition", "next", "end", "records", "seconds", "next message of"].map(str::to_owned)];
        for (p, next_at) in &self.partitions {
            rows.push([
                p.partition.to_string(),
                p.next.map_or_else(unknown, |next| next.to_string()),
                p.end.to_string(),
                p.records().map_or_else(unknown, number),
                self.seconds(p, *next_at).map_or_else(unknown, |seconds| format!("{seconds:.1}")),
                next_at.map_or_else(unknown, |ms| instant(ms * 1000)),
            ]);
        }
        let seconds = self.most_seconds().map_or_else(unknown, |seconds| format!("{seconds:.1}"));
        let records = self.records().map_or_else(unknown, number);
        rows.push(["all".to_owned(), String::new(), String::new(), records, seconds, String::new()]);
        let widths: Vec<usize> =
            (0..6).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
        let mut text = format!("{title}\n");
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
                0 | 5 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        for (p, _) in self.partitions.iter().filter(|(p, _)| p.lost() > 0) {
            text.push_str(&format!("{}: {} offsets were deleted before they were read\n", p.partition, p.lost()));
        }
        text.push_str(&format!("caught up: {}\n", self.catch_up_text()));
        text
    }
}

/// Seconds as a person says them.
fn rough(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_785_542_400_000_000;

    fn commits(released: bool, ago_us: i64, rate: Option<f64>) -> Commits {
        Commits { released, last_at_us: NOW - ago_us, rate }
    }

    #[test]
    fn the_time_to_catch_up_is_told_only_when_both_rates_are_known() {
        let running = commits(false, 1_000_000, Some(500.0));
        let estimate = |records, growth| catch_up(records, Some(&running), running.rate, growth, NOW);
        assert_eq!(estimate(Some(0), 0.0), CatchUp::Done);
        assert_eq!(estimate(Some(40_000), 100.0), CatchUp::In(100.0));
        assert_eq!(estimate(Some(40_000), 500.0), CatchUp::Never);
        assert_eq!(estimate(Some(900), 500.0), CatchUp::KeepsUp);
        let unknown = |commits: &Commits| catch_up(Some(9), Some(commits), commits.rate, 0.0, NOW);
        assert_eq!(unknown(&commits(true, 0, Some(5.0))), CatchUp::Unknown("the pipeline is not running"));
        assert!(matches!(unknown(&commits(false, 31_000_000, Some(5.0))), CatchUp::Unknown(_)));
        assert!(matches!(unknown(&commits(false, 0, None)), CatchUp::Unknown(_)));
        assert!(matches!(catch_up(None, None, Some(1.0), 0.0, NOW), CatchUp::Unknown(_)));
    }

    fn look(at: Instant, next: [Option<i64>; 2], end: [i64; 2], commits: Option<Commits>) -> Look {
        let partition = |n: usize| PartitionLag {
            partition: TopicPartition::new("t", n as i32),
            next: next[n],
            low: 5,
            end: end[n],
        };
        Look { at, partitions: vec![partition(0), partition(1)], commits }
    }

    #[test]
    fn a_report_shows_each_partition_and_the_whole() {
        let at = Instant::now();
        let seen = VecDeque::from([
            look(at, [Some(0), Some(40)], [100, 40], Some(commits(false, 0, Some(60.0)))),
            look(at + Duration::from_secs(2), [Some(2), Some(40)], [200, 40], Some(commits(false, 0, Some(60.0)))),
        ]);
        let times = [(TopicPartition::new("t", 0), Some(NOW / 1000 - 2_500))];
        let report = Report::new(&seen, &times, NOW);
        let reader = Reader::Group { group: "g".into(), topic: "t".into() };
        assert_eq!(
            report.render(&reader),
            "group g on t, by its committed offsets\n\
             partition  next  end  records  seconds  next message of\n\
             t[0]          2  200      195      2.5  2026-07-31T23:59:57.500Z\n\
             t[1]         40   40        0      0.0  -\n\
             all                       195      2.5\n\
             t[0]: 3 offsets were deleted before they were read\n\
             caught up: in about 20 s: it reads 60 a second, the topic grows by 50\n"
        );
        let json = report.as_json(&reader);
        assert_eq!((&json["records"], &json["seconds"]), (&json!(195), &json!(2.5)));
        assert_eq!((&json["partitions"][0]["lost"], &json["catch_up_seconds"]), (&json!(3), &json!(19.5)));
    }

    #[test]
    fn a_group_that_has_committed_nothing_has_no_lag_to_tell() {
        let at = Instant::now();
        let seen = VecDeque::from([look(at, [None, Some(1)], [9, 9], None), look(at, [None, Some(1)], [9, 9], None)]);
        let report = Report::new(&seen, &[], NOW);
        assert_eq!((report.records(), report.most_seconds()), (None, None));
        assert_eq!(report.catch_up_text(), "unknown: the group has committed no offset");
    }
}
