//! `turnstile consume`: the messages of a topic, raw or decoded by a pipeline's schema.

mod show;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use turnstile_engine::Inspector;
use turnstile_kafka::{
    ClientError, ClientSettings, Consumed, ConsumedMessage, Consumer, KafkaConnection, ReadError, Subscription,
};
use turnstile_message::{BatchBuilder, TopicPartition};
use turnstile_registry::SchemaRegistry;
use turnstile_track::MessageMove;
use turnstile_values::human;

use crate::cli::cluster::{ClusterArgs, client_failure, read_failure};
use crate::cli::pipeline_args::{PipelineFlags, track_beside};
use crate::exit::Exit;
use crate::flow;
use crate::process::Process;
use crate::report::Failure;
use crate::tracking::{SIGNAL, TopicProgress, TopicRun};
use show::MessagePrinter;
use start::StartPlace;
use watch::TopicWatch;

/// How long one poll for messages takes at most: how late Ctrl-C is noticed.
const WAIT: Duration = Duration::from_millis(200);

/// Most messages, and about the most bytes, that are printed together.
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 8 << 20;

/// Print the messages of a topic
///
/// With --groupid it joins that group, which assigns partitions to it and keeps its offsets. Without it, all
/// partitions are read, including those added later, or those of --partition, and no offsets are committed. It ends
/// when the topic is deleted or recreated.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile consume --topic mta-turnstile --groupid turnstile --clientid me --config ~/.kafka/docker-kafka.properties
  turnstile consume --topic city --bootstrap localhost:9092 --from end-10 --pipeline pipelines/mta-turnstile.toml
  turnstile consume --topic city --bootstrap localhost:9092 --from 2026-08-01T08:00:00Z --filter '59 ST' --count 5
  turnstile consume --topic city --bootstrap localhost:9092 --until-end --json | jq .value")]
pub(crate) struct ConsumeArgs {
    /// Topic to read
    #[arg(long)]
    topic: String,
    /// Consumer group to join: it assigns partitions and keeps offsets
    #[arg(long, value_name = "GROUP", conflicts_with = "partition")]
    groupid: Option<String>,
    /// Name of this client in the broker's logs and metrics
    #[arg(long, value_name = "NAME")]
    clientid: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Where to start: beginning, end, end-N (the last N of each partition), an offset, or a time such as
    /// 2026-08-01T08:00:00Z [default: the group's committed offset, or the beginning if it has none]
    #[arg(long, value_name = "PLACE")]
    from: Option<StartPlace>,
    /// Only this partition; may be given several times
    #[arg(long, value_name = "N")]
    partition: Vec<i32>,
    /// Stop after printing this many messages
    #[arg(long, visible_alias = "max", value_name = "N")]
    count: Option<u64>,
    /// Stop at the current end of each partition
    #[arg(long)]
    until_end: bool,
    /// Only messages with this text in the key, the value or a header
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only messages with exactly this key
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// Decode values by this pipeline's schema and show their columns: its file, or the name of that of `turnstile up`
    #[arg(long, value_name = "NAME|FILE")]
    pipeline: Option<String>,
    /// Keep this run among the runs of a pipeline, in its store and in Prefect: the pipeline's file, or the name of that of
    /// `turnstile up`
    #[arg(long, value_name = "NAME|FILE")]
    track: Option<String>,
    /// Print one JSON object per message; bytes that are not UTF-8 are in base64
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: ConsumeArgs, process: &Process) -> anyhow::Result<Exit> {
    let stop = process.shutdown_on_signals()?;
    let tracked = track_beside(args.track.as_deref(), process, MessageMove::Consume, &args.topic)?;
    let result = consume(&args, process, &stop, tracked.as_ref().map(TopicRun::progress));
    tracked.into_iter().for_each(|run| run.end(&result, stop.is_cancelled().then_some(SIGNAL)));
    result
}

