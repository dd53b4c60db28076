//! The tables over the lake and when they are loaded: `[warehouse]`.

use std::error::Error;
use std::str::FromStr;

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::errors::CronError;
use turnstile_values::{DAY_US, HOUR_US, duration};

use crate::file::read::{Faults, TableReader};
use crate::file::{Fault, PipelineText, TextSpan, TomlNode};
use crate::targets::{self, BigQueryTargetSettings, PostgresTargetSettings};

/// `[warehouse]`: the tables over the lake's files and when they are loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct WarehouseSettings {
    /// Name of the external table.
    pub table: String,
    /// When models are loaded.
    pub schedule: LoadSchedule,
    /// The folder of the models, relative to the pipeline file; `built-in` for those that come with turnstile. `None`:
    /// there are no models.
    pub models: Option<String>,
    /// Memory of all questions and loads together, bytes.
    pub memory_bytes: Option<u64>,
    /// Approximate maximum of lake rows that one load reads.
    pub load_rows: Option<u64>,
    /// How long a question may take, microseconds.
    pub statement_timeout_us: Option<i64>,
    /// Rows that a question through the PostgreSQL port may return. `None`: as many as there are.
    pub max_rows: Option<u64>,
    /// Connections that the PostgreSQL port takes at the same time.
    pub max_connections: Option<u64>,
    /// Where PostgreSQL clients connect, `host:port`. `None`: `run` opens no port.
    pub listen: Option<String>,
    /// Files (PEM) of that port's certificate and of its private key. `None`: it speaks no TLS.
    pub tls: Option<(String, String)>,
    /// A PostgreSQL that receives the models' tables.
    pub postgres: Option<PostgresTargetSettings>,
    /// A BigQuery that receives them.
    pub bigquery: Option<BigQueryTargetSettings>,
}

/// The value of `models` for those that come with turnstile.
pub const BUILT_IN_MODELS: &str = "built-in";

/// When something repeats.
#[derive(Debug, Clone, PartialEq)]
pub enum LoadSchedule {
    /// Every so many microseconds.
    Every(i64),
    /// At the times of a five-field cron expression in a time zone.
    Cron {
        /// The expression.
        text: String,
        /// Where its hours are hours.
        zone: Tz,
    },
}

impl LoadSchedule {
    /// The first time after `us` that something is due, both microseconds since the epoch, UTC. An interval's times
    /// are whole multiples of it, so that a restart does not move them.
    ///
    /// A cron time that a clock change leaves out comes right after it; one that it repeats comes once.
    pub fn next_after(&self, us: i64) -> i64 {
        match self {
            Self::Every(every) => (us.div_euclid(*every) + 1) * every,
            Self::Cron { text, zone } => {
                let from = DateTime::from_timestamp_micros(us).unwrap_or_default().with_timezone(zone);
                let next = Cron::from_str(text).ok().and_then(|cron| cron.find_next_occurrence(&from, false).ok());
                next.map_or(i64::MAX, |next| next.timestamp_micros())
            }
        }
    }
}

pub(crate) fn read(node: &TomlNode, file: &PipelineText, faults: &Faults) -> Option<WarehouseSettings> {
    let mut reader = TableReader::new(node, "warehouse", faults)?;
    let table = reader.parsed("table", "letters, digits and underscores, the first not a digit", table_name);
    let table = reader.required("table", table);
    let hint =
        "write a duration such as \"1 minute\", \"hourly\", \"daily\", or a cron expression such as \"0 * * * *\"";
    let schedule = reader.parsed("schedule", hint, parse_schedule);
    let schedule = reader.required("schedule", schedule);
    let zone = reader.parsed("zone", "write a name such as \"America/New_York\"", |text| {
        Tz::from_str(text).map_err(|_| format!("\"{text}\" is not a time zone"))
    });
    let schedule = match (schedule.map(|placed| placed.value), zone) {
        (Some(LoadSchedule::Cron { text, .. }), Some(zone)) => Some(LoadSchedule::Cron { text, zone: zone.value }),
        (Some(LoadSchedule::Every(_)), Some(zone)) => {
            let fault = Fault::new(&zone.at, "zone applies to a cron expression only")
                .hint("intervals do not depend on a zone");
            reader.fault(fault);
            None
        }
        (schedule, _) => schedule,
    };
    let models = reader.text("models").map(|placed| placed.value);
    let memory_bytes = reader.bytes("memory");
    let load_rows = reader.count("load_rows");
    let statement_timeout_us = reader.positive_duration("statement_timeout");
    let max_rows = reader.count("max_rows");
    let max_connections = reader.count("max_connections");
    let listen = reader.text("listen").map(|placed| placed.value);
    let tls = match (reader.text("tls_cert"), reader.text("tls_key")) {
        (Some(certificate), Some(key)) => Some((certificate.value, key.value)),
        (None, None) => None,
        (Some(alone), None) => lonely(&reader, &alone.at, "tls_cert", "tls_key"),
        (None, Some(alone)) => lonely(&reader, &alone.at, "tls_key", "tls_cert"),
    };
    // A section that is there and wrong has been reported.
    let postgres = reader.node("postgres").and_then(|node| targets::read_postgres(node, file, faults));
    let bigquery = reader.node("bigquery").and_then(|node| targets::read_bigquery(node, file, faults));
    reader.finish();
    Some(WarehouseSettings {
        table: table?.value,
        schedule: schedule?,
        models,
        memory_bytes,
        load_rows,
        statement_timeout_us,
        max_rows,
        max_connections,
        listen,
        tls,
        postgres,
        bigquery,
    })
}

