//! `turnstile up`: broker, producer and pipeline in one process, for one machine and for evaluation.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use turnstile_broker::{Broker, BrokerError};
use turnstile_kafka::{
    CityProvider, CitySettings, ClientSettings, ClockZone, FeedPlan, KafkaConnection, NewTopicPlan, Pace, Producer,
    ProducerLimits, ProducerRecord, Provider, ProviderError, SyntheticClock, TopicAdmin, feed,
};
use turnstile_message::TopicPartition;
use turnstile_pipeline::Pipeline;

use super::cluster::client_failure;
use super::remembered::{DATA, remember};
use super::run::run_pipeline;
use super::{parse_pipeline, split_set};
use crate::exit::Exit;
use crate::flow::{Context, LakeAccess, PortChoice, RunOptions, Services, StopCondition};
use crate::process::Process;
use crate::progress::Printing;
use crate::report::Failure;

/// The pipeline that runs when no file is named.
const DEFAULT_PIPELINE: &str = include_str!("../../pipelines/mta-turnstile.toml");

/// The port that is tried first, so that the next start has the same address.
const PORT: u16 = 19_092;

/// How far back the synthetic city begins, so that event time can run fast for a while before it reaches the clock.
const BEGINS_BACK: Duration = Duration::from_secs(30 * 24 * 3600);

/// Prefix of the synthetic city's station names, as in the original's producers.
const STATION_PREFIX: &str = "Test-Station";

/// How long the producer may take to deliver what it has sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Run everything on this machine: embedded broker, producer, pipeline, lake.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile up                          # a synthetic city, event time 60 times as fast as the clock
  turnstile up --speed 1 --dir /data/turnstile
  turnstile up my-pipeline.toml --no-producer

Everything is kept under --dir; the next start resumes where the last one stopped.")]
pub(crate) struct Args {
    /// The pipeline file [default: the turnstile job, built in]
    pipeline: Option<PathBuf>,
    /// Where broker and lake keep their data
    #[arg(long, default_value = DATA)]
    dir: PathBuf,
    /// How many times as fast as the clock event time runs
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

pub(crate) fn run(args: Args, process: &Process) -> anyhow::Result<Exit> {
    if !(args.speed.is_finite() && args.speed > 0.0) {
        return Err(Failure::new(Exit::Usage, "--speed must be above 0").into());
    }
    let began = Instant::now();
    std::fs::create_dir_all(&args.dir).map_err(|e| {
        Failure::new(Exit::Failed, format!("the folder {} cannot be created", args.dir.display())).cause(e)
    })?;
    let dir = args.dir.canonicalize().context("the data folder")?;
    let broker = start_broker(&dir, args.port)?;
    let servers = broker.address().to_string();
    let pipeline = pipeline(&args, &dir, &servers)?;
    let folder = args.pipeline.as_deref().map(crate::flow::folder_of).unwrap_or_default();
    process.shutdown_on_signals()?;
    let settings = ClientSettings::from_servers(&servers).map_err(|e| client_failure(e.into()))?;
    let Some(topic) = pipeline.source.topics.single().map(str::to_owned) else {
        let fact =
            format!("`turnstile up` produces into one topic, and {} reads {}", pipeline.name, pipeline.source.topics);
        return Err(Failure::new(Exit::Config, fact).hint("name one topic with --set source.topic=NAME").into());
    };
    let topics = TopicAdmin::open(&settings).map_err(client_failure)?;
    let plan = NewTopicPlan { topic: topic.clone(), partitions: args.partitions, replication: 1, config: Vec::new() };
    topics.create_if_missing(&plan).map_err(client_failure)?;
    drop(topics);
    eprintln!("broker    {servers}  (embedded, for one machine; production is Apache Kafka)");
    eprintln!("topic     {topic}");
    eprintln!("pipeline  {}", pipeline.name);
    eprintln!("lake      {}", pipeline.lake.url);
    eprintln!("messages  turnstile consume --topic {topic} --bootstrap {servers}");
    let context = Context::new(process, pipeline, &folder, LakeAccess::Write);
    let pipeline = context.pipeline();
    let printing = Printing::start(context.events(), args.json)?;
    let services = context.block_on(Services::start(&context, PortChoice::Any))?;
    if let Some(at) = services.address() {
        eprintln!(
            "warehouse psql -h {} -p {} -U {} {}",
            at.ip(),
            at.port(),
            crate::flow::USER,
            turnstile_wire::DATABASE
        );
    }
    eprintln!("audit     turnstile audit --lake {} --pipeline {}", pipeline.lake.url, pipeline.name);
    eprintln!("started in {:.2} s; Ctrl-C stops it, the next start resumes", began.elapsed().as_secs_f64());
    let query = example_query(&args, pipeline, services.address());
    eprintln!("query     {query}");

    let shutdown = &process.shutdown;
    let producer = if args.no_producer { None } else { Some(start_producer(&args, &dir, settings, topic, shutdown)?) };
    let options = RunOptions {
        until: StopCondition::Shutdown,
        takeover: false,
        accept_loss: false,
        connect_timeout: turnstile_kafka::DEFAULT_CONNECT_TIMEOUT,
    };
    let result = run_pipeline(&context, &options, services, printing);
    if let Some(producer) = producer {
        let produced = producer.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the producer panicked")));
        // The pipeline's failure is reported rather than what it caused in the producer.
        if result.is_ok() {
            produced?;
        }
    }
    broker.stop();
    if result.is_ok() && !args.json && args.dir == Path::new(DATA) {
        eprintln!("query     {query}");
    }
    result
}

/// A command that queries the warehouse for what is published: through the port if the data is not in the default folder.
fn example_query(args: &Args, pipeline: &Pipeline, port: Option<SocketAddr>) -> String {
    let table = pipeline.warehouse.as_ref().map_or("ext_turnstile", |warehouse| &warehouse.table);
    let sql = match &args.pipeline {
        None => format!("SELECT STATION, ENTRIES, EXITS FROM {table} WHERE STATION LIKE 'Test%' LIMIT 5"),
        Some(_) => format!("SELECT * FROM {table} LIMIT 5"),
    };
    match port {
        Some(at) if args.dir != Path::new(DATA) => {
            let (ip, port, user) = (at.ip(), at.port(), crate::flow::USER);
            format!("psql -h {ip} -p {port} -U {user} -d {} -c \"{sql}\"", turnstile_wire::DATABASE)
        }
        _ => format!("turnstile sql \"{sql}\""),
    }
}

fn start_broker(dir: &Path, port: Option<u16>) -> anyhow::Result<Broker> {
    let start = |port: u16| {
        Broker::start(turnstile_broker::Settings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            dir: Some(dir.join("broker")),
            // The synthetic city begins a month ago, and retention must not delete by those timestamps.
            retention_ms: None,
            ..turnstile_broker::Settings::default()
        })
    };
    let started = match port {
        Some(port) => start(port),
        None => start(PORT).or_else(|error| match error {
            BrokerError::Listen { .. } => start(0),
            other => Err(other),
        }),
    };
    started.map_err(|e| {
        Failure::new(Exit::Failed, "the embedded broker did not start")
            .cause(e)
            .hint("another `turnstile up` may be using the same --dir; choose another one")
            .into()
    })
}