fn consume(
    args: &ConsumeArgs,
    process: &Process,
    stop: &CancellationToken,
    progress: Option<TopicProgress>,
) -> anyhow::Result<Exit> {
    let (inspector, registry) = match &args.pipeline {
        None => (None, None),
        Some(named) => {
            let (pipeline, _) = PipelineFlags::of(named).find(None, process)?.whole()?;
            let inspector = Inspector::new(&pipeline);
            let inspector =
                inspector.map_err(|e| Failure::new(Exit::Config, format!("{named} cannot be used")).cause(e))?;
            (Some(inspector), flow::open_registry(&pipeline, &process.runtime)?)
        }
    };
    let mut settings = args.cluster.settings(stop)?;
    for (key, value, flag) in [("group.id", &args.groupid, "--groupid"), ("client.id", &args.clientid, "--clientid")] {
        if let Some(value) = value {
            settings = settings.with(key, value, flag).map_err(|error| client_failure(error.into()))?;
        }
    }
    let mut reading = match TopicReading::open(args, &settings) {
        Err(ReadError::Client(ClientError::Stopped)) => {
            eprintln!("0 messages from \"{}\"", args.topic);
            return Ok(Exit::Done);
        }
        opened => opened.map_err(read_failure)?,
    };
    let started = Instant::now();
    let fields = inspector.as_ref().map(|inspector| inspector.names().to_vec());
    let show = MessagePrinter::new(args.json, fields);
    let mut output = ConsumeOutput { show, inspector, registry, printed: 0, read: 0, progress };
    let outcome = print_all(args, &mut reading, &mut output, stop);
    // Leaves the group, which keeps what was printed.
    let partitions = reading.consumer.partitions();
    drop(reading);
    print_summary(args, &output, partitions, started.elapsed());
    match outcome {
        // The program that reads our output has seen enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            Ok(Exit::Done)
        }
        outcome => outcome.map(|()| Exit::Done),
    }
}

fn print_summary(args: &ConsumeArgs, output: &ConsumeOutput, partitions: Option<Vec<i32>>, took: Duration) {
    let (printed, read) = (output.printed, output.read);
    let messages = match printed >= read {
        true => human::plural(printed, "message"),
        false => format!("{} of {}", human::count(printed), human::plural(read, "message")),
    };
    eprintln!("{messages} from \"{}\" in {:.1} s", args.topic, took.as_secs_f64());
    if let (Some(group), Some([]), 0) = (&args.groupid, partitions.as_deref(), read) {
        eprintln!("the group \"{group}\" assigned no partition to this client: other members have them all");
    }
}

/// A consumer, and what it is to read.
struct TopicReading {
    consumer: Consumer,
    /// Per partition, the offset at which `--until-end` is satisfied, and whether it was reached.
    ends: BTreeMap<i32, (i64, bool)>,
    watch: TopicWatch,
    /// Whether partitions that are added to the topic are read too.
    grows: bool,
}

impl TopicReading {
    fn open(args: &ConsumeArgs, settings: &ClientSettings) -> Result<Self, ReadError> {
        let connection = KafkaConnection::open(settings)?;
        let mut numbers = connection.topic_partitions(&args.topic)?;
        let named = |number: i32| TopicPartition::new(args.topic.as_str(), number);
        if let Some(missing) = args.partition.iter().find(|wanted| !numbers.contains(wanted)) {
            return Err(ClientError::PartitionMissing { partition: named(*missing) }.into());
        }
        numbers.retain(|number| args.partition.is_empty() || args.partition.contains(number));
        let partitions: Vec<TopicPartition> = numbers.iter().map(|number| named(*number)).collect();
        let ranges = connection.watermarks(&partitions)?;
        let starts = match (args.from, &args.groupid) {
            (Some(start), _) => start.resolve(&connection, &partitions, &ranges)?,
            (None, None) => StartPlace::Beginning.resolve(&connection, &partitions, &ranges)?,
            (None, Some(_)) => {
                warn_of_lost(&connection, &partitions, &ranges)?;
                Vec::new()
            }
        };
        let positions: Vec<(TopicPartition, i64)> = partitions.into_iter().zip(starts.iter().copied()).collect();
        let mut ends: BTreeMap<i32, (i64, bool)> =
            numbers.iter().zip(&ranges).map(|(number, (_, high))| (*number, (*high, false))).collect();
        let subscription = match &args.groupid {
            Some(_) => Subscription::Group { topic: args.topic.clone(), starts: positions },
            None => {
                for (partition, start) in &positions {
                    if let Some((end, reached)) = ends.get_mut(&partition.partition) {
                        *reached = start >= end;
                    }
                }
                Subscription::Assigned(positions)
            }
        };
        // A group's members are handed new partitions by the group.
        let grows = args.groupid.is_none() && args.partition.is_empty() && !args.until_end;
        let watch = TopicWatch::begin(connection, &args.topic)?;
        Ok(Self { consumer: Consumer::open(settings, subscription)?, ends, watch, grows })
    }

