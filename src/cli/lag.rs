//! `turnstile lag`: how far a pipeline or a consumer group is behind its topic, and when it will have caught up.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args as ClapArgs;
use serde_json::json;
use turnstile_kafka::ClientSettings;
use turnstile_message::TopicPartition;
use turnstile_values::{SECOND_US, human};

use super::cluster::{ClusterArgs, client_failure};
use super::ledger_at::LedgerAt;
use super::pipeline_args::{FoundPipeline, PipelineArgs};
use super::pipeline_file::add_environment;
use super::text_table::TextTable;
use crate::exit::Exit;
use crate::flow::{self, CatchUp, CommittedPositions, LagMonitor, LagReader, LagReport, PartitionLag, RecentCommits};
use crate::process::Process;
use crate::report::Failure;

/// How long a broker is waited for when the ledger has something to say without it.
const BROKER_WAIT: Duration = Duration::from_secs(5);

/// Time between two reports of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

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
it is \"unknown\" if either rate is unknown. A group's rate is known only with --watch. If no broker can be reached, the
positions and time of the newest commit are shown, and the exit code is 4.")]
pub(crate) struct LagArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// A consumer group, of any program
    #[arg(long, requires = "topic", conflicts_with_all = ["pipeline_file", "dir", "lake", "pipeline"])]
    group: Option<String>,
    /// The topic that the group reads
    #[arg(long, requires = "group")]
    topic: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Repeat every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: LagArgs, process: &Process) -> anyhow::Result<Exit> {
    process.shutdown_on_signals()?;
    match watch(&args, process) {
        // Ctrl-C while it waited for a broker.
        Err(_) if process.shutdown.is_cancelled() => Ok(Exit::Done),
        outcome => outcome.map(|()| Exit::Done),
    }
}

fn watch(args: &LagArgs, process: &Process) -> anyhow::Result<()> {
    let (reader, settings) = args.reader(process)?;
    let mut monitor = LagMonitor::open(reader, &settings, process)?;
    // What needs no broker comes first: whether there is such a ledger is known at once.
    monitor.committed()?;
    let reported = watch_brokers(args, process, &mut monitor);
    if let Err(error) = &reported
        && error.downcast_ref::<Failure>().is_some_and(|f| matches!(f.exit, Exit::Source | Exit::SourceData))
        && let Some(committed) = monitor.committed()?
    {
        if args.json {
            outln!("{}", committed_as_json(&committed, monitor.reader(), error));
        } else {
            out!("{}", render_committed(&committed, monitor.reader(), error));
        }
    }
    reported
}

fn watch_brokers(args: &LagArgs, process: &Process, monitor: &mut LagMonitor) -> anyhow::Result<()> {
    monitor.begin()?;
    while !process.shutdown.is_cancelled() {
        let report = monitor.report()?;
        if args.json {
            outln!("{}", as_json(&report, monitor.reader()));
        } else {
            if args.watch && std::io::stdout().is_terminal() {
                out!("\x1b[H\x1b[J");
            }
            out!("{}", render(&report, monitor.reader()));
        }
        if !args.watch {
            break;
        }
        process.sleep(WATCH_EVERY);
    }
    Ok(())
}

