//! `turnstile produce`: readings of a provider, or lines of files, into a topic.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDateTime;
use clap::ValueEnum;
use turnstile_kafka::{CitySettings, LineFormat, LineInput, RegisterMode};
use turnstile_track::MessageMove;
use turnstile_values::human;

use super::pipeline_args::track_beside;
use super::produce_display::{ProduceDisplay, REPORT_EVERY, average_rate};
use super::zone::{Zone, zone};
use crate::cli::cluster::{ClusterArgs, client_failure};
use crate::exit::Exit;
use crate::flow::{self, ProduceEvent, ProduceJob, ProduceRate, ProduceSource, ProduceTimes, Produced, ReplayState};
use crate::process::Process;
use crate::report::Failure;
use crate::tracking::{SIGNAL, TopicRun};

/// Produce turnstile readings into a topic, or the lines of files and standard input
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    turnstile produce --topic mta-turnstile --config ~/.kafka/docker-kafka.properties\n  \
    turnstile produce --topic city --bootstrap localhost:9092 --partitions 4 --provider city --rate 20000 --speed 60\n  \
    turnstile produce --topic weeks --bootstrap localhost:9092 --provider mta-replay --from week.csv.gz --increments\n  \
    turnstile produce --topic rows --bootstrap localhost:9092 --from rows.csv --format csv --header --key-field ID --resume\n  \
    jq -c .[] all.json | turnstile produce --topic rows --bootstrap localhost:9092 --from - --format json")]
