//! The plan itself.

use std::time::Duration;

use turnstile_pipeline::{DedupSettings, MESSAGE_ORDER, Pipeline};

use super::columns::{DETAIL, FIELD, KEY, MESSAGES_VIEW, REASON, ROWS_VIEW, SENT, VALUE};
use super::lateness::Lateness;
use super::schemas::RegistrySchemas;
use super::sql_text::quoted;
use super::zone::event_zone;
use super::{clock, decoding, limits};

/// What a session is asked to do for a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkPlan {
    /// Settings of the session.
    pub settings: Vec<(&'static str, String)>,
    /// The query of [`ROWS_VIEW`], over the view of the messages.
    pub rows: String,
    /// The rows that count, over [`ROWS_VIEW`].
    pub accepted: String,
    /// The column with the event time, and how far the watermark stays behind it.
    pub watermark: (String, Duration),
    /// The columns in which duplicates agree; none: duplicates count.
    pub dedup: Vec<String>,
    /// The view of the rows that are left: the name that the pipeline's query gives to the stream.
    pub stream: String,
    /// The pipeline's query.
    pub query: String,
    /// The condition of its WHERE.
    filter: Option<String>,
    lateness: Lateness,
    /// The rejected messages, over [`ROWS_VIEW`].
    pub rejected: String,
    /// What the progress of each batch counts of the messages, of [`ROWS_VIEW`], and of the rows that are left: aggregates.
    pub observed: [Vec<String>; 3],
    /// What may differ from the embedded engine's result, a sentence each.
    pub differences: Vec<String>,
}

impl SparkPlan {
    /// Plans a pipeline. `schemas`: what is known of the registry's, if the messages have them.
    ///
    /// # Errors
    /// What Spark, or this release with Spark, cannot do, a sentence each.
    pub fn of(pipeline: &Pipeline, schemas: &RegistrySchemas) -> Result<Self, Vec<String>> {
        let mut refused = limits::refused(pipeline);
        let query = pipeline.query.for_spark().map_err(|more| refused.extend(more)).ok();
        let rows = decoding::rows(pipeline, schemas).map_err(|more| refused.extend(more)).ok();
        let (Some(query), Some(rows), true) = (query, rows, refused.is_empty()) else { return Err(refused) };
        let mut differences = limits::differences(pipeline);
        differences.extend(query.approximate.iter().map(|&difference| difference.to_owned()));
        let zone = event_zone(pipeline);
        let settings = vec![
            ("spark.sql.session.timeZone", zone.name().to_owned()),
            // An overflow or a cast that fails ends the query instead of writing a wrong number.
            ("spark.sql.ansi.enabled", "true".to_owned()),
            ("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS".to_owned()),
            ("spark.sql.parquet.compression.codec", "zstd".to_owned()),
            ("spark.sql.legacy.timeParserPolicy", "CORRECTED".to_owned()),
            // Of views on views, each round of the analyzer resolves one.
            ("spark.sql.analyzer.maxIterations", "1000".to_owned()),
            // A batch without messages still closes windows.
            ("spark.sql.streaming.noDataMicroBatches.enabled", "true".to_owned()),
        ];
        let fields = pipeline.query.columns.iter().map(|at| quoted(&pipeline.source.schema[*at].name));
        let value = (pipeline.stream.dedup == DedupSettings::Value).then(|| quoted(VALUE));
        let columns: Vec<String> = fields.chain(MESSAGE_ORDER.map(quoted)).chain(value).collect();
        let dedup = match &pipeline.stream.dedup {
            DedupSettings::Off => Vec::new(),
            DedupSettings::Value => vec![VALUE.to_owned()],
            DedupSettings::Fields(names) => names.clone(),
        };
        let event_time = quoted(&pipeline.stream.event_time);
        let watermark = Duration::from_micros(pipeline.stream.watermark_us.unsigned_abs());
        Ok(Self {
            settings,
            rows,
            accepted: format!("SELECT {} FROM {ROWS_VIEW} WHERE {REASON} IS NULL", columns.join(", ")),
            watermark: (pipeline.stream.event_time.clone(), watermark),
            dedup,
            stream: pipeline.source.table.clone(),
            query: query.sql,
            filter: query.filter.clone(),
            lateness: Lateness::of(pipeline),
            rejected: format!("{} FROM {ROWS_VIEW} WHERE {REASON} IS NOT NULL", letters([REASON, FIELD, DETAIL])),
            observed: [
                vec!["count(1) AS read".to_owned(), "count_if(value IS NULL) AS tombstones".to_owned()],
                vec![
                    format!("count_if({REASON} IS NOT NULL) AS rejected"),
                    format!("unix_micros(min(CASE WHEN {REASON} IS NULL THEN {event_time} END)) AS oldest_us"),
                ],
                vec![
                    "count(1) AS rows".to_owned(),
                    match &query.filter {
                        None => "0L AS filtered".to_owned(),
                        Some(filter) => format!("count_if(NOT coalesce({filter}, false)) AS filtered"),
                    },
                    format!("unix_micros(max({event_time})) AS newest_us"),
                ],
            ],
            differences,
        })
    }

