//! `turnstile up`: broker, producer and pipeline in one process, for one machine and for evaluation.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use turnstile_pipeline::Pipeline;

use super::last_run::{self, DATA};
use super::pipeline_file::{parse_pipeline, split_set};
use super::run::run_pipeline;
use crate::exit::Exit;
use crate::flow::{
    self, CityOptions, Context, LakeAccess, LocalTopic, PortChoice, RunOptions, Services, StopCondition,
};
use crate::process::Process;
use crate::progress::Printing;
use crate::report::Failure;

/// The pipeline that runs when no file is named.
const DEFAULT_PIPELINE: &str = include_str!("../../pipelines/mta-turnstile.toml");

/// Run everything on this machine: embedded broker, producer, pipeline, lake.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile up                          # a synthetic city, event time 60 times as fast as the clock
  turnstile up --speed 1 --dir /data/turnstile
  turnstile up my-pipeline.toml --no-producer

Everything is kept under --dir; the next start resumes where the last one stopped.")]
pub(crate) struct UpArgs {
    /// The pipeline file [default: the turnstile job, built in]
    pipeline: Option<PathBuf>,
    /// Where broker and lake keep their data
    #[arg(long, default_value = DATA)]
    dir: PathBuf,
    /// How many times as fast as real time event time passes
    #[arg(long, default_value_t = 60.0, value_name = "X")]
    speed: f64,
    /// Stations of the synthetic city, with 13 turnstiles each, each read every 10 s of event time
    #[arg(long, default_value_t = 20, value_name = "N")]
    stations: u64,
    /// Partitions of the topic, when it is created
    #[arg(long, default_value_t = 4, value_name = "N")]
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

pub(crate) fn run(args: UpArgs, process: &Process) -> anyhow::Result<Exit> {
    if !(args.speed.is_finite() && args.speed > 0.0) {
        return Err(Failure::new(Exit::Usage, "--speed must be above 0").into());
    }
    let began = Instant::now();
    std::fs::create_dir_all(&args.dir).map_err(|e| {
        Failure::new(Exit::Failed, format!("the folder {} cannot be created", args.dir.display())).cause(e)
    })?;
    let dir = args.dir.canonicalize().context("the data folder")?;
    let broker = flow::start_broker(&dir, args.port)?;
    let servers = broker.address().to_string();
    let pipeline = pipeline(&args, &dir, &servers)?;
    let folder = args.pipeline.as_deref().map(flow::folder_of).unwrap_or_default();
    process.shutdown_on_signals()?;
    let local = LocalTopic::open(broker, &pipeline, args.partitions)?;
    let topic = local.name();
    eprintln!("broker    {servers}  (embedded, for one machine; for production use Apache Kafka)");
    eprintln!("topic     {topic}");
    eprintln!("pipeline  {}", pipeline.name);
    eprintln!("lake      {}", pipeline.lake.url);
    eprintln!("messages  turnstile consume --topic {topic} --bootstrap {servers}");
    let context = Context::new(process, pipeline, &folder, LakeAccess::Write);
    let pipeline = context.pipeline();
    let printing = Printing::start(context.events(), args.json)?;
    let services = context.block_on(Services::start(&context, PortChoice::Any))?;
    if let Some(at) = services.address() {
        eprintln!("warehouse psql -h {} -p {} -U {} {}", at.ip(), at.port(), flow::USER, turnstile_wire::DATABASE);
    }
    eprintln!("audit     turnstile audit --lake {} --pipeline {}", pipeline.lake.url, pipeline.name);
    eprintln!("started in {:.2} s; Ctrl-C stops it, the next start resumes", began.elapsed().as_secs_f64());
    let query = example_query(&args, pipeline, services.address());
    eprintln!("query     {query}");

    let shutdown = &process.shutdown;
    let city = CityOptions { stations: args.stations, speed: args.speed };
    let options = RunOptions {
        until: StopCondition::Shutdown,
        takeover: false,
        accept_loss: false,
        connect_timeout: turnstile_kafka::DEFAULT_CONNECT_TIMEOUT,
    };
    let city = Some(&city).filter(|_| !args.no_producer);
    let result = local.serve(city, &dir, shutdown, || run_pipeline(&context, &options, services, printing));
    if result.is_ok() && !args.json && args.dir == Path::new(DATA) {
        eprintln!("query     {query}");
    }
    result
}

/// A command that queries the warehouse for what is published: through the port if the data is not in the default folder.
fn example_query(args: &UpArgs, pipeline: &Pipeline, port: Option<SocketAddr>) -> String {
    let table = pipeline.warehouse.as_ref().map_or("ext_turnstile", |warehouse| &warehouse.table);
    let sql = match &args.pipeline {
        None => format!("SELECT STATION, ENTRIES, EXITS FROM {table} WHERE STATION LIKE 'Test%' LIMIT 5"),
        Some(_) => format!("SELECT * FROM {table} LIMIT 5"),
    };
    match port {
        Some(at) if args.dir != Path::new(DATA) => {
            let (ip, port, user) = (at.ip(), at.port(), flow::USER);
            format!("psql -h {ip} -p {port} -U {user} -d {} -c \"{sql}\"", turnstile_wire::DATABASE)
        }
        _ => format!("turnstile sql \"{sql}\""),
    }
}

fn pipeline(args: &UpArgs, dir: &Path, servers: &str) -> anyhow::Result<Pipeline> {
    let lake = dir.join("lake");
    let mut set = vec![
        ("source.kafka".to_owned(), format!("{{ \"bootstrap.servers\" = \"{servers}\" }}")),
        ("lake.url".to_owned(), format!("file:{}", lake.display())),
    ];
    let (origin, text) = match &args.pipeline {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Failure::new(Exit::Config, format!("{} cannot be read", path.display())).cause(e))?;
            (path.display().to_string(), text)
        }
        None => ("pipelines/mta-turnstile.toml".to_owned(), DEFAULT_PIPELINE.to_owned()),
    };
    // A secret in --set would have been refused.
    set.extend(split_set(&args.set)?);
    let pipeline = parse_pipeline(&text, &origin, &set)?;
    last_run::save(dir, &origin, &text, &set)?;
    Ok(pipeline)
}
