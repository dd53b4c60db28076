//! `turnstile broker`: the embedded broker alone, until it is stopped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use turnstile_broker::{Broker, BrokerError, BrokerSettings, Fsync};

use crate::exit::Exit;
use crate::process::Process;
use crate::report::Failure;

const EXAMPLES: &str = "\
Examples:
  turnstile broker --dir ./kafka-data
      keeps messages in ./kafka-data and serves on 127.0.0.1:9092 until Ctrl-C

  turnstile broker --listen 127.0.0.1:0 --auto-create
      in memory, on a free port; the address is the only line on stdout

librdkafka clients should set fetch.queue.backoff.ms=10: the default makes a fast broker appear slow.
One machine, no replication, no transactions, no passwords: for evaluation. In production use Apache Kafka.";

/// Serve the Kafka protocol from this process: one machine, no replication, loopback only
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BrokerArgs {
    /// Where to listen; port 0 selects a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9092")]
    listen: SocketAddr,

    /// Keep messages in this folder; without it they are kept in memory and lost when the process ends
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,

    /// When messages are synced to disk: killing the process never loses messages, a power failure may
    #[arg(long, value_enum, default_value_t = FsyncChoice::Interval)]
    fsync: FsyncChoice,

    /// Interval of `--fsync interval`, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    fsync_interval_ms: u64,

    /// Delete messages older than this by their own timestamps, in milliseconds; -1 keeps them
    #[arg(long, value_name = "MS", default_value_t = 604_800_000, allow_negative_numbers = true)]
    retention_ms: i64,

    /// Delete the oldest messages of a partition that holds more than this, in bytes; -1 sets no limit
    #[arg(long, value_name = "BYTES", default_value_t = -1, allow_negative_numbers = true)]
    retention_bytes: i64,

    /// Maximum size of a segment file, in bytes; retention deletes whole segments
    #[arg(long, value_name = "BYTES", default_value_t = 134_217_728, value_parser = clap::value_parser!(u64).range(16_384..))]
    segment_bytes: u64,

    /// Create a topic when a client uses one that does not exist
    #[arg(long)]
    auto_create: bool,

    /// Partitions of a topic that is created without a number of partitions
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// Allow a --listen address that other machines can reach, although there are no passwords
    #[arg(long)]
    i_know: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FsyncChoice {
    /// The operating system decides
    Never,
    /// In the background, once per --fsync-interval-ms
    Interval,
    /// Before each batch is acknowledged
    EveryBatch,
}

/// Serves until SIGINT or SIGTERM. The address is printed to stdout once clients can connect.
pub(crate) fn run(args: BrokerArgs, process: &Process) -> anyhow::Result<Exit> {
    // Before the broker starts, so that a signal in between is not the end of the process.
    let stop = process.shutdown_on_signals()?;
    let in_memory = args.dir.is_none();
    let broker = Broker::start(settings(args)).map_err(failure)?;
    outln!("{}", broker.address());
    if in_memory {
        tracing::warn!("messages are kept in memory and lost when this process ends; --dir keeps them");
    }
    process.runtime.block_on(stop.cancelled());
    broker.stop();
    Ok(Exit::Done)
}

fn settings(args: BrokerArgs) -> BrokerSettings {
    BrokerSettings {
        listen: args.listen,
        beyond_loopback: args.i_know,
        dir: args.dir,
        fsync: match args.fsync {
            FsyncChoice::Never => Fsync::Never,
            FsyncChoice::Interval => Fsync::Interval(Duration::from_millis(args.fsync_interval_ms)),
            FsyncChoice::EveryBatch => Fsync::EveryBatch,
        },
        segment_bytes: args.segment_bytes,
        retention_ms: u64::try_from(args.retention_ms).ok(),
        retention_bytes: u64::try_from(args.retention_bytes).ok(),
        auto_create_topics: args.auto_create,
        default_partitions: args.partitions,
        ..BrokerSettings::default()
    }
}

fn failure(error: BrokerError) -> anyhow::Error {
    let hint = match &error {
        BrokerError::BeyondLoopback(_) => "listen on 127.0.0.1, or add --i-know on a network that you trust",
        BrokerError::Listen { .. } => "choose another port with --listen; port 0 selects a free one",
        BrokerError::InUse(_) => "stop that process, or choose another --dir",
        BrokerError::Storage { .. } => "choose a --dir that is writable and is empty or was written by this broker",
        BrokerError::Corrupt(_) => "see docs/broker.md, 'Damage', for what can be recovered",
        _ => "see docs/broker.md",
    };
    Failure::new(Exit::Failed, "the broker did not start").cause(error).hint(hint).into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BrokerArgs,
    }

    fn parsed(line: &[&str]) -> BrokerSettings {
        settings(Line::parse_from([&["broker"], line].concat()).args)
    }

    #[test]
    fn without_flags_it_is_in_memory_on_kafkas_port_and_keeps_a_week() {
        let settings = parsed(&[]);
        assert_eq!((settings.listen.to_string().as_str(), settings.dir), ("127.0.0.1:9092", None));
        assert_eq!((settings.retention_ms, settings.retention_bytes), (Some(7 * 24 * 3600 * 1000), None));
    }

    #[test]
    fn minus_one_keeps_everything() {
        assert_eq!(parsed(&["--retention-ms", "-1"]).retention_ms, None);
    }

    #[test]
    fn an_address_that_others_reach_is_refused_with_the_flag_that_allows_it() {
        let error = Broker::start(parsed(&["--listen", "0.0.0.0:0"])).map_err(failure).unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert!(failure.next_step().is_some_and(|hint| hint.contains("--i-know")));
    }
}