pub(crate) struct ProduceArgs {
    /// Topic to produce into
    #[arg(long)]
    topic: String,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Source of the messages [default: lines with --from, otherwise test-station]
    #[arg(long, value_enum)]
    provider: Option<ProviderChoice>,
    /// Time between two messages, such as 10s or 500ms (default of test-station and header-row: 10s)
    #[arg(long, value_name = "TIME", value_parser = super::duration, conflicts_with = "rate")]
    every: Option<Duration>,
    /// Messages per second, or `max` for no limit (city's default: each turnstile every 10 s)
    #[arg(long, value_name = "N|max", value_parser = rate)]
    rate: Option<ProduceRate>,
    /// How fast event time passes: 60 sends an hour of readings in a minute (mta-replay's default: no limit)
    #[arg(long, value_name = "X", value_parser = positive)]
    speed: Option<f64>,
    /// Stop after this many messages
    #[arg(long, alias = "max", value_name = "N")]
    count: Option<u64>,
    /// mta-replay: the weekly files; lines: any files, - for standard input. Plain or gzip
    #[arg(long, value_name = "FILE", num_args = 1.., required_if_eq_any([("provider", "mta-replay"), ("provider", "lines")]))]
    from: Vec<PathBuf>,
    /// lines: format of a line [default: raw]
    #[arg(long, value_enum)]
    format: Option<LineForm>,
    /// lines: the first line of each file names the fields and is not sent
    #[arg(long)]
    header: bool,
    /// lines: the field that is the message's key: a column of the header, or a member of the JSON object
    #[arg(long, value_name = "NAME")]
    key_field: Option<String>,
    /// lines, mta-replay: skip and count invalid rows, instead of stopping at the first
    #[arg(long)]
    skip_wrong: bool,
    /// Resume after the last row known to be delivered, using a state file next to the first file of --from. No row is lost;
    /// after a kill, rows of about the last second are sent again
    #[arg(long, requires = "from")]
    resume: bool,
    /// State file of --resume [default: next to the first file, named after it and the topic]
    #[arg(long, value_name = "FILE", requires = "resume")]
    state: Option<PathBuf>,
    /// mta-replay: send the increment since the turnstile's previous reading, instead of the register
    #[arg(long)]
    increments: bool,
    /// mta-replay --increments: a larger or negative increment counts as 0
    #[arg(long, value_name = "N", default_value_t = turnstile_kafka::DEFAULT_STEP_CAP)]
    cap: i64,
    /// Seed of the synthetic readings
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// city: stations, with 13 turnstiles each [default: 387, with 5026 turnstiles together]
    #[arg(long, value_name = "N")]
    stations: Option<u64>,
    /// city: messages per thousand that are an hour late
    #[arg(long, value_name = "PERMILLE", default_value_t = 0)]
    late: u64,
    /// city: messages per thousand that repeat the previous one
    #[arg(long, value_name = "PERMILLE", default_value_t = 0)]
    duplicates: u64,
    /// city: messages per thousand that are malformed
    #[arg(long, value_name = "PERMILLE", default_value_t = 0)]
    malformed: u64,
    /// Event time of the first message, `yyyy-MM-dd HH:mm:ss` in --zone [default: now; 30 days ago with a --speed above 1;
    /// with --rate max 2026-08-01 00:00:00]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    start: Option<NaiveDateTime>,
    /// Time zone of the readings: `local` (this machine's) or a name. `turnstile stream` has the same default
    /// [default: local; mta-replay and lines --format mta America/New_York]
    #[arg(long, value_parser = zone)]
    zone: Option<Zone>,
    /// Create the topic with this many partitions if it does not exist
    #[arg(long, value_name = "N")]
    partitions: Option<i32>,
    /// Compression: none, gzip, snappy, lz4 or zstd [default: the properties file's, otherwise lz4]
    #[arg(long, value_name = "CODEC")]
    compression: Option<String>,
    /// Keep this run among the runs of a pipeline, in its store and in Prefect: the pipeline's file, or the name of that of
    /// `turnstile up`
    #[arg(long, value_name = "NAME|FILE")]
    track: Option<String>,
    /// Print the closing line as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProviderChoice {
    /// Two test stations: a JSON string with one CSV line
    TestStation,
    /// One test station: a header line and a row
    HeaderRow,
    /// A synthetic city with rush hours and adjustable faults
    City,
    /// The MTA's weekly files
    MtaReplay,
    /// One message per line of --from
    Lines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LineForm {
    /// A row of comma-separated fields
    Csv,
    /// A JSON value
    Json,
    /// Any bytes
    Raw,
    /// A row of the MTA's weekly files, sent as mta-replay sends it
    Mta,
}

impl LineForm {
    fn format(self) -> LineFormat {
        match self {
            Self::Csv => LineFormat::Csv,
            Self::Json => LineFormat::Json,
            Self::Raw => LineFormat::Raw,
            Self::Mta => LineFormat::Mta,
        }
    }
}

pub(crate) fn run(args: ProduceArgs, process: &Process) -> anyhow::Result<Exit> {
    let shutdown = process.shutdown_on_signals()?;
    let mut settings = args.cluster.settings(&shutdown)?;
    if let Some(codec) = &args.compression {
        settings =
            settings.with("compression.type", codec, "--compression").map_err(|error| client_failure(error.into()))?;
    }
    let times = args.times()?;
    let (provider, pace) = args.source()?.open(&times, &shutdown).map_err(flow::provider_failed)?;
    let resume = args.resume_file()?.map(|file| ReplayState::open(file, &args.topic)).transpose()?;
    let (topic, partitions, count) = (args.topic.clone(), args.partitions, args.count);
    let job = ProduceJob { topic, partitions, provider, pace, count, resume, report_every: REPORT_EVERY };
    let tracked = track_beside(args.track.as_deref(), process, MessageMove::Produce, &args.topic)?;
    let progress = tracked.as_ref().map(TopicRun::progress);
    let mut display = ProduceDisplay::new();
    let produced = flow::produce(job, &settings, &shutdown, |event| match event {
        ProduceEvent::Resuming(text) => eprintln!("{text}"),
        ProduceEvent::Started { total } => {
            args.print_times(&times);
            display.start(total);
        }
        ProduceEvent::Sent(record) => display.show_sent(record),
        ProduceEvent::Progress(now) => {
            progress.iter().for_each(|progress| progress.tell(now.stats.delivered, now.stats.failed));
            display.show(now);
        }
    });
    display.finish();
    let result = produced.and_then(|produced| {
        let failed = produced.stats.failed + produced.stats.outstanding();
        progress.iter().for_each(|progress| progress.tell(produced.stats.delivered, failed));
        // What was sent is reported even if producing failed.
        report(&args, &produced)?;
        produced.result.map(|()| Exit::Done)
    });
    tracked.into_iter().for_each(|run| run.end(&result, shutdown.is_cancelled().then_some(SIGNAL)));
    result
}

impl ProduceArgs {
    fn choice(&self) -> ProviderChoice {
        self.provider.unwrap_or(if self.from.is_empty() { ProviderChoice::TestStation } else { ProviderChoice::Lines })
    }

