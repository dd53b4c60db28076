//! `turnstile stream`: the turnstile job with the original's command line. The same flow as `run`; the pipeline file is the
//! built-in one with the flags applied.

use std::path::Path;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};
use turnstile_pipeline::{Pipeline, with_window};
use turnstile_values::duration;

use super::cluster::ClusterArgs;
use super::last_run::{DATA, LastRun};
use super::pipeline_args::location;
use super::pipeline_file::add_environment;
use super::run::RunOptionArgs;
use super::zone::{Zone, zone};
use crate::console::PipelineFileText;
use crate::exit::Exit;
use crate::process::Process;
use crate::report::Failure;

/// The pipeline that the flags are applied to.
const BUILT_IN: &str = include_str!("../../pipelines/mta-turnstile.toml");

/// What stands for its file in messages.
const BUILT_IN_NAME: &str = "the built-in pipeline";

/// The comment at its top.
const TITLE: &str = "\
# Turnstile readings in windows: entries and exits of every turnstile. Printed by `turnstile stream`.
#
# Every key, its unit and its default: docs/pipeline-file.md. The SQL: docs/sql.md.

";

/// Run the turnstile job on a topic: sums of entries and exits in windows, published to a lake
///
/// It runs a pipeline file, which --print-pipeline prints: to change more, edit that and use `turnstile run`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile stream --topic mta-turnstile --group turnstile --client me --config ~/.kafka/docker-kafka.properties
  turnstile stream --topic mta-turnstile --bootstrap localhost:9092 --duration '1 hour' --slide '5 minutes'
  turnstile stream --topic mta-turnstile --print-pipeline > mta.toml && turnstile run mta.toml

A run resumes where the last one stopped. Ctrl-C commits what was read and leaves windows open.")]
pub(crate) struct StreamArgs {
    /// Topic to read
    #[arg(long)]
    topic: String,
    /// Consumer group that the position is committed to, for lag tools; the ledger in the lake decides where a run resumes
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Name of this client in the broker's logs and metrics
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Length of a window, as a Spark interval
    #[arg(long, value_name = "INTERVAL", default_value = "5 minutes", value_parser = interval)]
    duration: Interval,
    /// From one window's start to the next, as a Spark interval [default: the duration: windows do not overlap]
    #[arg(long, value_name = "INTERVAL", value_parser = interval)]
    slide: Option<Interval>,
    /// Time zone of the readings' local times: `local` (this machine's, as `turnstile produce` writes them) or a name. It is part
    /// of the plan: a run elsewhere needs the same
    #[arg(long, default_value = "local", value_parser = zone)]
    zone: Zone,
    /// The lake: a URL such as s3://bucket/turnstile, or a folder [default: ./turnstile-data/lake]
    #[arg(long, value_name = "LOCATION")]
    lake: Option<String>,
    /// Name of the pipeline: it names the ledger and is part of file names [default: the topic]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print the pipeline file for these flags, and run nothing
    #[arg(long)]
    print_pipeline: bool,
    #[command(flatten)]
    how: RunOptionArgs,
}

/// An interval of time as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interval {
    text: String,
    us: i64,
}

fn interval(text: &str) -> Result<Interval, String> {
    let hint = "write a Spark interval: \"5 minutes\", \"1 hour\", \"1 hour 30 minutes\"";
    match duration::parse_spark_us(text) {
        Ok(us) if us > 0 => Ok(Interval { text: text.trim().to_owned(), us }),
        Ok(_) => Err(format!("a window must be longer than zero; {hint}")),
        Err(reason) => Err(format!("{reason}; {hint}")),
    }
}

pub(crate) fn run(args: StreamArgs, process: &Process) -> anyhow::Result<Exit> {
    args.check_slide()?;
    let text = args.pipeline_text()?;
    if args.print_pipeline {
        out!("{text}");
        return Ok(Exit::Done);
    }
    // The built-in text is valid, so an error comes from the command line.
    let mut pipeline = Pipeline::from_str(&text, BUILT_IN_NAME).map_err(|error| {
        Failure::of(Exit::Usage, error).hint("--print-pipeline prints the pipeline file for these flags")
    })?;
    if args.lake.is_none() {
        save_as_last(&text)?;
    }
    add_environment(&mut pipeline)?;
    print_summary(&args, &pipeline);
    let timeout = args.cluster.connect_timeout();
    let file = PipelineFileText { name: BUILT_IN_NAME.to_owned(), text };
    args.how.run(process, pipeline, Path::new(""), Some(file), timeout, None)
}