    /// Checks now and then whether the topic still exists, and whether it has more partitions.
    fn check_topic(&mut self) -> anyhow::Result<()> {
        let Some(numbers) = self.watch.poll()? else { return Ok(()) };
        let read = self.consumer.partitions().unwrap_or_default();
        for number in numbers.into_iter().filter(|number| self.grows && !read.contains(number)) {
            let partition = self.consumer.add(number).map_err(read_failure)?;
            eprintln!("{partition} was added; it is read from its beginning");
        }
        Ok(())
    }

    /// Whether every partition that is read here has come to the end that it had at the start.
    fn is_at_end(&self) -> bool {
        let reached = |partition: &i32| self.ends.get(partition).is_none_or(|(_, reached)| *reached);
        self.consumer.partitions().is_some_and(|partitions| partitions.iter().all(reached))
    }

    /// Notes how far `partition` was read; whether a message before `next` is one that `--until-end` asks for.
    fn note_position(&mut self, partition: i32, next: i64) -> bool {
        match self.ends.get_mut(&partition) {
            Some((end, reached)) => {
                *reached |= next >= *end;
                next <= *end
            }
            // A partition that was added after the start.
            None => false,
        }
    }
}

/// A group whose offset the topic no longer holds resumes at the beginning; that should not go unnoticed.
fn warn_of_lost(
    connection: &KafkaConnection,
    partitions: &[TopicPartition],
    ranges: &[(i64, i64)],
) -> Result<(), ClientError> {
    let committed = connection.group_offsets(partitions)?;
    for ((partition, next), (low, high)) in partitions.iter().zip(committed).zip(ranges) {
        if let Some(next) = next.filter(|next| next < low || next > high) {
            eprintln!(
                "{partition}: the group's offset is {next}, but the topic holds {low}..{high}: reading begins at {low}"
            );
        }
    }
    Ok(())
}

struct ConsumeOutput {
    show: MessagePrinter,
    inspector: Option<Inspector>,
    /// Where the schemas of the messages' formats are, when they have some.
    registry: Option<Arc<SchemaRegistry>>,
    printed: u64,
    read: u64,
    /// Takes how many messages were read.
    progress: Option<TopicProgress>,
}

fn print_all(
    args: &ConsumeArgs,
    reading: &mut TopicReading,
    output: &mut ConsumeOutput,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut batch = Vec::new();
    loop {
        let left = args.count.map_or(u64::MAX, |count| count - output.printed);
        if left == 0 || (args.until_end && reading.is_at_end()) || stop.is_cancelled() {
            return Ok(());
        }
        reading.check_topic()?;
        batch.clear();
        let read = fill(args, reading, left, &mut batch);
        // What came before an error is shown before it.
        output.print(&batch, &mut out)?;
        let done = read.map_err(read_failure)?;
        output.read += done.read;
        output.progress.iter().for_each(|progress| progress.tell(output.read, 0));
        for (partition, next) in done.positions {
            reading.consumer.store_offset(partition, next);
        }
    }
}

