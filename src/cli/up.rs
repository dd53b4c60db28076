//! `turnstile up`: broker, producer and pipeline in one process, for one machine and for evaluation.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use turnstile_pipeline::Pipeline;
use turnstile_track::MessageMove;
use turnstile_values::{MILLISECOND_US, human};

use super::last_run::{DATA, LastRun};
use super::listeners::Listeners;
use super::pipeline_file::{parse_pipeline, split_set};
use super::run::{run_pipeline, schemas};
use crate::console::PipelineFileText;
use crate::exit::Exit;
use crate::flow::{self, City, Context, LakeAccess, LocalTopic, PortChoice, RunOptions, Services, StopCondition};
use crate::process::Process;
use crate::progress::Printing;
use crate::report::Failure;
use crate::tracking::{SIGNAL, TopicRun};

/// The pipeline that runs when no file is named.
const DEFAULT_PIPELINE: &str = include_str!("../../pipelines/mta-turnstile.toml");

/// Its name.
const DEFAULT_NAME: &str = "pipelines/mta-turnstile.toml";

/// Run everything on this machine: embedded broker, producer, pipeline, lake.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile up                          # a synthetic city, event time 60 times as fast as the clock
  turnstile up --speed 1 --dir /data/turnstile
  turnstile up my-pipeline.toml --no-producer

The city's event time begins 30 days ago, so that there is history to query, and passes at --speed until it reaches the
clock. Everything is kept under --dir; the next start resumes where the last one stopped, and other verbs find it with
the same --dir.")]
pub(crate) struct UpArgs {
    /// The pipeline file [default: the turnstile job, built in]
    pipeline: Option<PathBuf>,
    /// Where broker and lake keep their data
    #[arg(long, default_value = DATA)]
    dir: PathBuf,
    /// How many times as fast as real time event time passes
    #[arg(long, default_value_t = 60.0, value_name = "X", value_parser = speed)]
    speed: f64,
    /// Stations of the synthetic city, with 13 turnstiles each, each read every 10 s of event time; a city that exists keeps
    /// its number [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    stations: Option<u64>,
    /// Partitions of the topic, when it is created
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// The broker's port on the loopback address; 0 picks a free one [default: 19092, or a free one]
    #[arg(long)]
    port: Option<u16>,
    /// Run only broker and pipeline: messages come from elsewhere
    #[arg(long)]
    no_producer: bool,
    /// Set a key of the pipeline file; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print events as JSON lines
    #[arg(long)]
    json: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if speed > 0.0 && f64::is_finite(speed) => Ok(speed),
        _ => Err("it must be a number above 0".to_owned()),
    }
}

pub(crate) fn run(args: UpArgs, process: &Process) -> anyhow::Result<Exit> {
    let began = Instant::now();
    std::fs::create_dir_all(&args.dir).map_err(|e| {
        Failure::new(Exit::Failed, format!("the folder {} cannot be created", args.dir.display())).cause(e)
    })?;
    let dir = args.dir.canonicalize().context("the data folder")?;
    let broker = flow::start_broker(&dir, args.port)?;
    let servers = broker.address().to_string();
    let (pipeline, text) = pipeline(&args, &dir, &servers)?;
    let folder = args.pipeline.as_deref().map(flow::folder_of).unwrap_or_default();
    process.shutdown_on_signals()?;
    let local = LocalTopic::open(broker, &pipeline, args.partitions)?;
    let city = match args.no_producer {
        true => None,
        false => Some(City::open(&dir, args.stations, args.speed)?),
    };
    let topic = local.name();
    eprintln!("broker    {servers}  (embedded, for one machine; for production use Apache Kafka)");
    eprintln!("topic     {topic}");
    city.iter().for_each(|city| eprintln!("city      {}", describe(city, args.stations)));
    eprintln!("pipeline  {}", pipeline.name);
    eprintln!("lake      {}", pipeline.lake.url);
    eprintln!("messages  turnstile consume --topic {topic} --bootstrap {servers}");
    let context = Context::new(process, pipeline, &folder, LakeAccess::Write);
    let pipeline = context.pipeline();
    let printing = Printing::start(context.events(), args.json, schemas(context.pipeline()))?;
    let services = context.block_on(Services::start(&context, PortChoice::Any))?;
    if let Some(at) = services.address() {
        eprintln!("warehouse psql -h {} -p {} -U {} {}", at.ip(), at.port(), flow::USER, turnstile_wire::DATABASE);
    }
    let file = PipelineFileText { name: args.pipeline_name(), text };
    let listeners = Listeners::start(&context, PortChoice::Any, Some(file))?;
    if let Some(url) = listeners.url() {
        eprintln!("console   {url}");
    }
    let at = dir_flag(&dir);
    eprintln!("audit     turnstile audit{at}");
    eprintln!("started in {:.2} s; Ctrl-C stops it, the next start resumes", began.elapsed().as_secs_f64());
    let query = example_query(&args, pipeline, &at);
    eprintln!("query     {query}");

    let options = RunOptions {
        until: StopCondition::Shutdown,
        takeover: false,
        accept_loss: false,
        connect_timeout: turnstile_kafka::DEFAULT_CONNECT_TIMEOUT,
        spark: None,
    };
    let produced = city.is_some().then(|| TopicRun::start(&context, MessageMove::Produce, local.name()));
    let progress = produced.as_ref().map(TopicRun::progress);
    let listen = move |delivered, failed| progress.iter().for_each(|progress| progress.tell(delivered, failed));
    let mut pipeline_ended = false;
    let run = || {
        let result = run_pipeline(&context, &options, services, listeners, printing);
        pipeline_ended = result.is_ok();
        result
    };
    let result = local.serve(city.as_ref(), &process.shutdown, listen, run);
    if let Some(produced) = produced {
        match (&result, pipeline_ended) {
            (Ok(_), _) => produced.end(&result, Some(SIGNAL)),
            (Err(_), true) => produced.end(&result, None),
            (Err(_), false) => produced.end(&anyhow::Ok(()), Some("the pipeline failed")),
        }
    }
    if result.is_ok() && !args.json {
        eprintln!("query     {query}");
    }
    result
}

