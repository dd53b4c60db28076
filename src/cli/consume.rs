//! `turnstile consume`: the messages of a topic, as they are.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use clap::ValueEnum;
use kafka::{ClientError, ClientSettings, Connection, ReadError, ReadLimits, ReadQueue, Reader, StartAt};
use message::{MessageBatch, TopicPartition};

use crate::cli::cluster::{ClusterArgs, client_failure, read_failure, stop_on_signals};
use crate::exit::Exit;

/// How long one look for messages takes at most: how late Ctrl-C is noticed.
const WAIT: Duration = Duration::from_millis(200);

/// Most messages printed between two looks at the stop flag.
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 8 << 20;

/// How often the group's offsets are written.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// Print the messages of a topic
///
/// It reads all partitions without joining the group: it starts from the group's committed offsets, writes them, and
/// shares the topic with no other member.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    turnstile consume --topic mta-turnstile --groupid turnstile --clientid me --config ~/.kafka/docker-kafka.properties\n  \
    turnstile consume --topic city --bootstrap localhost:9092 --from beginning --until-end --json")]
pub(crate) struct Args {
    /// Topic to read
    #[arg(long)]
    topic: String,
    /// Consumer group whose offsets say where to start, and which is told how far this has read
    #[arg(long, value_name = "GROUP")]
    groupid: Option<String>,
    /// Name of this client in the broker's logs and metrics
    #[arg(long, value_name = "NAME")]
    clientid: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Where to start [default: the group's committed offsets, and the beginning where it has none]
    #[arg(long, value_enum)]
    from: Option<From>,
    /// Stop after this many messages
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// Stop at the end that each partition has now
    #[arg(long)]
    until_end: bool,
    /// Print one JSON object a message
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Beginning,
    End,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let stop = stop_on_signals()?;
    let mut settings = args.cluster.settings(&stop)?;
    for (key, value, flag) in [("group.id", &args.groupid, "--groupid"), ("client.id", &args.clientid, "--clientid")] {
        if let Some(value) = value {
            settings = settings.with(key, value, flag).map_err(|error| client_failure(error.into()))?;
        }
    }
    let (mut reader, ends) = match open(&args, &settings) {
        Err(ReadError::Client(ClientError::Stopped)) => {
            eprintln!("0 messages from \"{}\"", args.topic);
            return Ok(Exit::Done);
        }
        opened => opened.map_err(read_failure)?,
    };
    let started = Instant::now();
    let mut printed = 0;
    let outcome = print_all(&args, &mut reader, &ends, &stop, &mut printed);
    eprintln!("{printed} messages from \"{}\" in {:.1} s", args.topic, started.elapsed().as_secs_f64());
    match outcome {
        // The program that reads our output has seen enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            Ok(Exit::Done)
        }
        outcome => outcome.map(|()| Exit::Done),
    }
}

/// The reader, and the offsets at which `--until-end` is satisfied.
fn open(args: &Args, settings: &ClientSettings) -> Result<(Reader, Vec<(TopicPartition, i64)>), ReadError> {
    let connection = Connection::open(settings)?;
    let partitions: Vec<_> = connection
        .topic_partitions(&args.topic)?
        .into_iter()
        .map(|partition| TopicPartition::new(args.topic.as_str(), partition))
        .collect();
    let starts: Vec<StartAt> = match (args.from, settings.group()) {
        (Some(From::Beginning), _) | (None, None) => vec![StartAt::Earliest; partitions.len()],
        (Some(From::End), _) => vec![StartAt::Latest; partitions.len()],
        (None, Some(_)) => {
            let committed = connection.group_offsets(&partitions)?;
            committed.into_iter().map(|next| next.map_or(StartAt::Earliest, StartAt::Offset)).collect()
        }
    };
    let highs = connection.watermarks(&partitions)?.into_iter().map(|(_, high)| high);
    let ends = partitions.iter().cloned().zip(highs).collect();
    let reader = Reader::open(settings, partitions.into_iter().zip(starts).collect(), ReadLimits::default())?;
    Ok((reader, ends))
}