/// Saves the pipeline for verbs that are given no pipeline file. A folder that cannot be made is the lake's too, which
/// reports it.
fn save_as_last(text: &str) -> anyhow::Result<()> {
    match std::fs::create_dir_all(DATA) {
        Ok(()) => LastRun::save(Path::new(DATA), BUILT_IN_NAME, Path::new(""), text, &[]),
        Err(_) => Ok(()),
    }
}

/// Prints what runs.
fn print_summary(args: &StreamArgs, pipeline: &Pipeline) {
    eprintln!("pipeline  {}, built in; --print-pipeline prints its file", pipeline.name);
    let slide = args.slide.as_ref().filter(|slide| slide.us != args.duration.us);
    let slide = slide.map(|slide| format!(", one every {}", slide.text)).unwrap_or_default();
    eprintln!("windows   {}{slide}", args.duration.text);
    eprintln!("zone      {}", args.zone);
    eprintln!("lake      {}", pipeline.lake.url);
    if args.lake.is_none() {
        let table = pipeline.warehouse.as_ref().map_or("ext_turnstile", |warehouse| &warehouse.table);
        let sql = format!("SELECT STATION, ENTRIES, EXITS FROM {table} WHERE STATION LIKE 'Test%' LIMIT 5");
        eprintln!("query     turnstile sql \"{sql}\"");
    }
}

impl StreamArgs {
    fn check_slide(&self) -> anyhow::Result<()> {
        let Some(slide) = self.slide.as_ref().filter(|slide| slide.us > self.duration.us) else { return Ok(()) };
        let fact = format!("--slide {:?} is longer than --duration {:?}", slide.text, self.duration.text);
        Err(Failure::new(Exit::Usage, fact).hint("rows between two windows would be lost").into())
    }

    /// The built-in pipeline file with the flags applied. Its comments stay.
    fn pipeline_text(&self) -> anyhow::Result<String> {
        let (properties, servers) = self.cluster.location()?;
        let mut file: DocumentMut = BUILT_IN.parse()?;
        set_comment(&mut file, "name", TITLE);
        set(&mut file, "name", self.name()?);
        let source = section(&mut file, "source")?;
        set(source, "topic", &self.topic);
        if let Some(properties) = properties {
            set_comment(source, "kafka", "");
            set(source, "properties", properties.display().to_string());
        }
        let kafka = [("bootstrap.servers", &servers), ("group.id", &self.group), ("client.id", &self.client)];
        set(
            source,
            "kafka",
            kafka.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?))).collect::<InlineTable>(),
        );
        let timestamp = source.get_mut("schema").and_then(|schema| schema.get_mut("TIMESTAMP"));
        let timestamp = timestamp.and_then(Item::as_inline_table_mut);
        timestamp.context("the built-in pipeline has no TIMESTAMP")?.insert("zone", self.zone.tz.name().into());
        let query = section(&mut file, "query")?;
        let sql = query.get("sql").and_then(Item::as_str).and_then(|sql| self.with_window(sql));
        let sql = sql.context("the built-in pipeline does not group by a window")?;
        set(query, "sql", sql);
        let lake = self.lake.as_deref().map_or_else(|| format!("file:./{DATA}/lake"), location);
        set(section(&mut file, "lake")?, "url", lake);
        Ok(file.to_string())
    }

    fn with_window(&self, sql: &str) -> Option<String> {
        with_window(sql, &self.duration.text, self.slide.as_ref().map(|slide| slide.text.as_str()))
    }

    /// The offsets of another topic are another pipeline's.
    fn name(&self) -> anyhow::Result<String> {
        let name = self.name.clone().unwrap_or_else(|| self.topic.clone());
        let is_valid = name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if self.name.is_none() && !is_valid {
            let fact = format!(
                "the topic {name:?} is not a valid pipeline name: at most 64 characters, starting with a letter or digit"
            );
            return Err(Failure::new(Exit::Usage, fact).hint("choose a name with --name").into());
        }
        Ok(name)
    }
}

