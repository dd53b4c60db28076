//! What `turnstile up` adds to a pipeline: the embedded broker, the topic, and a synthetic city that produces into it.
//!
//! In: a data folder, which keeps the broker's log and when the city began. Out: a broker that serves, and a thread that
//! produces until shutdown. Prints nothing. Start at [`start_broker`] and [`LocalTopic`].

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use turnstile_broker::{Broker, BrokerError};
use turnstile_kafka::{
    CityProvider, CitySettings, ClientSettings, FeedPlan, FeedReport, KafkaConnection, NewTopicPlan, Pace, Producer,
    ProducerLimits, SyntheticClock, TopicAdmin, feed,
};
use turnstile_message::TopicPartition;
use turnstile_pipeline::Pipeline;

use super::fault::client;
use super::produce::{BEGINS_BACK, NeverAhead};
use crate::exit::Exit;
use crate::report::Failure;

/// The port that is tried first, so that the next start has the same address.
const PORT: u16 = 19_092;

/// Prefix of the synthetic city's station names, as in the original's producers.
const STATION_PREFIX: &str = "Test-Station";

/// How often the producer's progress is reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How long the producer may take to deliver what it has sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts the embedded broker, which keeps its log under `dir`.
///
/// # Errors
/// The port or the log cannot be used.
pub(crate) fn start_broker(dir: &Path, port: Option<u16>) -> anyhow::Result<Broker> {
    let start = |port: u16| {
        Broker::start(turnstile_broker::BrokerSettings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            dir: Some(dir.join("broker")),
            // The synthetic city begins a month ago, and retention must not delete by those timestamps.
            retention_ms: None,
            ..turnstile_broker::BrokerSettings::default()
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
        let hint = match e {
            BrokerError::Listen { .. } => "choose another port with --port; 0 picks a free one",
            _ => "another `turnstile up` may be using the same --dir; choose another one",
        };
        Failure::new(Exit::Failed, "the embedded broker did not start").cause(e).hint(hint).into()
    })
}

/// Stations of a city when none are asked for.
const STATIONS: u64 = 20;

/// An embedded broker with the topic of one pipeline.
pub(crate) struct LocalTopic {
    broker: Broker,
    settings: ClientSettings,
    topic: String,
}

impl LocalTopic {
    /// Creates the topic that `pipeline` reads, if it does not exist.
    ///
    /// # Errors
    /// The pipeline reads several topics, or the broker refuses.
    pub(crate) fn open(broker: Broker, pipeline: &Pipeline, partitions: i32) -> anyhow::Result<Self> {
        let settings =
            ClientSettings::from_servers(&broker.address().to_string()).map_err(|error| client(error.into()))?;
        let Some(topic) = pipeline.source.topics.single().map(str::to_owned) else {
            let (name, topics) = (&pipeline.name, &pipeline.source.topics);
            let fact = format!("`turnstile up` produces into one topic, and {name} reads {topics}");
            return Err(Failure::new(Exit::Config, fact).hint("name one topic with --set source.topic=NAME").into());
        };
        let plan = NewTopicPlan { topic: topic.clone(), partitions, replication: 1, config: Vec::new() };
        TopicAdmin::open(&settings).and_then(|topics| topics.create_if_missing(&plan)).map_err(client)?;
        Ok(Self { broker, settings, topic })
    }

    pub(crate) fn name(&self) -> &str {
        &self.topic
    }

    /// Does `run` while a city is produced into the topic, if one is to be, and `listen` receives about once a second how many
    /// messages were delivered and how many were not; then stops the broker. The pipeline's failure is returned rather than
    /// what it caused in the producer.
    ///
    /// # Errors
    /// Those of the producer and of `run`.
    pub(crate) fn serve<T>(
        self,
        city: Option<&City>,
        shutdown: &CancellationToken,
        listen: impl Fn(u64, u64) + Send + 'static,
        run: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let city = city.map(|city| CityFeed::start(city, &self.settings, self.topic, shutdown, listen)).transpose()?;
        let result = run();
        let produced = city.map_or(Ok(()), CityFeed::join);
        let result = result.and_then(|done| produced.map(|()| done));
        self.broker.stop();
        result
    }
}

