//! The pipeline file as a whole.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use crate::alerts::{self, AlertSettings};
use crate::console::{self, ConsoleSection};
use crate::error::{PipelineError, Problem};
use crate::file::read::{Faults, Placed, TableReader};
use crate::file::{Fault, PipelineText};
use crate::lake::{self, LakeSettings};
use crate::message_format::MessageFormat;
use crate::query::{self, Aggregate, Query};
use crate::schema::{FieldKind, Fields};
use crate::source::{self, EmptyText, SourceSettings};
use crate::spark::{self, SparkSettings};
use crate::stream::{self, DedupSettings, StreamSettings};
use crate::track::{self, TrackSettings};
use crate::warehouse::{self, WarehouseSettings};

/// A checked pipeline file with its planned query.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The pipeline's name: part of the names of its files and of its ledger.
    pub name: String,
    /// `[source]`.
    pub source: SourceSettings,
    /// `[stream]`.
    pub stream: StreamSettings,
    /// `[query]`, planned.
    pub query: Query,
    /// `[lake]`.
    pub lake: LakeSettings,
    /// `[warehouse]`.
    pub warehouse: Option<WarehouseSettings>,
    /// `[track]`.
    pub track: TrackSettings,
    /// `[console]`.
    pub console: ConsoleSection,
    /// `[alerts]`.
    pub alerts: AlertSettings,
    /// `[spark]`.
    pub spark: SparkSettings,
    /// 32 hexadecimal digits that change when results could: with the format, the schema, the time and
    /// dedup rules and the query, but not with urls, cadence, limits or the way the file is written.
    pub plan_hash: String,
}

impl Pipeline {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`PipelineError::Read`] when it cannot be read; [`PipelineError::Invalid`] with every problem found in it.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, PipelineError> {
        Self::from_path_with(path, &[])
    }

    /// Reads and checks the file at `path`, with some values replaced: pairs of a dotted key, such as
    /// `stream.commit`, and a TOML value; a value that is not TOML is taken as a string.
    ///
    /// # Errors
    /// As [`Pipeline::from_path`]; a problem of a replaced value names its key instead of the file.
    pub fn from_path_with(path: impl AsRef<Path>, set: &[(String, String)]) -> Result<Self, PipelineError> {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).map_err(|source| PipelineError::Read { path: path.to_owned(), source })?;
        Self::from_str_with(&text, &path.display().to_string(), set)
    }

    /// Checks the text of a pipeline file; `name` stands for the file in problems.
    ///
    /// # Errors
    /// [`PipelineError::Invalid`] with every problem found.
    pub fn from_str(text: &str, name: &str) -> Result<Self, PipelineError> {
        Self::from_str_with(text, name, &[])
    }

    /// [`Pipeline::from_str`] with some values replaced.
    ///
    /// # Errors
    /// [`PipelineError::Invalid`] with every problem found.
    pub fn from_str_with(text: &str, name: &str, set: &[(String, String)]) -> Result<Self, PipelineError> {
        let file = PipelineText::parse(name, text, set).map_err(PipelineError::Invalid)?;
        read(&file).map_err(|mut faults| {
            faults.sort_by_key(|fault| (fault.at.text, fault.at.bytes.start));
            let mut problems: Vec<Problem> = faults.iter().map(|fault| file.locate(fault)).collect();
            problems.dedup();
            PipelineError::Invalid(problems)
        })
    }
}

fn read(file: &PipelineText) -> Result<Pipeline, Vec<Fault>> {
    let faults = Faults::default();
    let pipeline = read_sections(file, &faults);
    match (pipeline, faults.into_inner()) {
        (Some(pipeline), faults) if faults.is_empty() => Ok(pipeline),
        (_, faults) => Err(faults),
    }
}

