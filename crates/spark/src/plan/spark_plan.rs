//! The plan itself.

use std::time::Duration;

use turnstile_pipeline::{DedupSettings, MESSAGE_ORDER, Pipeline};

use super::columns::{DETAIL, FIELD, KEY, REASON, ROWS_VIEW, SENT, VALUE};
use super::sql_text::quoted;
use super::zone::event_zone;
use super::{csv, limits};

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
    /// The rejected messages, over [`ROWS_VIEW`].
    pub rejected: String,
    /// What the progress of each batch counts of the messages, of [`ROWS_VIEW`], and of the rows that are left: aggregates.
    pub observed: [Vec<String>; 3],
    /// What may differ from the embedded engine's result, a sentence each.
    pub differences: Vec<String>,
}

impl SparkPlan {
    /// Plans a pipeline.
    ///
    /// # Errors
    /// What Spark, or this release with Spark, cannot do, a sentence each.
    pub fn of(pipeline: &Pipeline) -> Result<Self, Vec<String>> {
        let mut refused = limits::refused(pipeline);
        let query = pipeline.query.for_spark().map_err(|more| refused.extend(more)).ok();
        let Some(query) = query.filter(|_| refused.is_empty()) else { return Err(refused) };
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
        let letters = MESSAGE_ORDER.iter().copied().chain([SENT, KEY, VALUE, REASON, FIELD, DETAIL]).map(quoted);
        let watermark = Duration::from_micros(pipeline.stream.watermark_us.unsigned_abs());
        Ok(Self {
            settings,
            rows: csv::rows(pipeline),
            accepted: format!("SELECT {} FROM {ROWS_VIEW} WHERE {REASON} IS NULL", columns.join(", ")),
            watermark: (pipeline.stream.event_time.clone(), watermark),
            dedup,
            stream: pipeline.source.table.clone(),
            query: query.sql,
            rejected: format!(
                "SELECT {} FROM {ROWS_VIEW} WHERE {REASON} IS NOT NULL",
                letters.collect::<Vec<_>>().join(", ")
            ),
            observed: [
                vec!["count(1) AS read".to_owned(), "count_if(value IS NULL) AS tombstones".to_owned()],
                vec![format!("count_if({REASON} IS NOT NULL) AS rejected")],
                vec![
                    "count(1) AS rows".to_owned(),
                    match &query.filter {
                        None => "0L AS filtered".to_owned(),
                        Some(filter) => format!("count_if(NOT coalesce({filter}, false)) AS filtered"),
                    },
                    format!("unix_micros(max({})) AS newest_us", quoted(&pipeline.stream.event_time)),
                ],
            ],
            differences,
        })
    }
}
