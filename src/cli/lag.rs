//! `turnstile lag`: how far a pipeline or a consumer group is behind its topic, and when it will have caught up.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use serde_json::json;
use turnstile_kafka::ClientSettings;
use turnstile_values::{SECOND_US, human};

use super::cluster::{ClusterArgs, client_failure};
use super::last_run::pipeline_or_last;
use super::pipeline_file::store_set;
use super::text_table::TextTable;
use crate::exit::Exit;
use crate::flow::{self, CatchUp, LagMonitor, LagReader, LagReport, PartitionLag};
use crate::process::Process;
use crate::report::Failure;

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
it is \"unknown\" if either rate is unknown. A group's rate is known only with --watch.")]
pub(crate) struct LagArgs {
    /// The pipeline file, which names the brokers too [default: the pipeline that `turnstile up` or
    /// `stream` ran last in ./turnstile-data]
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
    let mut monitor = LagMonitor::start(reader, &settings, process)?;
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
        if self.lake.is_none() && self.group.is_none() {
            let pipeline = pipeline_or_last(self.file.as_ref(), &self.set)?;
            let timeout = self.cluster.connect_timeout();
            let settings = flow::client_settings(&pipeline, shutdown)?.with_connect_timeout(timeout);
            let options = flow::store_options(&pipeline);
            let (name, url, topics) = (pipeline.name, pipeline.lake.url, Some(pipeline.source.topics));
            return Ok((LagReader::Pipeline { name, url, options, topics }, settings));
        }
        if let (Some(url), Some(name)) = (&self.lake, &self.pipeline) {
            let options = store_set(&self.set)?;
            let reader = LagReader::Pipeline { name: name.clone(), url: url.clone(), options, topics: None };
            return Ok((reader, self.cluster.settings(shutdown)?));
        }
        if let (Some(group), Some(topic)) = (&self.group, &self.topic) {
            let settings = self.cluster.settings(shutdown)?.with("group.id", group, "--group");
            let settings = settings.map_err(|error| client_failure(error.into()))?;
            return Ok((LagReader::Group { group: group.clone(), topic: topic.clone() }, settings));
        }
        // clap requires both of each pair.
        Err(Failure::new(Exit::Usage, "no pipeline or group is named").into())
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
    let (kind, name) = match reader {
        LagReader::Pipeline { name, .. } => ("pipeline", name),
        LagReader::Group { group, .. } => ("group", group),
    };
    json!({
        kind: name,
        "partitions": report.partitions.iter().map(partition).collect::<Vec<_>>(),
        "records": report.records(),
        "seconds": report.max_seconds(),
        "read_per_second": report.rate,
        "growth_per_second": report.growth,
        "catch_up_seconds": report.catch_up.seconds(),
        "catch_up": catch_up_text(report),
    })
}

fn render(report: &LagReport, reader: &LagReader) -> String {
    let title = match reader {
        LagReader::Pipeline { name, url, .. } => format!("pipeline {name}, by its ledger in {url}"),
        LagReader::Group { group, topic } => format!("group {group} on {topic}, by its committed offsets"),
    };
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
    let mut text = format!("{title}\n{table}");
    for p in report.partitions.iter().filter(|p| p.lost() > 0) {
        text.push_str(&format!("{}: {} offsets were deleted before they were read\n", p.partition, p.lost()));
    }
    text.push_str(&format!("caught up: {}\n", catch_up_text(report)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::lag_example;

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
             t[0]: 3 offsets were deleted before they were read\n\
             caught up: in about 20 seconds: it reads 60 a second, the topic grows by 50\n"
        );
        let json = as_json(&report, &reader);
        assert_eq!((&json["records"], &json["seconds"]), (&json!(195), &json!(2.5)));
        assert_eq!((&json["partitions"][0]["lost"], &json["catch_up_seconds"]), (&json!(3), &json!(19.5)));
    }
}