    /// Where the messages come from.
    fn source(&self) -> anyhow::Result<ProduceSource> {
        let choice = self.choice();
        let of_lines = self.format.is_some() || self.header || self.key_field.is_some();
        let reads_rows = matches!(choice, ProviderChoice::Lines | ProviderChoice::MtaReplay);
        let fact = match (of_lines && choice != ProviderChoice::Lines, self.skip_wrong && !reads_rows) {
            (true, _) => Some("--format, --header and --key-field need the provider lines"),
            (_, true) => Some("--skip-wrong needs the provider lines or mta-replay"),
            _ => None,
        };
        if let Some(fact) = fact {
            return Err(Failure::new(Exit::Config, fact).into());
        }
        Ok(match choice {
            ProviderChoice::TestStation => ProduceSource::TestStation { seed: self.seed },
            ProviderChoice::HeaderRow => ProduceSource::HeaderRow { seed: self.seed },
            ProviderChoice::City => ProduceSource::City(self.city()),
            ProviderChoice::MtaReplay => {
                let registers =
                    if self.increments { RegisterMode::Increments { cap: self.cap } } else { RegisterMode::AsInFile };
                ProduceSource::MtaReplay { files: self.from.clone(), registers, skip_wrong: self.skip_wrong }
            }
            ProviderChoice::Lines => {
                let format = self.format.map_or(LineFormat::Raw, LineForm::format);
                if self.speed.is_some() && format != LineFormat::Mta {
                    return Err(Failure::new(Exit::Config, "--speed needs lines with an event time: mta").into());
                }
                let input = |file: &PathBuf| match file.as_os_str() == "-" {
                    true => LineInput::Stdin,
                    false => LineInput::File(file.clone()),
                };
                ProduceSource::Lines {
                    inputs: self.from.iter().map(input).collect(),
                    format,
                    header: self.header,
                    key_field: self.key_field.clone(),
                    skip_wrong: self.skip_wrong,
                }
            }
        })
    }

    /// The zone of the readings; the MTA's files are New York's.
    fn zone(&self) -> anyhow::Result<Zone> {
        let default = match self.choice() {
            ProviderChoice::MtaReplay | ProviderChoice::Lines => "America/New_York",
            _ => "local",
        };
        let zone = self.zone.map_or_else(|| zone(default), Ok);
        zone.map_err(|fact| Failure::new(Exit::Usage, fact).into())
    }

    /// What a job that reads the messages must know of their times, and would not expect.
    fn print_times(&self, times: &ProduceTimes) {
        if matches!(self.choice(), ProviderChoice::MtaReplay | ProviderChoice::Lines) {
            return;
        }
        if let Ok(zone) = self.zone() {
            eprintln!("readings are local times of {zone}");
        }
        if let Some(start) = times.past_start() {
            eprintln!(
                "event time starts at {start}, 30 days ago, and passes faster than the clock until it reaches it"
            );
        }
    }