fn pipeline(args: &Args, dir: &Path, servers: &str) -> anyhow::Result<Pipeline> {
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
    remember(dir, &origin, &text, &set)?;
    Ok(pipeline)
}

/// What the next start needs to continue the same city.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Begun {
    /// Event time of message 0, milliseconds since the epoch.
    start_ms: i64,
    stations: u64,
}

fn begun(args: &Args, dir: &Path) -> anyhow::Result<Begun> {
    let file = dir.join("city.json");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return serde_json::from_str(&text).with_context(|| format!("{} cannot be read", file.display()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let start = now - BEGINS_BACK;
    // Rounded to five minutes, so that the first window is complete.
    let begun = Begun { start_ms: (start.as_secs() / 300 * 300 * 1000) as i64, stations: args.stations };
    std::fs::write(&file, serde_json::to_string(&begun)?)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(begun)
}

fn start_producer(
    args: &Args,
    dir: &Path,
    settings: ClientSettings,
    topic: String,
    stop: &CancellationToken,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let begun = begun(args, dir)?;
    let connection = KafkaConnection::open(&settings).map_err(client_failure)?;
    let ids = connection.topic_partitions(&topic).map_err(client_failure)?;
    let partitions: Vec<_> = ids.into_iter().map(|id| TopicPartition::new(topic.as_str(), id)).collect();
    let ends = connection.watermarks(&partitions).map_err(client_failure)?;
    let turnstiles = begun.stations * 13;
    let city = CitySettings {
        stations: begun.stations,
        station_prefix: STATION_PREFIX,
        turnstiles,
        // All messages so far are the city's: their count is the number of the next one.
        first: ends.iter().map(|(_, high)| *high as u64).sum(),
        duplicates_permille: 2,
        malformed_permille: 1,
        ..CitySettings::default()
    };
    let start = chrono::DateTime::from_timestamp_millis(begun.start_ms).unwrap_or_default().naive_utc();
    let zone: ClockZone = "America/New_York".parse().map_err(|e: ProviderError| anyhow::anyhow!(e))?;
    let local = start.and_utc().with_timezone(&chrono_tz::America::New_York).naive_local();
    let clock = SyntheticClock::starting(local, CityProvider::default_step(turnstiles), zone);
    let mut provider = NotAhead { city: CityProvider::new(city, clock)?, stop: stop.clone() };
    let limits = ProducerLimits { linger: Duration::from_millis(20), ..ProducerLimits::default() };
    let producer = Producer::open(&settings, limits).map_err(client_failure)?;
    let plan = FeedPlan {
        topic,
        pace: Pace::EventTime { speed: args.speed },
        count: None,
        report_every: Duration::from_secs(3600),
    };
    let stop = stop.clone();
    let thread = std::thread::Builder::new().name("producer".to_owned()).spawn(move || {
        let fed = feed(&mut provider, &producer, &plan, &stop, |_| {});
        let (stats, failures) = producer.close(CLOSE_TIMEOUT);
        // Without its producer the stream would only become idle; ending reports the error.
        stop.cancel();
        fed.context("the producer stopped")?;
        match failures.first() {
            Some(failure) => {
                Err(anyhow::anyhow!("{} messages were not delivered, the first: {}", stats.failed, failure.reason))
            }
            None => Ok(()),
        }
    })?;
    Ok(thread)
}

/// The city, but never ahead of the clock: readings from the future would be rejected.
struct NotAhead {
    city: CityProvider,
    stop: CancellationToken,
}

impl Provider for NotAhead {
    fn name(&self) -> &'static str {
        self.city.name()
    }

    fn total(&self) -> Option<u64> {
        self.city.total()
    }

    fn next(&mut self, record: &mut ProducerRecord) -> Result<bool, ProviderError> {
        let more = self.city.next(record)?;
        let ahead = |record: &ProducerRecord| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
            record.event_at_ms - now
        };
        while more && ahead(record) > 0 {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(more)
    }
}