/// The synthetic city.
pub(crate) struct City {
    /// Event time of its first message, milliseconds since the epoch.
    pub(crate) start_ms: i64,
    /// Stations, with 13 turnstiles each.
    pub(crate) stations: u64,
    /// How many times as fast as real time event time passes.
    pub(crate) speed: f64,
}

impl City {
    /// The city that is kept in `dir`, or a new one with so many stations, which begins a month ago.
    ///
    /// # Errors
    /// What is kept of it cannot be read, or written.
    pub(crate) fn open(dir: &Path, stations: Option<u64>, speed: f64) -> anyhow::Result<Self> {
        let CityStart { start_ms, stations } = load_or_begin(stations.unwrap_or(STATIONS), dir)?;
        Ok(Self { start_ms, stations, speed })
    }
}

/// A city that is produced on its own thread.
struct CityFeed {
    thread: JoinHandle<anyhow::Result<()>>,
}

impl CityFeed {
    /// Produces the city into `topic` until shutdown, from where it stopped; a failure of the producer ends the process.
    ///
    /// # Errors
    /// The topic cannot be read.
    fn start(
        begun: &City,
        settings: &ClientSettings,
        topic: String,
        shutdown: &CancellationToken,
        listen: impl Fn(u64, u64) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let connection = KafkaConnection::open(settings).map_err(client)?;
        let ids = connection.topic_partitions(&topic).map_err(client)?;
        let partitions: Vec<_> = ids.into_iter().map(|id| TopicPartition::new(topic.as_str(), id)).collect();
        let ends = connection.watermarks(&partitions).map_err(client)?;
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
        let zone = chrono_tz::America::New_York;
        let local = start.and_utc().with_timezone(&zone).naive_local();
        let clock = SyntheticClock::starting(local, CityProvider::default_step(turnstiles), zone);
        let mut provider = NeverAhead::new(Box::new(CityProvider::new(city, clock)?), shutdown.clone());
        let limits = ProducerLimits { linger: Duration::from_millis(20), ..ProducerLimits::default() };
        let producer = Producer::open(settings, limits).map_err(client)?;
        let plan =
            FeedPlan { topic, pace: Pace::EventTime { speed: begun.speed }, count: None, report_every: REPORT_EVERY };
        let shutdown = shutdown.clone();
        let thread = std::thread::Builder::new().name("producer".to_owned()).spawn(move || {
            let fed = feed(&mut provider, &producer, &plan, &shutdown, |report| {
                if let FeedReport::Progress(progress) = report {
                    listen(progress.stats.delivered, progress.stats.failed);
                }
            });
            let (stats, failures) = producer.close(CLOSE_TIMEOUT);
            listen(stats.delivered, stats.failed);
            // Without its producer the stream would only become idle; ending reports the error.
            shutdown.cancel();
            fed.context("the producer stopped")?;
            match failures.first() {
                Some(first) => {
                    Err(first.clone()).with_context(|| format!("{} messages were not delivered", stats.failed))
                }
                None => Ok(()),
            }
        })?;
        Ok(Self { thread })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It failed, or messages were not delivered.
    fn join(self) -> anyhow::Result<()> {
        self.thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the producer panicked")))
    }
}

/// What the next start needs to continue the same city.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct CityStart {
    /// Event time of message 0, milliseconds since the epoch.
    start_ms: i64,
    stations: u64,
}

fn load_or_begin(stations: u64, dir: &Path) -> anyhow::Result<CityStart> {
    let file = dir.join("city.json");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return serde_json::from_str(&text).with_context(|| format!("{} cannot be read", file.display()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let start = now - BEGINS_BACK;
    // Rounded to five minutes, so that the first window is complete.
    let begun = CityStart { start_ms: (start.as_secs() / 300 * 300 * 1000) as i64, stations };
    std::fs::write(&file, serde_json::to_string(&begun)?)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(begun)
}
