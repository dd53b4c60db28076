//! `turnstile migrate`: moves a pipeline to another engine.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;
use turnstile_message::OffsetRange;
use turnstile_values::human;

use super::pipeline_file::load_pipeline_for_cluster;
use crate::exit::Exit;
use crate::flow::{self, Context, EngineChoice, LakeAccess, Migration};
use crate::process::Process;

/// Move a pipeline that does not run from this program to a Spark cluster, or back.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile migrate pipelines/mta-stations.toml --to spark
  turnstile run pipelines/mta-stations.toml --engine spark --remote sc://spark:15002
  turnstile migrate pipelines/mta-stations.toml --to embedded

The ledger says which windows are published and how far the topic was read. The other engine goes on from there: messages of
windows that are open are read again, no window is missing, and none comes twice. The topic must still have those messages.")]
pub(crate) struct MigrateArgs {
    /// The pipeline file.
    pipeline: PathBuf,
    /// The engine that goes on with the pipeline
    #[arg(long, value_enum, value_name = "ENGINE")]
    to: EngineChoice,
    /// Set a key of the pipeline file, such as `lake.url="s3://bucket/path"`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Brokers to start from, as host:port,…
    #[arg(long, value_name = "SERVERS")]
    bootstrap: Option<String>,
    /// Fail when no broker has answered for this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = turnstile_kafka::DEFAULT_CONNECT_TIMEOUT.as_secs())]
    connect_timeout: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: MigrateArgs, process: &Process) -> anyhow::Result<Exit> {
    let mut pipeline = load_pipeline_for_cluster(&args.pipeline, &args.set)?;
    if let Some(servers) = args.bootstrap {
        pipeline.source.kafka.insert("bootstrap.servers".to_owned(), servers);
    }
    process.shutdown_on_signals()?;
    let context = Context::new(process, pipeline, &flow::folder_of(&args.pipeline), LakeAccess::WriteExisting);
    let migration = flow::migrate(&context, args.to, Duration::from_secs(args.connect_timeout));
    let migration = context.block_on(migration)?;
    match args.json {
        true => outln!("{}", as_json(&migration, args.to)),
        false => out!("{}", as_text(&migration, args.to, &context.pipeline().name)),
    }
    Ok(Exit::Done)
}

fn as_text(migration: &Migration, to: EngineChoice, name: &str) -> String {
    let (engine, run) = match to {
        EngineChoice::Spark => ("Spark", "`turnstile run PIPELINE.toml --engine spark --remote sc://HOST`"),
        EngineChoice::Embedded => ("the embedded engine", "`turnstile run PIPELINE.toml`"),
    };
    if migration.was_there {
        return format!("{name} is a pipeline of {engine} already; nothing was changed\n");
    }
    let until = migration.published_until_us.map_or("none".to_owned(), human::instant);
    let again = match migration.again.as_slice() {
        [] => "none: no window is open".to_owned(),
        ranges => ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    format!(
        "{name} moved to {engine} with commit {}\n  windows published until  {until}\n  messages read again      {again}\n  \
         next                     {run}\n",
        migration.seq
    )
}

fn as_json(migration: &Migration, to: EngineChoice) -> serde_json::Value {
    let range = |range: &OffsetRange| {
        json!({
            "topic": &*range.partition.topic, "partition": range.partition.partition,
            "first": range.first, "last": range.last,
        })
    };
    json!({
        "engine": to.to_possible_value().map(|value| value.get_name().to_owned()),
        "moved": !migration.was_there,
        "seq": migration.seq,
        "published_until": migration.published_until_us.map(human::instant),
        "read_again": migration.again.iter().map(range).collect::<Vec<_>>(),
    })
}
