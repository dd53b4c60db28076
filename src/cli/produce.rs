//! `turnstile produce`: readings of a provider into a topic.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDateTime;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use kafka::{
    City, CitySettings, ClientError, Connection, DeliveryFailure, FeedError, FeedPlan, FeedProgress, HeaderRow,
    MtaReplay, NewTopicPlan, Pace, Producer, ProducerLimits, ProducerStats, Provider, ProviderError, Registers,
    SendError, SyntheticClock, TestStation, Topics, Zone, feed,
};

use crate::cli::cluster::{ClusterArgs, client_failure, stop_on_signals};
use crate::exit::Exit;
use crate::report::Failure;

/// How long a stopped producer waits for the broker to acknowledge what is on its way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// The first moment of a stream that is produced as fast as the topic takes it, so that it is the same each time.
const FIXED_START: &str = "2026-08-01 00:00:00";

/// Produce turnstile readings into a topic
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    turnstile produce --topic mta-turnstile --config ~/.kafka/docker-kafka.properties\n  \
    turnstile produce --topic city --bootstrap localhost:9092 --partitions 4 --provider city --rate 20000 --speed 60\n  \
    turnstile produce --topic weeks --bootstrap localhost:9092 --provider mta-replay --from week.csv.gz --increments")]
pub(crate) struct Args {
    /// Topic to produce into
    #[arg(long)]
    topic: String,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Where the readings come from
    #[arg(long, value_enum, default_value_t = Source::TestStation)]
    provider: Source,
    /// One message each time this has passed, such as 10s or 500ms (the default of test-station and header-row: 10s)
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "rate")]
    every: Option<Duration>,
    /// Messages a second, or `max` for as many as the topic takes (city's default: each turnstile every 10 s)
    #[arg(long, value_name = "N|max", value_parser = rate)]
    rate: Option<Rate>,
    /// How fast event time passes: 60 makes an hour of readings in a minute (mta-replay's default: as fast as the topic takes it)
    #[arg(long, value_name = "X", value_parser = positive)]
    speed: Option<f64>,
    /// Stop after this many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// mta-replay: the weekly files, packed with gzip or not
    #[arg(long, value_name = "FILE", num_args = 1.., required_if_eq("provider", "mta-replay"))]
    from: Vec<PathBuf>,
    /// mta-replay: send each register's step since the turnstile's reading before, instead of the register
    #[arg(long)]
    increments: bool,
    /// mta-replay --increments: a larger step counts as 0, as does one below 0
    #[arg(long, value_name = "N", default_value_t = kafka::DEFAULT_STEP_CAP)]
    cap: i64,
    /// Another seed, other readings
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// city: stations, with 13 turnstiles each [default: 387, with 5026 turnstiles together]
    #[arg(long, value_name = "N")]
    stations: Option<u64>,
    /// city: messages in a thousand that are an hour late
    #[arg(long, value_name = "PERMILLE", default_value_t = 0)]
    late: u64,
    /// city: messages in a thousand that repeat the one before
    #[arg(long, value_name = "PERMILLE", default_value_t = 0)]
    duplicates: u64,
    /// city: messages in a thousand that no schema takes
    #[arg(long, value_name = "PERMILLE", default_value_t = 0)]
    malformed: u64,
    /// Event time of the first message, `yyyy-MM-dd HH:mm:ss` in --zone [default: now; with --rate max 2026-08-01 00:00:00]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    start: Option<NaiveDateTime>,
    /// Time zone of the readings: `local` or a name [default: local; mta-replay America/New_York]
    #[arg(long)]
    zone: Option<Zone>,
    /// Create the topic with this many partitions when it is missing
    #[arg(long, value_name = "N")]
    partitions: Option<i32>,
    /// How messages are compressed: none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", default_value = "lz4")]
    compression: String,
    /// Print the closing line as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    /// Two test stations: a JSON string that holds one CSV line
    TestStation,
    /// One test station: a header line and a row
    HeaderRow,
    /// A made-up city with rush hours and adjustable trouble
    City,
    /// The real weekly files of the MTA
    MtaReplay,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rate {
    Max,
    PerSecond(f64),
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let stop = stop_on_signals()?;
    let settings = args.cluster.settings(&stop)?;
    let (mut provider, pace) = args.provider().map_err(provider_failure)?;
    match args.ensure_topic(&settings) {
        Err(ClientError::Stopped) => {
            report(&args, ProducerStats::default(), &[], Duration::ZERO)?;
            return Ok(Exit::Done);
        }
        checked => checked.map_err(client_failure)?,
    }
    let limits = ProducerLimits { compression: args.compression.clone(), ..ProducerLimits::default() };
    let producer = Producer::open(&settings, limits).map_err(client_failure)?;

    let bounded = match (args.count, provider.total()) {
        (Some(count), Some(total)) => Some(count.min(total)),
        (count, total) => count.or(total),
    };
    let mut display = Display::new(bounded);
    let plan = FeedPlan { topic: args.topic.clone(), pace, count: args.count, report_every: display.every() };
    let fed = feed(&mut *provider, &producer, &plan, &stop, |progress| display.show(progress));
    let started = display.started;
    let (stats, failures) = producer.close(CLOSE_TIMEOUT);
    display.finish();
    // What was sent is reported even when the feed ended in an error.
    report(&args, stats, &failures, started.elapsed())?;
    fed.map_err(feed_failure)?;
    Ok(if stats.failed == 0 { Exit::Done } else { Exit::Source })
}