fn print_all(
    args: &Args,
    reader: &mut Reader,
    ends: &[(TopicPartition, i64)],
    stop: &AtomicBool,
    printed: &mut u64,
) -> anyhow::Result<()> {
    let Some(mut queue) = reader.split().pop() else { return Ok(()) };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut committed_at = Instant::now();
    loop {
        let left = args.max.map_or(u64::MAX, |max| max - *printed);
        let at_end = args.until_end && reached(&queue, ends);
        if left == 0 || at_end || stop.load(Ordering::Relaxed) {
            break;
        }
        let rows = usize::try_from(left).unwrap_or(usize::MAX).min(BATCH_ROWS);
        let batch = queue.next(rows, BATCH_BYTES, WAIT).map_err(read_failure)?;
        for row in 0..batch.len() {
            print_one(args.json, &batch, row, &mut out)?;
        }
        out.flush()?;
        *printed += batch.len() as u64;
        if args.groupid.is_some() && committed_at.elapsed() > COMMIT_EVERY {
            committed_at = Instant::now();
            reader.commit_group_offsets(queue.positions()).map_err(client_failure)?;
        }
    }
    if args.groupid.is_some() {
        reader.commit_group_offsets(queue.positions()).map_err(client_failure)?;
    }
    Ok(())
}

fn reached(queue: &ReadQueue, ends: &[(TopicPartition, i64)]) -> bool {
    let position = |partition| queue.positions().iter().find(|(p, _)| p == partition).map(|(_, next)| *next);
    ends.iter().all(|(partition, end)| position(partition).is_none_or(|next| next >= *end))
}

/// Tab-separated: partition, offset, timestamp, key, value; or a JSON object with the same names.
fn print_one(json: bool, batch: &MessageBatch, row: usize, out: &mut impl Write) -> io::Result<()> {
    let at = batch.position(row);
    let (key, value) = (batch.keys.get(row), batch.values.get(row));
    let timestamp = timestamp(batch.timestamps_ms[row]);
    if json {
        let is_text = [key, value].into_iter().flatten().all(|bytes| std::str::from_utf8(bytes).is_ok());
        let line = serde_json::json!({
            "topic": &*at.partition.topic,
            "partition": at.partition.partition,
            "offset": at.offset,
            "timestamp": timestamp,
            "key": key.map(String::from_utf8_lossy),
            "value": value.map(String::from_utf8_lossy),
            // A payload that is no text is shown as near as text can come, and said to be so.
            "text": is_text,
        });
        writeln!(out, "{line}")
    } else {
        let timestamp = timestamp.as_deref().unwrap_or("-");
        write!(out, "{}\t{}\t{timestamp}\t", at.partition.partition, at.offset)?;
        write_text(key, out)?;
        out.write_all(b"\t")?;
        write_text(value, out)?;
        out.write_all(b"\n")
    }
}

fn timestamp(ms: i64) -> Option<String> {
    let at = (ms >= 0).then(|| DateTime::from_timestamp_millis(ms)).flatten()?;
    Some(at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Text on one line: line feeds and tabs within it are escaped, a null is `-`.
fn write_text(payload: Option<&[u8]>, out: &mut impl Write) -> io::Result<()> {
    let Some(bytes) = payload else { return out.write_all(b"-") };
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '\n' => out.write_all(b"\\n")?,
            '\t' => out.write_all(b"\\t")?,
            c if c.is_control() => write!(out, "{}", c.escape_default())?,
            c => write!(out, "{c}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use message::BatchBuilder;

    use super::*;

    fn batch() -> MessageBatch {
        let mut builder = BatchBuilder::default();
        builder.push(&TopicPartition::new("t", 2), 7, 1_785_542_400_000, Some(b"k"), Some(b"a\tb\n\x1b[31mc"));
        builder.push(&TopicPartition::new("t", 2), 8, -1, None, Some(b"\xFF"));
        builder.finish()
    }

    fn lines(json: bool) -> Vec<String> {
        let (batch, mut out) = (batch(), Vec::new());
        for row in 0..batch.len() {
            print_one(json, &batch, row, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_message_is_one_line_whatever_it_holds() {
        assert_eq!(lines(false), ["2\t7\t2026-08-01T00:00:00.000Z\tk\ta\\tb\\n\\u{1b}[31mc", "2\t8\t-\t-\t\u{FFFD}"]);
    }

    #[test]
    fn json_tells_null_from_text_and_text_from_bytes() {
        let lines: Vec<serde_json::Value> =
            lines(true).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["value"], "a\tb\n\u{1b}[31mc");
        assert_eq!((&lines[0]["text"], &lines[1]["text"]), (&true.into(), &false.into()));
        assert!(lines[1]["key"].is_null() && lines[1]["timestamp"].is_null());
    }
}
