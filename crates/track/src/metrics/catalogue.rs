//! Every metric that is served: name, kind, unit, labels, meaning. docs/metrics.md has the same table, and a test compares.

use super::family::{CounterStart, MetricInfo, MetricKind};

const fn metric(
    kind: MetricKind,
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricInfo {
    MetricInfo { name, kind, unit, labels, start: CounterStart::Process, help }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> MetricInfo {
    metric(MetricKind::Counter, name, "", labels, help)
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> MetricInfo {
    metric(MetricKind::Gauge, name, "", labels, help)
}

const fn seconds(name: &'static str, labels: &'static [&'static str], help: &'static str) -> MetricInfo {
    metric(MetricKind::Gauge, name, "seconds", labels, help)
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> MetricInfo {
    metric(MetricKind::Histogram, name, "seconds", labels, help)
}

const fn of_ledger(info: MetricInfo) -> MetricInfo {
    MetricInfo { start: CounterStart::Ledger, ..info }
}

const fn in_bytes(info: MetricInfo) -> MetricInfo {
    MetricInfo { unit: "bytes", ..info }
}

const PIPELINE: &[&str] = &["pipeline"];
const PARTITION: &[&str] = &["pipeline", "topic", "partition"];
const TARGET: &[&str] = &["pipeline", "target"];
const KIND: &[&str] = &["pipeline", "kind"];

pub(super) const BUILD: MetricInfo =
    metric(MetricKind::Info, "turnstile_build", "", &["version"], "The version of turnstile.");
pub(super) const RUN_START: MetricInfo =
    seconds("turnstile_run_start_timestamp_seconds", PIPELINE, "When the run began, seconds since the epoch.");
pub(super) const PARTITIONS: MetricInfo =
    gauge("turnstile_assigned_partitions", PIPELINE, "Partitions that the run reads; 0 until they are assigned.");
pub(super) const READ_MESSAGES: MetricInfo =
    counter("turnstile_read_messages", PIPELINE, "Messages read by this process, committed or not.");
pub(super) const READ_BYTES: MetricInfo =
    in_bytes(counter("turnstile_read_bytes", PIPELINE, "Bytes of keys and values read by this process."));
pub(super) const COMMITTED: MetricInfo = of_ledger(counter(
    "turnstile_committed_messages",
    PIPELINE,
    "Messages read and committed since the pipeline began, from the ledger.",
));
pub(super) const FATES: MetricInfo = of_ledger(counter(
    "turnstile_messages",
    &["pipeline", "fate"],
    "Committed messages by what became of them since the pipeline began, from the ledger.",
));
pub(super) const CORRECTIONS: MetricInfo = of_ledger(counter(
    "turnstile_corrections",
    PIPELINE,
    "Aggregated messages that came late and corrected a published window, from the ledger.",
));
pub(super) const CONSERVATION: MetricInfo = gauge(
    "turnstile_conservation_difference",
    PIPELINE,
    "Messages read less the sum of their fates at the last commit; anything but 0 is a fault.",
);
pub(super) const LAG_RECORDS: MetricInfo =
    gauge("turnstile_lag_records", PARTITION, "Offsets left to read in the partition.");
pub(super) const LAG_SECONDS: MetricInfo =
    seconds("turnstile_lag_seconds", PARTITION, "Age of the next message to be read from the partition.");
pub(super) const WATERMARK: MetricInfo =
    seconds("turnstile_watermark_timestamp_seconds", PIPELINE, "The watermark, seconds since the epoch.");
pub(super) const WATERMARK_DELAY: MetricInfo =
    seconds("turnstile_watermark_delay_seconds", PIPELINE, "Wall clock less watermark at the scrape.");
pub(super) const OPEN_WINDOWS: MetricInfo = gauge("turnstile_open_windows", PIPELINE, "Windows that are open.");
pub(super) const STATE: MetricInfo = in_bytes(gauge(
    "turnstile_state_bytes",
    &["pipeline", "place"],
    "Bytes of windows and dedup: in memory, and in the state that the last commit refers to.",
));
pub(super) const COMMIT_SECONDS: MetricInfo =
    histogram("turnstile_commit_duration_seconds", PIPELINE, "From a cut to its last file at its final name.");
pub(super) const LAST_COMMIT: MetricInfo = seconds(
    "turnstile_last_commit_timestamp_seconds",
    PIPELINE,
    "When the last commit was made, seconds since the epoch.",
);
pub(super) const CLOSE_TO_FILE: MetricInfo = histogram(
    "turnstile_window_close_to_file_seconds",
    PIPELINE,
    "From the watermark found past a window's end to the window's file at its final name.",
);
pub(super) const END_TO_FILE: MetricInfo = histogram(
    "turnstile_window_end_to_file_seconds",
    PIPELINE,
    "From a window's end in event time to its first file at its final name; a replay of old messages makes it large.",
);
pub(super) const FILES: MetricInfo = counter("turnstile_published_files", KIND, "Files published by this process.");
pub(super) const FILE_ROWS: MetricInfo =
    counter("turnstile_published_rows", KIND, "Rows, or dead letters, in files published by this process.");
pub(super) const FILE_BYTES: MetricInfo =
    in_bytes(counter("turnstile_published_bytes", KIND, "Bytes of files published by this process."));
pub(super) const DEAD_LETTERS: MetricInfo = counter(
    "turnstile_dead_letters",
    &["pipeline", "reason"],
    "Messages in dead-letter files published by this process; late messages kept there have the reason late.",
);
pub(super) const LOAD_AGE: MetricInfo =
    seconds("turnstile_load_age_seconds", TARGET, "Since the end of the last load that succeeded, at the scrape.");
pub(super) const LOAD_SECONDS: MetricInfo =
    histogram("turnstile_load_duration_seconds", TARGET, "From the beginning of a load to its end.");
pub(super) const LOAD_ROWS: MetricInfo = counter("turnstile_load_rows", TARGET, "Rows that tables received.");
pub(super) const LOAD_FAILURES: MetricInfo =
    counter("turnstile_load_failures", TARGET, "Loads and deliveries that failed and are tried again.");
pub(super) const FAILED_TESTS: MetricInfo =
    gauge("turnstile_load_failed_tests", TARGET, "Tests of models that did not pass in the last load, and only warn.");
pub(super) const RETRIES: MetricInfo =
    counter("turnstile_retries", &["pipeline", "action"], "Actions that were tried again.");
pub(super) const LOG_LINES: MetricInfo =
    counter("turnstile_log_lines", &["pipeline", "level"], "Lines of the run's log.");
pub(super) const DROPPED: MetricInfo = counter(
    "turnstile_listener_dropped_events",
    &["pipeline", "listener"],
    "Events or deliveries that a listener lost because its queue was full.",
);
pub(super) const CPU: MetricInfo = MetricInfo {
    unit: "seconds",
    ..counter("process_cpu_seconds", &[], "Processor time of the process, in user and kernel mode.")
};
pub(super) const MEMORY: MetricInfo =
    in_bytes(gauge("process_resident_memory_bytes", &[], "Resident memory of the process."));
pub(super) const OPEN_FILES: MetricInfo = gauge("process_open_fds", &[], "Open file descriptors of the process.");

/// All metrics, in the order in which they are served.
pub const METRICS: [&MetricInfo; 34] = [
    &BUILD,
    &RUN_START,
    &PARTITIONS,
    &READ_MESSAGES,
    &READ_BYTES,
    &COMMITTED,
    &FATES,
    &CORRECTIONS,
    &CONSERVATION,
    &LAG_RECORDS,
    &LAG_SECONDS,
    &WATERMARK,
    &WATERMARK_DELAY,
    &OPEN_WINDOWS,
    &STATE,
    &COMMIT_SECONDS,
    &LAST_COMMIT,
    &CLOSE_TO_FILE,
    &END_TO_FILE,
    &FILES,
    &FILE_ROWS,
    &FILE_BYTES,
    &DEAD_LETTERS,
    &LOAD_AGE,
    &LOAD_SECONDS,
    &LOAD_ROWS,
    &LOAD_FAILURES,
    &FAILED_TESTS,
    &RETRIES,
    &LOG_LINES,
    &DROPPED,
    &CPU,
    &MEMORY,
    &OPEN_FILES,
];