impl Args {
    fn provider(&self) -> Result<(Box<dyn Provider>, Pace), ProviderError> {
        let speed = self.speed.unwrap_or(1.0);
        Ok(match self.provider {
            Source::TestStation => {
                let (pace, clock) = self.tick(Duration::from_secs(10), speed);
                (Box::new(TestStation::new(self.seed, clock)), pace)
            }
            Source::HeaderRow => {
                let (pace, clock) = self.tick(Duration::from_secs(10), speed);
                (Box::new(HeaderRow::new(self.seed, clock)), pace)
            }
            Source::City => {
                let city = self.city();
                let step = City::default_step(city.turnstiles);
                // Without a rate, the turnstiles' own: each is read every ten seconds of event time.
                let (pace, clock) = self.tick(step.div_f64(speed), speed);
                (Box::new(City::new(city, clock)?), pace)
            }
            Source::MtaReplay => {
                let registers =
                    if self.increments { Registers::Increments { cap: self.cap } } else { Registers::AsInFile };
                let zone = self.zone.map_or_else(|| "America/New_York".parse(), Ok)?;
                let pace = match (self.rate, self.every, self.speed) {
                    (Some(Rate::PerSecond(rate)), ..) => Pace::Rate(rate),
                    (None, Some(every), _) => Pace::Every(every),
                    (None, None, Some(speed)) => Pace::EventTime { speed },
                    (Some(Rate::Max), ..) | (None, None, None) => Pace::Unlimited,
                };
                (Box::new(MtaReplay::open(&self.from, registers, zone)?), pace)
            }
        })
    }

    fn city(&self) -> CitySettings {
        let default = CitySettings::default();
        CitySettings {
            seed: self.seed,
            stations: self.stations.unwrap_or(default.stations),
            turnstiles: self.stations.map_or(default.turnstiles, |stations| stations.saturating_mul(13)),
            late_permille: self.late,
            duplicates_permille: self.duplicates,
            malformed_permille: self.malformed,
            ..default
        }
    }

    /// Pace and event time of synthetic readings: event time passes `speed` times as fast as messages are due.
    fn tick(&self, usual: Duration, speed: f64) -> (Pace, SyntheticClock) {
        let (pace, between) = match (self.rate, self.every) {
            (Some(Rate::Max), _) => (Pace::Unlimited, usual),
            (Some(Rate::PerSecond(rate)), _) => (Pace::Rate(rate), Duration::from_secs_f64(1.0 / rate)),
            (None, every) => (Pace::Every(every.unwrap_or(usual)), every.unwrap_or(usual)),
        };
        let step = between.mul_f64(speed);
        let zone = self.zone.unwrap_or(Zone::Local);
        let fixed = (pace == Pace::Unlimited).then(|| moment(FIXED_START).ok()).flatten();
        let clock = match self.start.or(fixed) {
            Some(start) => SyntheticClock::starting(start, step, zone),
            None => SyntheticClock::starting_now(step, zone),
        };
        (pace, clock)
    }