impl LagArgs {
    fn reader(&self, process: &Process) -> anyhow::Result<(LagReader, ClientSettings)> {
        let shutdown = &process.shutdown;
        if let (Some(group), Some(topic)) = (&self.group, &self.topic) {
            let settings = self.cluster.settings(shutdown)?.with("group.id", group, "--group");
            let settings = settings.map_err(|error| client_failure(error.into()))?;
            return Ok((LagReader::Group { group: group.clone(), topic: topic.clone() }, settings));
        }
        let brokers_named_twice = || {
            Failure::new(Exit::Usage, "the pipeline's file names its brokers")
                .hint("leave --bootstrap and --config out, or set others with --set 'source.kafka={…}'")
        };
        if self.cluster.is_named() && self.pipeline.names_file() {
            return Err(brokers_named_twice().into());
        }
        let (reader, settings) = match self.pipeline.find(process)? {
            FoundPipeline::Whole(..) if self.cluster.is_named() => return Err(brokers_named_twice().into()),
            FoundPipeline::Whole(mut pipeline, ..) => {
                add_environment(&mut pipeline)?;
                let settings = flow::client_settings(&pipeline, shutdown)?;
                let options = process.runtime.block_on(flow::lake_options(&pipeline))?;
                let (name, url, topics) = (pipeline.name, pipeline.lake.url, Some(pipeline.source.topics));
                (LagReader::Pipeline { name, url, options, topics }, settings)
            }
            FoundPipeline::Ledger(LedgerAt { url, pipeline: name, options }) => {
                (LagReader::Pipeline { name, url, options, topics: None }, self.cluster.settings(shutdown)?)
            }
        };
        Ok((reader, settings.with_connect_timeout(self.cluster.connect_timeout_or(BROKER_WAIT))))
    }
}

fn catch_up_text(report: &LagReport) -> String {
    let rates = || {
        let rate = report.rate.unwrap_or_default();
        format!(
            "it reads {} a second, the topic grows by {}",
            human::count(rate as u64),
            human::count(report.growth as u64)
        )
    };
    match report.catch_up {
        CatchUp::Done => "nothing is left to read".to_owned(),
        CatchUp::KeepsUp => format!("it keeps up: {}", rates()),
        CatchUp::In(seconds) => {
            format!("in about {}: {}", human::rough_duration((seconds * SECOND_US as f64) as i64), rates())
        }
        CatchUp::Never => format!("not at this rate: {}", rates()),
        CatchUp::Unknown(why) => format!("unknown: {why}"),
    }
}

fn as_json(report: &LagReport, reader: &LagReader) -> serde_json::Value {
    let partition = |p: &PartitionLag| {
        json!({
            "topic": &*p.partition.topic, "partition": p.partition.partition, "next": p.next, "end": p.end,
            "records": p.records(), "lost": p.lost(), "seconds": report.seconds(p),
            "next_at": p.next_at_ms.map(|ms| human::instant(ms * 1000)),
        })
    };
    let (kind, name) = named(reader);
    json!({
        kind: name,
        "commit": report.commits.as_ref().map(|commits| commits.seq),
        "committed_at": report.commits.as_ref().map(|commits| human::instant(commits.last_at_us)),
        "partitions": report.partitions.iter().map(partition).collect::<Vec<_>>(),
        "records": report.records(),
        "seconds": report.max_seconds(),
        "read_per_second": report.rate,
        "growth_per_second": report.growth,
        "catch_up_seconds": report.catch_up.seconds(),
        "catch_up": catch_up_text(report),
    })
}

/// The same object where no broker could be asked: what only brokers know is null.
fn committed_as_json(committed: &CommittedPositions, reader: &LagReader, error: &anyhow::Error) -> serde_json::Value {
    let partition = |(partition, next): &(TopicPartition, i64)| {
        json!({
            "topic": &*partition.topic, "partition": partition.partition, "next": next, "end": null, "records": null,
            "lost": null, "seconds": null, "next_at": null,
        })
    };
    let (kind, name) = named(reader);
    json!({
        kind: name,
        "commit": committed.commits.seq,
        "committed_at": human::instant(committed.commits.last_at_us),
        "partitions": committed.next.iter().map(partition).collect::<Vec<_>>(),
        "records": null,
        "seconds": null,
        "read_per_second": null,
        "growth_per_second": null,
        "catch_up_seconds": null,
        "catch_up": format!("unknown: {error}"),
    })
}

fn named(reader: &LagReader) -> (&'static str, &str) {
    match reader {
        LagReader::Pipeline { name, .. } => ("pipeline", name),
        LagReader::Group { group, .. } => ("group", group),
    }
}

fn title(reader: &LagReader) -> String {
    match reader {
        LagReader::Pipeline { name, url, .. } => format!("pipeline {name}, by its ledger in {url}"),
        LagReader::Group { group, topic } => format!("group {group} on {topic}, by its committed offsets"),
    }
}