    fn times(&self) -> anyhow::Result<ProduceTimes> {
        let Self { rate, every, speed, start, .. } = *self;
        Ok(ProduceTimes::new(rate, every, speed, start, self.zone()?.tz))
    }

    /// The file of `--resume`, when it is asked for.
    fn resume_file(&self) -> anyhow::Result<Option<PathBuf>> {
        if !self.resume {
            return Ok(None);
        }
        let data = self.from.first().filter(|file| file.as_os_str() != "-");
        match (self.choice(), &self.state, data) {
            (ProviderChoice::MtaReplay | ProviderChoice::Lines, Some(file), _) => Ok(Some(file.clone())),
            (ProviderChoice::MtaReplay | ProviderChoice::Lines, None, Some(data)) => {
                Ok(Some(ReplayState::path_for(data, &self.topic)))
            }
            (ProviderChoice::MtaReplay | ProviderChoice::Lines, None, None) => {
                let fact = "with standard input, --resume needs a state file";
                Err(Failure::new(Exit::Usage, fact)
                    .hint("name one with --state, and pipe in the same rows again")
                    .into())
            }
            _ => Err(Failure::new(Exit::Usage, "only the providers mta-replay and lines can be resumed").into()),
        }
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
}

fn report(args: &ProduceArgs, produced: &Produced) -> anyhow::Result<()> {
    let Produced { stats, failures, skipped_rows, delivered_before, took, .. } = produced;
    for failure in failures {
        eprintln!("{}", human::error(failure));
    }
    let unnamed = stats.failed.saturating_sub(failures.len() as u64);
    if unnamed > 0 {
        eprintln!("and {unnamed} more were not delivered");
    }
    for row in &skipped_rows.first {
        eprintln!("skipped: {row}");
    }
    let unnamed = skipped_rows.rows.saturating_sub(skipped_rows.first.len() as u64);
    if unnamed > 0 {
        eprintln!("and {} more were skipped", human::plural(unnamed, "row"));
    }
    let failed = stats.failed + stats.outstanding();
    let line = if args.json {
        serde_json::json!({
            "topic": args.topic,
            "sent": stats.sent,
            "delivered": stats.delivered,
            "failed": failed,
            "left_out": skipped_rows.rows,
            "delivered_before": delivered_before,
            "seconds": took.as_secs_f64(),
            "messages_per_second": stats.delivered as f64 / took.as_secs_f64().max(0.001),
        })
        .to_string()
    } else {
        let out = if skipped_rows.rows > 0 {
            format!(", {} skipped", human::plural(skipped_rows.rows, "row"))
        } else {
            String::new()
        };
        let (delivered, seconds) = (human::plural(stats.delivered, "message"), took.as_secs_f64());
        let rate = average_rate(stats.delivered, *took);
        format!("{delivered} to \"{}\" in {seconds:.1} s, {rate}; {failed} failed{out}", args.topic)
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

fn rate(text: &str) -> Result<ProduceRate, String> {
    if text == "max" {
        return Ok(ProduceRate::Max);
    }
    positive(text)
        .map(ProduceRate::PerSecond)
        .map_err(|_| format!("\"{text}\" is not a rate; write messages per second, or max"))
}

fn positive(text: &str) -> Result<f64, String> {
    // Beyond a billion, and below its inverse, durations cannot be represented.
    match text.parse::<f64>() {
        Ok(number) if (1e-9..=1e9).contains(&number) => Ok(number),
        _ => Err(format!("\"{text}\" is not a number above 0")),
    }
}

fn moment(text: &str) -> Result<NaiveDateTime, String> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
        .map_err(|_| format!("\"{text}\" is not a time; write yyyy-MM-dd HH:mm:ss"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_numbers_above_0_or_the_word_max() {
        assert_eq!((rate("max"), rate("0.5")), (Ok(ProduceRate::Max), Ok(ProduceRate::PerSecond(0.5))));
        assert!(rate("0").is_err() && rate("fast").is_err() && rate("inf").is_err());
    }
}