/// What one poll for messages has read.
#[derive(Default)]
struct FillProgress {
    read: u64,
    positions: BTreeMap<i32, i64>,
}

/// Takes the messages that are there, up to a batch, and waits for the first one only.
fn fill(
    args: &ConsumeArgs,
    reading: &mut TopicReading,
    left: u64,
    batch: &mut Vec<ConsumedMessage>,
) -> Result<FillProgress, ReadError> {
    let (mut done, mut bytes) = (FillProgress::default(), 0);
    for _ in 0..BATCH_ROWS {
        if bytes >= BATCH_BYTES || batch.len() as u64 >= left {
            break;
        }
        let wait = if done.read == 0 { WAIT } else { Duration::ZERO };
        let message = match reading.consumer.next(wait)? {
            None => break,
            Some(Consumed::End(partition)) => {
                reading.note_position(partition, i64::MAX);
                if args.until_end && reading.is_at_end() {
                    break;
                }
                continue;
            }
            Some(Consumed::Message(message)) => message,
        };
        let (partition, next) = (message.position.partition.partition, message.position.offset + 1);
        if !reading.note_position(partition, next) && args.until_end {
            continue;
        }
        done.read += 1;
        done.positions.insert(partition, next);
        bytes += message.value.as_ref().map_or(0, Vec::len) + message.key.as_ref().map_or(0, Vec::len);
        if args.wants(&message) {
            batch.push(message);
        }
    }
    Ok(done)
}

impl ConsumeArgs {
    fn wants(&self, message: &ConsumedMessage) -> bool {
        let is_key = self.key.as_ref().is_none_or(|key| message.key.as_deref() == Some(key.as_bytes()));
        is_key && self.filter.as_ref().is_none_or(|text| holds(message, text.as_bytes()))
    }
}

fn holds(message: &ConsumedMessage, text: &[u8]) -> bool {
    let within = |bytes: &[u8]| text.is_empty() || bytes.windows(text.len()).any(|window| window == text);
    let payloads = [message.key.as_deref(), message.value.as_deref()];
    payloads.into_iter().flatten().any(within)
        || message.headers.iter().any(|(name, value)| within(name.as_bytes()) || value.as_deref().is_some_and(within))
}

impl ConsumeOutput {
    fn print(&mut self, messages: &[ConsumedMessage], out: &mut impl Write) -> anyhow::Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let decoded = match &mut self.inspector {
            None => None,
            Some(inspector) => {
                let mut batch = BatchBuilder::default();
                for message in messages {
                    let (at, timestamp) = (&message.position, message.timestamp_ms.unwrap_or(-1));
                    let (key, value) = (message.key.as_deref(), message.value.as_deref());
                    batch.push(&at.partition, at.offset, timestamp, key, value);
                }
                let batch = batch.finish();
                if let Some(registry) = &self.registry {
                    for id in inspector.missing_schemas(&batch) {
                        let schema = registry.schema(id).map_err(flow::registry_failed)?;
                        inspector.register_schema(id, schema.as_deref());
                    }
                }
                Some(inspector.inspect(&batch)?)
            }
        };
        self.show.print(messages, decoded.as_deref(), out)?;
        out.flush()?;
        self.printed += messages.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use turnstile_message::SourcePosition;

    use super::*;

    #[test]
    fn a_text_is_found_in_key_value_and_headers() {
        let message = ConsumedMessage {
            position: SourcePosition { partition: TopicPartition::new("t", 0), offset: 0 },
            timestamp_ms: None,
            appended_at: false,
            key: Some(b"A001".to_vec()),
            value: Some(b"59 ST\xFF".to_vec()),
            headers: vec![("trace".to_owned(), Some(b"id-7".to_vec()))],
        };
        for text in ["A00", "59 ST", "race", "id-7", ""] {
            assert!(holds(&message, text.as_bytes()), "{text}");
        }
        assert!(!holds(&message, b"A0015"));
    }
}
