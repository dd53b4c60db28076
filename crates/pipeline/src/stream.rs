//! Time, duplicates, lateness and commits: `[stream]`.

use std::path::PathBuf;

use turnstile_values::{HOUR_US, MINUTE_US, SECOND_US};

use crate::file::read::{Faults, TableReader};
use crate::file::{Fault, TomlNode, TomlValue};
use crate::schema::{FieldKind, Fields};

/// `[stream]`: how rows become windows. Durations are in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSettings {
    /// The timestamp field that says when a row happened.
    pub event_time: String,
    /// How far the watermark stays behind the newest event of a partition.
    pub watermark_us: i64,
    /// What makes two messages the same.
    pub dedup: DedupSettings,
    /// What becomes of a row whose window is closed.
    pub late: LatePolicy,
    /// What becomes of groups of a closed window that cannot be computed.
    pub failed_groups: FailedGroupPolicy,
    /// For [`LatePolicy::Correct`]: how long after its close a window can be corrected; otherwise 0.
    pub correct_for_us: i64,
    /// How long a partition is quiet before it stops holding the watermark back. `None`: it never does.
    pub idle_us: Option<i64>,
    /// How long the whole stream is quiet before the wall clock closes its windows. `None`: it never does.
    pub quiet_us: Option<i64>,
    /// How far ahead of the wall clock an event may be before it goes to the dead letters. `None`: there is no limit.
    pub future_us: Option<i64>,
    /// How often the ledger commits.
    pub commit: CommitCadence,
    /// Limit of the memory for open windows and dedup together, in bytes.
    pub memory_bytes: u64,
    /// Limit of the disk space for state that exceeds it, in bytes. `None`: the run ends instead.
    pub spill_bytes: Option<u64>,
    /// The folder for that state. `None`: the system's folder for large temporary files.
    pub spill_dir: Option<PathBuf>,
    /// A topic that receives the dead letters, beside the lake.
    pub dead_letter_topic: Option<String>,
    /// Threads that decode and aggregate. `None`: one per core.
    pub workers: Option<usize>,
}

/// What makes two messages the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DedupSettings {
    /// Nothing: every message counts.
    Off,
    /// The whole value, byte for byte.
    Value,
    /// These fields, by their schema names; at least one.
    Fields(Vec<String>),
}

/// What becomes of groups of a closed window on which an aggregate, HAVING or the SELECT list fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedGroupPolicy {
    /// The run ends with an error; nothing of the window is published.
    Stop,
    /// The window is published without them, and the commit records which they are.
    LeaveOut,
}

/// What becomes of a row whose window is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatePolicy {
    /// It is counted and left out.
    Drop,
    /// It goes to the dead letters.
    DeadLetter,
    /// The window is published again as its next version.
    Correct,
}

/// How often the ledger commits: whichever of the two comes first. At least one is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitCadence {
    /// Microseconds from one commit to the next.
    pub every_us: Option<i64>,
    /// Rows from one commit to the next.
    pub rows: Option<u64>,
}

pub(crate) fn read(node: &TomlNode, fields: &Fields, faults: &Faults) -> Option<StreamSettings> {
    let mut reader = TableReader::new(node, "stream", faults)?;
    let event_time = read_event_time(&mut reader, fields);
    let watermark_us = reader.duration("watermark");
    let watermark_us = reader.required("watermark", watermark_us);
    let dedup = read_dedup(&mut reader, fields);
    let late = reader
        .choice(
            "late",
            &[("drop", LatePolicy::Drop), ("dead-letter", LatePolicy::DeadLetter), ("correct", LatePolicy::Correct)],
        )
        .unwrap_or(LatePolicy::DeadLetter);
    let failed_groups = reader
        .choice("failed_groups", &[("stop", FailedGroupPolicy::Stop), ("leave-out", FailedGroupPolicy::LeaveOut)])
        .unwrap_or(FailedGroupPolicy::Stop);
    let correct_for = reader.positive_duration("correct_for");
    if let (Some(node), false) = (reader.node("correct_for"), late == LatePolicy::Correct) {
        reader.fault(Fault::new(&node.at, "correct_for has an effect only with late = \"correct\""));
    }
    let idle_us = reader.duration_or_off("idle").unwrap_or(Some(30 * SECOND_US));
    let quiet_us = reader.duration_or_off("quiet").unwrap_or(None);
    let future_us = reader.duration_or_off("future").unwrap_or(Some(5 * MINUTE_US));
    let commit = read_commit(&mut reader, faults);
    let memory_bytes = reader.bytes("memory").unwrap_or(1 << 30);
    if memory_bytes < 1 << 20 {
        let at = reader.node("memory").map_or_else(|| reader.at().clone(), |node| node.at.clone());
        reader.fault(Fault::new(&at, "memory must be at least 1 MiB"));
    }
    let spill_bytes = read_spill(&mut reader);
    let spill_dir = reader.text("spill_dir").map(|folder| PathBuf::from(folder.value));
    let dead_letter_topic = reader.text("dead_letter_topic").map(|topic| topic.value);
    let workers = reader.count("workers").and_then(|count| usize::try_from(count).ok());
    reader.finish();
    Some(StreamSettings {
        event_time: event_time?,
        watermark_us: watermark_us?,
        dedup: dedup?,
        late,
        failed_groups,
        correct_for_us: if late == LatePolicy::Correct { correct_for.unwrap_or(HOUR_US) } else { 0 },
        idle_us,
        quiet_us,
        future_us,
        commit: commit?,
        memory_bytes,
        spill_bytes,
        spill_dir,
        dead_letter_topic,
        workers,
    })
}