/// What the city sends; `asked` stations are those of the command line.
fn describe(city: &City, asked: Option<u64>) -> String {
    let begun = human::short_instant(city.start_ms.saturating_mul(MILLISECOND_US));
    let stations = human::plural(city.stations, "station");
    let kept = match asked {
        Some(asked) if asked != city.stations => format!(" (it exists, so --stations {asked} has no effect)"),
        _ => String::new(),
    };
    let speed = city.speed;
    format!(
        "{stations}{kept}; event time begins at {begun} and passes {speed} times as fast until it reaches the clock"
    )
}

/// How other verbs find the data folder `dir`: it is theirs by default, or they need `--dir`.
fn dir_flag(dir: &Path) -> String {
    match Path::new(DATA).canonicalize().is_ok_and(|default| default == dir) {
        true => String::new(),
        false => format!(" --dir {}", dir.display()),
    }
}

/// A command that queries the warehouse for what is published.
fn example_query(args: &UpArgs, pipeline: &Pipeline, dir_flag: &str) -> String {
    let table = pipeline.warehouse.as_ref().map_or("ext_turnstile", |warehouse| &warehouse.table);
    let sql = match &args.pipeline {
        None => format!("SELECT STATION, ENTRIES, EXITS FROM {table} WHERE STATION LIKE 'Test%' LIMIT 5"),
        Some(_) => format!("SELECT * FROM {table} LIMIT 5"),
    };
    format!("turnstile sql{dir_flag} \"{sql}\"")
}

impl UpArgs {
    /// The pipeline file's name.
    fn pipeline_name(&self) -> String {
        self.pipeline.as_ref().map_or_else(|| DEFAULT_NAME.to_owned(), |path| path.display().to_string())
    }
}

/// The pipeline, and the text that it was read from.
fn pipeline(args: &UpArgs, dir: &Path, servers: &str) -> anyhow::Result<(Pipeline, String)> {
    let lake = dir.join("lake");
    let mut set = vec![
        ("source.kafka".to_owned(), format!("{{ \"bootstrap.servers\" = \"{servers}\" }}")),
        ("lake.url".to_owned(), format!("file:{}", lake.display())),
        ("track.store".to_owned(), dir.join("runs.sqlite").display().to_string()),
    ];
    let (origin, text) = match &args.pipeline {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Failure::new(Exit::Config, format!("{} cannot be read", path.display())).cause(e))?;
            (args.pipeline_name(), text)
        }
        None => (args.pipeline_name(), DEFAULT_PIPELINE.to_owned()),
    };
    // A secret in --set would have been refused.
    set.extend(split_set(&args.set)?);
    let pipeline = parse_pipeline(&text, &origin, &set)?;
    LastRun::save(dir, &origin, &flow::folder_of(Path::new(&origin)), &text, &set)?;
    Ok((pipeline, text))
}