/// Reports a key that has no effect without the other.
fn lonely<T>(reader: &TableReader<'_>, at: &TextSpan, key: &str, other: &str) -> Option<T> {
    let fault = Fault::new(at, format!("{key} has no effect without {other}"));
    reader.fault(fault.hint("name the files of a certificate and of its private key, both PEM"));
    None
}

fn table_name(text: &str) -> Result<String, String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if first && rest && text.len() <= 63 { Ok(text.to_owned()) } else { Err(format!("\"{text}\" is not a table name")) }
}

fn parse_schedule(text: &str) -> Result<LoadSchedule, Box<dyn Error + Send + Sync>> {
    match text {
        "hourly" => return Ok(LoadSchedule::Every(HOUR_US)),
        "daily" => return Ok(LoadSchedule::Every(DAY_US)),
        _ => {}
    }
    if text.split_whitespace().count() == 5 {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let cron = Cron::from_str(&text).map_err(|error| cron_fault(&text, error))?;
        let never = cron.find_next_occurrence(&Utc.timestamp_nanos(0), false).is_err();
        return if never {
            Err(format!("\"{text}\" never matches a time").into())
        } else {
            Ok(LoadSchedule::Cron { text, zone: Tz::UTC })
        };
    }
    Ok(LoadSchedule::Every(duration::parse_positive_us(text)?))
}

/// Which field of a five-field cron expression is wrong; the parser's error names none.
fn cron_fault(text: &str, error: CronError) -> Box<dyn Error + Send + Sync> {
    let names = ["minute", "hour", "day of the month", "month", "day of the week"];
    let wrong = text.split(' ').zip(names).enumerate().find(|(at, (field, _))| {
        let mut alone = ["*"; 5];
        alone[*at] = field;
        Cron::from_str(&alone.join(" ")).is_err()
    });
    match wrong {
        Some((_, (field, name))) => format!("\"{field}\" is not a valid {name} in a cron expression").into(),
        None => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    fn next(schedule: &str, zone: Tz, from: &str) -> i64 {
        let schedule = match parse_schedule(schedule).unwrap() {
            LoadSchedule::Cron { text, .. } => LoadSchedule::Cron { text, zone },
            every => every,
        };
        schedule.next_after(at(from))
    }

    #[test]
    fn intervals_begin_at_whole_multiples() {
        assert_eq!(next("1 minute", Tz::UTC, "2026-08-01T08:00:10Z"), at("2026-08-01T08:01:00Z"));
        assert_eq!(next("hourly", Tz::UTC, "2026-08-01T08:00:00Z"), at("2026-08-01T09:00:00Z"));
    }

    #[test]
    fn a_cron_time_is_one_of_its_zone_also_when_clocks_change() {
        let city = Tz::America__New_York;
        assert_eq!(next("30 2 * * *", city, "2026-08-01T00:00:00Z"), at("2026-08-01T02:30:00-04:00"));
        // 2026-03-08: 02:00 is followed by 03:00. 2026-11-01: 01:30 comes twice.
        assert_eq!(next("30 2 * * *", city, "2026-03-08T05:00:00Z"), at("2026-03-08T03:00:00-04:00"));
        let first = next("30 1 * * *", city, "2026-11-01T04:00:00Z");
        assert_eq!(first, at("2026-11-01T01:30:00-04:00"));
        assert_eq!(next("30 1 * * *", city, "2026-11-01T05:30:00Z"), at("2026-11-02T01:30:00-05:00"));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in ["0 seconds", "61 * * * *", "* * * *", "0 0 31 2 *", "sometimes"] {
            assert!(parse_schedule(text).is_err(), "{text}");
        }
    }
}