    /// The query of [`ROWS_VIEW`] as a batch with this clock ran it, milliseconds since the epoch.
    pub fn rows_at(&self, clock_ms: i64) -> String {
        clock::at(&self.rows, clock_ms)
    }

    /// The event time, microseconds since the epoch, from which on messages are in time for a batch, if the batch before it had
    /// the watermark `watermark_ms`.
    pub fn in_time_from_us(&self, watermark_ms: i64) -> i64 {
        self.lateness.for_watermark(watermark_ms)
    }

    /// The event time, microseconds since the epoch, from which on messages have a window that ends after `closed_until_us`.
    pub fn in_open_windows_from_us(&self, closed_until_us: i64) -> i64 {
        self.lateness.for_windows(closed_until_us)
    }

    /// Counts of the messages in the views: `read`, `tombstones`; `late`, those with an event time before `in_time_from_us`;
    /// `filtered`, those in time that WHERE leaves out; `newest_us`, the latest event time.
    pub fn counts(&self, in_time_from_us: i64) -> String {
        let event_time = quoted(&self.watermark.0);
        let late = format!("unix_micros({event_time}) < {in_time_from_us}");
        let filtered = match &self.filter {
            Some(filter) => format!("count_if(NOT ({late}) AND NOT coalesce({filter}, false))"),
            None => "0L".to_owned(),
        };
        format!(
            "SELECT * FROM (SELECT count(1) AS read, count_if(value IS NULL) AS tombstones FROM {MESSAGES_VIEW}) \
             CROSS JOIN (SELECT unix_micros(max({event_time})) AS newest_us, count_if({late}) AS late, {filtered} AS filtered \
             FROM ({accepted}))",
            accepted = self.accepted,
        )
    }

    /// The messages with an event time before `in_time_from_us`, over [`ROWS_VIEW`], with the columns of `rejected`; the
    /// detail is the event time, microseconds since the epoch.
    pub fn late(&self, in_time_from_us: i64) -> String {
        let event_time = quoted(&self.watermark.0);
        let [reason, field] = [format!("'late' AS {REASON}"), format!("CAST(NULL AS string) AS {FIELD}")];
        let detail = format!("string(unix_micros({event_time})) AS {DETAIL}");
        let columns = letters([&reason, &field, &detail]);
        format!("{columns} FROM {ROWS_VIEW} WHERE {REASON} IS NULL AND unix_micros({event_time}) < {in_time_from_us}")
    }
}

/// The columns of a dead letter, the last three as given.
fn letters(why: [&str; 3]) -> String {
    let place = MESSAGE_ORDER.iter().copied().chain([SENT, KEY, VALUE]).map(quoted);
    let columns: Vec<String> = place.chain(why.map(str::to_owned)).collect();
    format!("SELECT {}", columns.join(", "))
}
