//! `turnstile check`: reads a pipeline file, plans its query and describes it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use serde_json::{Value, json};
use turnstile_pipeline::Pipeline;

use super::pipeline_file::{pipeline_failure, split_set};
use super::{check_spark, connect};
use crate::exit::Exit;
use crate::flow::EngineChoice;
use crate::process::Process;
use crate::report::Failure;

/// Check a pipeline file and show its plan, or check its cluster with --connect; nothing is written.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile check pipelines/mta-turnstile.toml
  turnstile check pipelines/mta-turnstile.toml --set stream.watermark='10 minutes'
  turnstile check pipelines/mta-turnstile.toml --json
  turnstile check pipelines/mta-turnstile.toml --connect --connect-timeout 5
  turnstile check pipelines/mta-turnstile.toml --engine spark
  turnstile check pipelines/mta-turnstile.toml --engine spark --remote sc://spark:15002

Exits with 0 when the file is valid and with 3 when it is not; every problem found is listed. With --connect it
exits with the code of the first step that failed.")]
pub(crate) struct CheckArgs {
    /// The pipeline file.
    pipeline: PathBuf,
    /// Set a key of the pipeline file, such as `stream.commit="100 ms"`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Check the cluster instead: resolve, connect, log in, find the topic, read from it, and whether the client may use
    /// the group and the dead-letter topic.
    #[arg(long)]
    connect: bool,
    /// With --connect: a step fails when no broker has answered for this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = turnstile_kafka::DEFAULT_CONNECT_TIMEOUT.as_secs())]
    connect_timeout: u64,
    /// The engine to plan for. spark: what of the pipeline a Spark cluster cannot do, or the plan that it would be sent.
    #[arg(long, value_enum, default_value = "embedded", conflicts_with = "connect")]
    engine: EngineChoice,
    /// With --engine spark: have the Spark Connect server at this address check the plan too. Parameters such as a token belong
    /// into the environment variable SPARK_REMOTE, which is used when the flag is absent.
    #[arg(long, value_name = "sc://HOST:PORT")]
    remote: Option<String>,
    /// Print the plan, or the problems, or the steps of --connect, as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: CheckArgs, process: &Process) -> anyhow::Result<Exit> {
    if args.remote.is_some() && args.engine != EngineChoice::Spark {
        return Err(Failure::new(Exit::Usage, "--remote is the address of a Spark server")
            .hint("add --engine spark")
            .into());
    }
    match Pipeline::from_path_with(&args.pipeline, &split_set(&args.set)?) {
        Ok(pipeline) if args.engine == EngineChoice::Spark => {
            return check_spark::run(process, &pipeline, args.remote.as_deref(), args.json);
        }
        Ok(pipeline) if args.connect => {
            return connect::run(process, pipeline, Duration::from_secs(args.connect_timeout), args.json);
        }
        Ok(pipeline) if args.json => outln!("{}", describe(&pipeline)),
        Ok(pipeline) => out!(
            "{}\nmessage\n{}result\n{}",
            pipeline.explain(),
            pipeline.message_schema_tree(),
            pipeline.output_schema_tree()
        ),
        Err(error) if args.json && !error.problems().is_empty() => {
            outln!("{}", json!({ "ok": false, "problems": problems(&error) }));
            return Ok(Exit::Config);
        }
        Err(error) => return Err(pipeline_failure(error)),
    }
    Ok(Exit::Done)
}

fn describe(pipeline: &Pipeline) -> Value {
    let columns = |columns: Vec<(&str, String, bool)>| -> Vec<Value> {
        let column = |(name, kind, nullable)| json!({ "name": name, "type": kind, "nullable": nullable });
        columns.into_iter().map(column).collect()
    };
    let window = &pipeline.query.window;
    json!({
        "ok": true,
        "name": pipeline.name,
        "plan_hash": pipeline.plan_hash,
        "topic": pipeline.source.topics.to_string(),
        "window": { "size_us": window.size_us, "slide_us": window.slide_us, "offset_us": window.offset_us },
        "message": columns(pipeline.message_columns()),
        "result": columns(pipeline.output_columns()),
        "lake": { "url": pipeline.lake.url, "format": pipeline.lake.format.extension() },
        "plan": pipeline.explain().lines().collect::<Vec<_>>(),
    })
}

/// The problems of a file that was read and is wrong.
fn problems(error: &turnstile_pipeline::PipelineError) -> Vec<Value> {
    let problem = |problem: &turnstile_pipeline::Problem| {
        json!({
            "source": problem.source,
            "line": problem.line,
            "column": problem.column,
            "message": problem.fact(),
            "hint": problem.hint,
        })
    };
    error.problems().iter().map(problem).collect()
}