fn section<'a>(file: &'a mut DocumentMut, name: &str) -> anyhow::Result<&'a mut Table> {
    file.get_mut(name).and_then(Item::as_table_mut).with_context(|| format!("the built-in pipeline has no [{name}]"))
}

/// Sets `key`; the comments of its line and above it stay.
fn set(table: &mut Table, key: &str, value: impl Into<Value>) {
    let mut value = value.into();
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *value.decor_mut() = old.decor().clone();
    }
    table[key] = Item::Value(value);
}

/// Replaces the comment above `key`.
fn set_comment(table: &mut Table, key: &str, comment: &str) {
    if let Some(mut key) = table.key_mut(key) {
        key.leaf_decor_mut().set_prefix(comment);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: StreamArgs,
    }

    fn args(line: &[&str]) -> StreamArgs {
        Line::try_parse_from([&["stream"], line].concat()).map_err(|e| e.to_string()).unwrap().args
    }

    #[test]
    fn every_flag_of_the_original_is_in_the_pipeline() {
        let flags = ["--topic", "t-1", "--group", "g \"1\"", "--client", "c", "--config", "/etc/k.properties"];
        let args = args(&[&flags[..], &["--duration", "1 hour", "--slide", "5 minutes"]].concat());
        let text = args.pipeline_text().unwrap();
        let pipeline = Pipeline::from_str(&text, "test").map_err(|e| e.to_string()).unwrap();
        assert_eq!((pipeline.name.as_str(), pipeline.source.topics.single()), ("t-1", Some("t-1")));
        assert_eq!(pipeline.source.properties.as_deref(), Some(Path::new("/etc/k.properties")));
        let kafka: Vec<_> = pipeline.source.kafka.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(kafka, [("client.id", "c"), ("group.id", "g \"1\"")]);
        let window = pipeline.query.window;
        assert_eq!((window.size_us, window.slide_us), (3_600_000_000, 300_000_000));
        assert_eq!(pipeline.lake.url, "file:./turnstile-data/lake");
    }

    #[test]
    fn without_flags_it_is_the_built_in_pipeline() {
        let zone = ["--zone", "America/New_York"];
        let args = args(&[&["--topic", "mta-turnstile", "--bootstrap", "localhost:9092"], &zone[..]].concat());
        let ours = Pipeline::from_str(&args.pipeline_text().unwrap(), "test").unwrap();
        let built_in = Pipeline::from_str(BUILT_IN, "test").unwrap();
        assert_eq!((&ours.name, &ours.plan_hash), (&built_in.name, &built_in.plan_hash));
        assert_eq!(ours.source.kafka, built_in.source.kafka);
    }

    #[test]
    fn the_printed_file_keeps_the_comments_of_the_built_in_pipeline() {
        let args =
            args(&["--topic", "t", "--config", "k.properties", "--client", "c \"1\"\u{7f}", "--lake", "s3://b/t"]);
        let text = args.pipeline_text().unwrap();
        let expected = [
            "# Turnstile readings in windows: entries and exits of every turnstile. Printed by `turnstile stream`.\n",
            "name = \"t\"\n",
            "properties = \"k.properties\"\n",
            "# The order is the order of the CSV fields.\n[source.schema]\n",
            "url    = \"s3://b/t\"             # or gs://, s3://, az://\n",
        ];
        expected.iter().for_each(|part| assert!(text.contains(part), "{part} is not in {text}"));
        assert!(!text.contains("For a broker with credentials"), "{text}");
        let kafka = Pipeline::from_str(&text, "test").map_err(|e| e.to_string()).unwrap().source.kafka;
        assert_eq!(kafka.get("client.id").map(String::as_str), Some("c \"1\"\u{7f}"));
    }

    #[test]
    fn an_interval_that_spark_does_not_accept_is_refused_with_an_example() {
        for wrong in ["5", "five minutes", "5 min", "0 minutes", "-1 hour", "1 month", "5 minutes')--"] {
            let error = interval(wrong).unwrap_err();
            assert!(error.contains("\"5 minutes\""), "{wrong}: {error}");
        }
        assert_eq!(interval("INTERVAL 5 minutes").unwrap().us, 300_000_000);
        let longer = args(&["--topic", "t", "--bootstrap", "b:1", "--duration", "5 minutes", "--slide", "1 hour"]);
        assert!(longer.check_slide().unwrap_err().to_string().contains("--slide \"1 hour\" is longer"));
    }
}