    fn ensure_topic(&self, settings: &kafka::ClientSettings) -> Result<(), ClientError> {
        let Some(partitions) = self.partitions else {
            return Connection::open(settings)?.topic_partitions(&self.topic).map(|_| ());
        };
        let plan = NewTopicPlan { topic: self.topic.clone(), partitions, replication: -1, config: Vec::new() };
        if Topics::open(settings)?.create_if_missing(&plan)? {
            tracing::info!(topic = self.topic, partitions, "created the topic");
        }
        Ok(())
    }
}

/// A bar on a terminal for work with an end, plain lines otherwise; both on stderr.
struct Display {
    bar: Option<ProgressBar>,
    started: std::time::Instant,
}

impl Display {
    fn new(total: Option<u64>) -> Self {
        let bar = total.filter(|_| std::io::stderr().is_terminal()).map(|total| {
            let style =
                ProgressStyle::with_template("{bar:32} {human_pos} of {human_len} · {per_sec} · {eta} left · {msg}");
            ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, started: std::time::Instant::now() }
    }

    fn every(&self) -> Duration {
        if self.bar.is_some() { Duration::from_millis(200) } else { Duration::from_secs(10) }
    }

    fn show(&mut self, progress: &FeedProgress) {
        let ProducerStats { sent, delivered, failed } = progress.stats;
        match &self.bar {
            Some(bar) => {
                bar.set_position(delivered + failed);
                bar.set_message(format!("{failed} failed"));
            }
            None => eprintln!(
                "{:.0} s: {sent} sent, {delivered} delivered, {failed} failed, {:.0}/s",
                progress.elapsed.as_secs_f64(),
                per_second(delivered, progress.elapsed)
            ),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn report(args: &Args, stats: ProducerStats, failures: &[DeliveryFailure], took: Duration) -> anyhow::Result<()> {
    for failure in failures {
        eprintln!("{failure}");
    }
    let unnamed = stats.failed.saturating_sub(failures.len() as u64);
    if unnamed > 0 {
        eprintln!("and {unnamed} more that were not delivered");
    }
    let rate = per_second(stats.delivered, took);
    let line = if args.json {
        serde_json::json!({
            "topic": args.topic,
            "sent": stats.sent,
            "delivered": stats.delivered,
            "failed": stats.failed + stats.outstanding(),
            "seconds": took.as_secs_f64(),
            "messages_per_second": rate,
        })
        .to_string()
    } else {
        format!(
            "{} messages to \"{}\" in {:.1} s, {rate:.0} a second; {} failed",
            stats.delivered,
            args.topic,
            took.as_secs_f64(),
            stats.failed + stats.outstanding()
        )
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

fn per_second(messages: u64, took: Duration) -> f64 {
    messages as f64 / took.as_secs_f64().max(0.001)
}

fn provider_failure(error: ProviderError) -> anyhow::Error {
    let exit = if let ProviderError::Settings(_) = error { Exit::Config } else { Exit::Failed };
    Failure::new(exit, error.to_string()).into()
}

fn feed_failure(error: FeedError) -> anyhow::Error {
    match error {
        FeedError::Provider(error) => provider_failure(error),
        FeedError::Send(SendError::Client(error)) => client_failure(error),
        FeedError::Send(error) => Failure::new(Exit::Source, error.to_string()).into(),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let wrong = || format!("\"{text}\" is no time; write a number with ms, s, m or h, such as 10s");
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let seconds = match &text[digits.len()..] {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong()),
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    positive(text).map(Rate::PerSecond).map_err(|_| format!("\"{text}\" is no rate; write messages a second, or max"))
}

fn positive(text: &str) -> Result<f64, String> {
    // Up to a billion: beyond it, and below its inverse, times can no longer be told.
    match text.parse::<f64>() {
        Ok(number) if (1e-9..=1e9).contains(&number) => Ok(number),
        _ => Err(format!("\"{text}\" is no number above 0")),
    }
}

fn moment(text: &str) -> Result<NaiveDateTime, String> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
        .map_err(|_| format!("\"{text}\" is no time; write yyyy-MM-dd HH:mm:ss"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_are_read_with_their_units() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["10", "s", "-1s", "0s", "1d", "1e30h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!((rate("max"), rate("0.5")), (Ok(Rate::Max), Ok(Rate::PerSecond(0.5))));
        assert!(rate("0").is_err() && rate("fast").is_err() && rate("inf").is_err());
    }
}