fn read_sections(file: &PipelineText, faults: &Faults) -> Option<Pipeline> {
    let mut reader = TableReader::new(&file.root, "", faults)?;
    let hint = "use letters, digits, '.', '_' and '-', at most 64";
    let name = reader.parsed("name", hint, pipeline_name);
    let name = reader.required("name", name);
    let source = reader.node("source");
    let (source, fields) = match reader.required("source", source) {
        Some(node) => source::read(node, faults),
        None => (None, Fields { fields: Vec::new(), broken: true }),
    };
    let stream = reader.node("stream");
    let stream = reader.required("stream", stream).and_then(|node| stream::read(node, &fields, faults));
    let query = reader.node("query");
    let sql = reader.required("query", query).and_then(|node| {
        let mut inner = TableReader::new(node, "query", faults)?;
        let sql = inner.text("sql");
        let sql = inner.required("sql", sql);
        inner.finish();
        sql
    });
    let lake = reader.node("lake");
    let lake = reader.required("lake", lake).and_then(|node| lake::read_lake(node, faults));
    let warehouse = reader.node("warehouse").map(|node| warehouse::read(node, file, faults));
    let track = reader.node("track").and_then(|node| track::read(node, faults)).unwrap_or_default();
    let console = reader.node("console").and_then(|node| console::read(node, faults)).unwrap_or_default();
    let alerts = reader.node("alerts").and_then(|node| alerts::read(node, faults)).unwrap_or_default();
    let spark = reader.node("spark").and_then(|node| spark::read(node, faults)).unwrap_or_default();
    reader.finish();
    let (source, stream, sql) = (source?, stream?, sql?);
    if fields.broken {
        return None;
    }
    let query = plan(file, &sql, &source, &stream, faults)?;
    let plan_hash = plan_hash(&source, &stream, &query);
    let lake = lake?;
    let columns = query.output.iter().map(|(name, _)| name.as_str());
    faults.borrow_mut().extend(lake::column_like_the_key(&lake, columns, &sql.at));
    Some(Pipeline {
        name: name?.value,
        source,
        stream,
        query,
        lake,
        // A warehouse that is there and wrong has been reported.
        warehouse: warehouse.flatten(),
        track,
        console,
        alerts,
        spark,
        plan_hash,
    })
}

fn plan(
    file: &PipelineText,
    sql: &Placed<String>,
    source: &SourceSettings,
    stream: &StreamSettings,
    faults: &Faults,
) -> Option<Query> {
    query::plan(file, sql, source, stream).map_err(|found| faults.borrow_mut().extend(found)).ok()
}

fn pipeline_name(name: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts_well || name.len() > 64 || !name.chars().all(legal) {
        return Err(format!("\"{name}\" is not a name for a pipeline"));
    }
    Ok(name.to_owned())
}

/// Written out by hand: a derived text would change the hash whenever a type is renamed.
fn plan_hash(source: &SourceSettings, stream: &StreamSettings, query: &Query) -> String {
    let mut text = String::from("turnstile plan 1\n");
    let mut line = |key: &str, value: String| {
        // Lengths keep one value from running into the next.
        text.push_str(&format!("{key} {}:{value}\n", value.len()));
    };
    line("format", source.format.as_str().to_owned());
    line("extra_fields", format!("{:?}", source.extra_fields).to_lowercase());
    for field in &source.schema {
        let kind = match &field.kind {
            FieldKind::Timestamp { format, zone } => format!("timestamp {} {format}", zone.name()),
            other => other.spark_name().into_owned(),
        };
        line("field", field.name.clone());
        line("type", kind);
        if field.path != [field.name.as_str()] {
            line("path", field.path.join("."));
        }
        if let Some(metadata) = field.metadata {
            line("metadata", metadata.as_str().to_owned());
        }
    }
    // Releases that had no such key read an empty text as a text.
    let texts = || query.columns.iter().any(|field| source.schema[*field].kind == FieldKind::String);
    if source.format == MessageFormat::Csv && source.empty == EmptyText::Null && texts() {
        line("empty", "null".to_owned());
    }
    line("event_time", stream.event_time.clone());
    line("watermark", stream.watermark_us.to_string());
    match &stream.dedup {
        DedupSettings::Off => line("dedup", "off".to_owned()),
        DedupSettings::Value => line("dedup", "value".to_owned()),
        DedupSettings::Fields(names) => names.iter().for_each(|name| line("dedup field", name.clone())),
    }
    line("late", format!("{:?}", stream.late).to_lowercase());
    line("correct_for", stream.correct_for_us.to_string());
    for (key, value) in [("idle", stream.idle_us), ("quiet", stream.quiet_us), ("future", stream.future_us)] {
        line(key, value.map_or_else(|| "off".to_owned(), |us| us.to_string()));
    }
    line("query", query.canonical.clone());
    // Releases before kept the doubles themselves in the state of min and max.
    if query.aggregates.iter().any(Aggregate::is_of_ordered_bits) {
        line("min and max of doubles", "by their order".to_owned());
    }
    // Releases before added decimals of any length in 128 bits.
    if query.aggregates.iter().any(Aggregate::is_wide_sum) {
        line("sums of long decimals", "in 256 bits".to_owned());
    }
    format!("{:032x}", xxh3_128(text.as_bytes()))
}