/// What the ledger knows, where no broker could be asked for the ends of the partitions.
fn render_committed(committed: &CommittedPositions, reader: &LagReader, error: &anyhow::Error) -> String {
    let RecentCommits { seq, last_at_us, released, .. } = &committed.commits;
    let mut table = TextTable::new(["partition", "next"], 1..2);
    for (partition, next) in &committed.next {
        table.row([partition.to_string(), next.to_string()]);
    }
    let state = if *released { "; the pipeline is not running" } else { "" };
    let at = human::instant(*last_at_us);
    format!("{}\n{table}as of commit {seq} at {at}{state}\nlag: unknown: {error}\n", title(reader))
}

fn render(report: &LagReport, reader: &LagReader) -> String {
    let unknown = || "-".to_owned();
    let number = |n: i64| human::count(n.unsigned_abs());
    let seconds = |seconds: Option<f64>| seconds.map_or_else(unknown, |seconds| format!("{seconds:.1}"));
    let mut table = TextTable::new(["partition", "next", "end", "records", "seconds", "next message of"], 1..5);
    for p in &report.partitions {
        table.row([
            p.partition.to_string(),
            p.next.map_or_else(unknown, |next| next.to_string()),
            p.end.to_string(),
            p.records().map_or_else(unknown, number),
            seconds(report.seconds(p)),
            p.next_at_ms.map_or_else(unknown, |ms| human::instant(ms * 1000)),
        ]);
    }
    let records = report.records().map_or_else(unknown, number);
    let total = seconds(report.max_seconds());
    table.row(["all".to_owned(), String::new(), String::new(), records, total, String::new()]);
    let mut text = format!("{}\n{table}", title(reader));
    for p in report.partitions.iter().filter(|p| p.lost() > 0) {
        let lost = human::plural(p.lost().unsigned_abs(), "offset");
        text.push_str(&format!("{}: {lost} deleted before they were read\n", p.partition));
    }
    text.push_str(&format!("caught up: {}\n", catch_up_text(report)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{committed_example, lag_example};

    #[test]
    fn a_report_shows_each_partition_and_the_total() {
        let report = lag_example();
        let reader = LagReader::Group { group: "g".into(), topic: "t".into() };
        assert_eq!(
            render(&report, &reader),
            "group g on t, by its committed offsets\n\
             partition  next  end  records  seconds  next message of\n\
             t[0]          2  200      195      2.5  2026-07-31T23:59:57.500Z\n\
             t[1]         40   40        0      0.0  -\n\
             all                       195      2.5\n\
             t[0]: 3 offsets deleted before they were read\n\
             caught up: in about 20 seconds: it reads 60 a second, the topic grows by 50\n"
        );
        let json = as_json(&report, &reader);
        assert_eq!((&json["records"], &json["seconds"]), (&json!(195), &json!(2.5)));
        assert_eq!((&json["partitions"][0]["lost"], &json["catch_up_seconds"]), (&json!(3), &json!(19.5)));
    }

    #[test]
    fn without_a_broker_a_report_tells_what_the_ledger_knows() {
        let reader =
            LagReader::Pipeline { name: "p".into(), url: "file:l".into(), options: Default::default(), topics: None };
        let error = anyhow::anyhow!("no broker answers");
        assert_eq!(
            render_committed(&committed_example(), &reader, &error),
            "pipeline p, by its ledger in file:l\n\
             partition  next\n\
             t[0]          2\n\
             t[1]         40\n\
             as of commit 9 at 2026-08-01T00:00:00Z; the pipeline is not running\n\
             lag: unknown: no broker answers\n"
        );
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let (known, whole) =
            (committed_as_json(&committed_example(), &reader, &error), as_json(&lag_example(), &reader));
        assert_eq!(keys(&known), keys(&whole), "programs find the same keys");
        assert_eq!(keys(&known["partitions"][0]), keys(&whole["partitions"][0]));
        assert_eq!((&known["partitions"][1]["next"], &known["commit"]), (&json!(40), &json!(9)));
    }
}