fn read_spill(reader: &mut TableReader<'_>) -> Option<u64> {
    let is_off = reader.node("spill").is_some_and(|node| matches!(&node.value, TomlValue::Text(word) if word == "off"));
    if is_off { None } else { Some(reader.bytes("spill").unwrap_or(16 << 30)) }
}

fn read_event_time(reader: &mut TableReader<'_>, fields: &Fields) -> Option<String> {
    let name = reader.text("event_time");
    let name = reader.required("event_time", name)?;
    let fault = match fields.index(&name.value).map(|index| &fields.fields[index].kind) {
        Some(FieldKind::Timestamp { .. }) => return Some(name.value),
        Some(kind) => Fault::new(
            &name.at,
            format!("event_time must be a timestamp field; \"{}\" is {}", name.value, kind.spark_name()),
        ),
        None => Fault::new(&name.at, format!("event_time: the schema has no field \"{}\"", name.value))
            .hint(fields.suggest(&name.value)),
    };
    if !fields.broken {
        reader.fault(fault);
    }
    None
}

fn read_dedup(reader: &mut TableReader<'_>, fields: &Fields) -> Option<DedupSettings> {
    let Some(node) = reader.node("dedup") else { return Some(DedupSettings::Off) };
    let wrong = || Fault::new(&node.at, "dedup must be a list of fields, \"value\" or \"off\"");
    let names = match &node.value {
        TomlValue::Text(word) if word == "value" => return Some(DedupSettings::Value),
        TomlValue::Text(word) if word == "off" => return Some(DedupSettings::Off),
        TomlValue::List(names) => names,
        _ => {
            reader.fault(wrong());
            return None;
        }
    };
    if names.is_empty() {
        return Some(DedupSettings::Off);
    }
    let mut out: Vec<String> = Vec::new();
    for item in names {
        match &item.value {
            TomlValue::Text(name) if out.contains(name) => {
                reader.fault(Fault::new(&item.at, format!("dedup: \"{name}\" is listed twice")));
            }
            TomlValue::Text(name) if fields.index(name).is_some() => out.push(name.clone()),
            TomlValue::Text(_) if fields.broken => {}
            TomlValue::Text(name) => {
                let fault = Fault::new(&item.at, format!("dedup: the schema has no field \"{name}\""));
                reader.fault(fault.hint(fields.suggest(name)));
            }
            _ => reader.fault(wrong()),
        }
    }
    Some(DedupSettings::Fields(out))
}

fn read_commit(reader: &mut TableReader<'_>, faults: &Faults) -> Option<CommitCadence> {
    let Some(node) = reader.node("commit") else {
        return Some(CommitCadence { every_us: Some(SECOND_US), rows: None });
    };
    match &node.value {
        TomlValue::Text(_) => {
            reader.positive_duration("commit").map(|us| CommitCadence { every_us: Some(us), rows: None })
        }
        TomlValue::Table(_) => {
            let mut inner = TableReader::new(node, "stream.commit", faults)?;
            let cadence = CommitCadence { every_us: inner.positive_duration("every"), rows: inner.count("rows") };
            inner.finish();
            if cadence.every_us.is_none() && cadence.rows.is_none() {
                reader.fault(Fault::new(&node.at, "commit needs \"every\" or \"rows\""));
                return None;
            }
            Some(cadence)
        }
        other => {
            let fault = Fault::new(&node.at, format!("commit must be a duration or a table, not {}", other.kind()));
            reader.fault(fault.hint("write \"1 second\" or { every = \"1 second\", rows = 100000 }"));
            None
        }
    }
}
