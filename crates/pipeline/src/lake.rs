//! Where closed windows go: `[lake]`.

use crate::file::read::{Faults, TableReader};
use crate::file::{Fault, TextSpan, TomlNode};
use crate::properties::Properties;
use turnstile_values::suggest;

/// `[lake]`: the store, the form of its files, how long they stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeSettings {
    /// Where files go: `file:`, `s3://`, `gs://` or `az://`. A relative `file:` path is relative to the
    /// working directory.
    pub url: String,
    /// The form of the files.
    pub format: FileFormat,
    /// The key of the folders that files are in, `<key>=YYYY-MM-DD/`. `None`: that of the ledger, or [`PARTITION_KEY`] for
    /// a new one.
    pub partition: Option<String>,
    /// How long files stay, in microseconds of event time. `None`: for ever.
    pub retain_us: Option<i64>,
    /// How long a file that is no longer needed stays for readers that have already begun, in microseconds.
    pub grace_us: i64,
    /// Whether a run makes one file of a day's small ones once the day is over.
    pub compact: bool,
    /// How often a run maintains the lake, in microseconds. `None`: it leaves that to `turnstile lake`.
    pub maintain_us: Option<i64>,
    /// How long a run waits for a store that refuses for now (full, not reachable), in microseconds.
    pub retry_for_us: i64,
    /// Whether CSV files begin with an unnamed column of row numbers, as the system this replaces wrote.
    pub index_column: bool,
    /// A block of a Prefect server, `TYPE/NAME`, that holds the store's credentials.
    pub prefect_block: Option<String>,
    /// Settings of the object store by its own names (endpoint, region…). Secrets belong in the environment.
    pub options: Properties,
}

/// The key of the folders of a new pipeline's files. Readers show it as a column, under the same name in any letter case.
pub const PARTITION_KEY: &str = "window_date";

/// The key that was the only one in earlier releases: a column of that name is left to those who continue with it.
const LEGACY_PARTITION_KEY: &str = "date";

/// Letters of a key, at most.
const PARTITION_KEY_LETTERS: usize = 64;

/// How long a run waits for its store by default: ten minutes.
const RETRY_FOR_US: i64 = 600_000_000;

/// How long a file that is no longer needed stays by default: ten minutes.
const GRACE_US: i64 = 600_000_000;

/// How often a run maintains the lake by default: every ten minutes.
const MAINTAIN_US: i64 = 600_000_000;

/// The form of the lake's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Comma-separated with a header line, gzip.
    CsvGz,
    /// Apache Parquet.
    Parquet,
}

impl FileFormat {
    /// The file name's ending, without the dot; also the word in the pipeline file.
    pub fn extension(self) -> &'static str {
        match self {
            FileFormat::CsvGz => "csv.gz",
            FileFormat::Parquet => "parquet",
        }
    }
}

pub(crate) fn read_lake(node: &TomlNode, faults: &Faults) -> Option<LakeSettings> {
    let mut reader = TableReader::new(node, "lake", faults)?;
    let url = reader.parsed("url", "write file:./lake/turnstile, s3://bucket/path, gs://… or az://…", url);
    let url = reader.required("url", url);
    let format = read_format(&mut reader);
    let hint = "write a small letter, then small letters, digits and '_', at most 64: \"window_date\"";
    let partition = reader.parsed("partition", hint, partition_key).map(|placed| placed.value);
    let retain_us = reader.positive_duration("retain");
    let grace_us = reader.duration("grace").unwrap_or(GRACE_US);
    // Whoever reads a folder of csv.gz by its names, as an external table does, would count rows twice for the grace.
    let compact = reader.parsed("compact", "write \"daily\" or \"off\"", compact).map(|placed| placed.value);
    let compact = compact.unwrap_or(format == Some(FileFormat::Parquet));
    let maintain_us = reader.duration_or_off("maintain").unwrap_or(Some(MAINTAIN_US));
    let retry_for_us = reader.duration("retry_for").unwrap_or(RETRY_FOR_US);
    let index_column = reader.boolean("index_column").unwrap_or(false);
    if index_column && format == Some(FileFormat::Parquet) {
        let at = reader.node("index_column").map_or_else(|| reader.at().clone(), |node| node.at.clone());
        reader.fault(Fault::new(&at, "index_column is for csv.gz only"));
    }
    let prefect_block = reader.text("prefect_block").map(|block| block.value);
    let options = reader.properties("options");
    reader.finish();
    let options = options.into();
    let (url, format) = (url?.value, format?);
    Some(LakeSettings {
        url,
        format,
        partition,
        retain_us,
        grace_us,
        compact,
        maintain_us,
        retry_for_us,
        index_column,
        prefect_block,
        options,
    })
}

/// One of the query's columns that readers cannot tell from the folders' key: Hive, Spark, BigQuery and DuckDB show both
/// under their names, of which the letter case does not count.
pub(crate) fn column_like_the_key<'a>(
    lake: &LakeSettings,
    columns: impl IntoIterator<Item = &'a str>,
    at: &TextSpan,
) -> Option<Fault> {
    let key = lake.partition.as_deref().unwrap_or(PARTITION_KEY);
    let same = |name: &&str| name.eq_ignore_ascii_case(key) && key != LEGACY_PARTITION_KEY;
    let name = columns.into_iter().find(same)?;
    let fact = format!("the query has a column {name}, and the files are in folders {key}=…: readers confuse the two");
    Some(Fault::new(at, fact).hint("rename the column with AS, or set [lake] partition to another name"))
}

/// In small letters alone, so that it is the same name for readers that fold it.
fn partition_key(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_well || text.len() > PARTITION_KEY_LETTERS || !text.chars().all(fits) {
        return Err(format!("\"{text}\" is not a name for folders"));
    }
    Ok(text.to_owned())
}

fn compact(text: &str) -> Result<bool, String> {
    match text {
        "daily" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("\"{other}\" is not a way to compact files")),
    }
}

fn read_format(reader: &mut TableReader<'_>) -> Option<FileFormat> {
    if reader.node("format").is_none() {
        return Some(FileFormat::CsvGz);
    }
    let text = reader.text("format")?;
    let fault = match text.value.as_str() {
        "csv.gz" => return Some(FileFormat::CsvGz),
        "parquet" => return Some(FileFormat::Parquet),
        "delta" => Fault::new(&text.at, "format \"delta\" is not supported yet")
            .hint("use \"parquet\" or \"csv.gz\"; the ledger already makes each file appear exactly once"),
        other => {
            Fault::new(&text.at, format!("format cannot be \"{other}\"")).hint(suggest(other, ["csv.gz", "parquet"]))
        }
    };
    reader.fault(fault);
    None
}

fn url(text: &str) -> Result<String, String> {
    let known = ["file:", "s3://", "gs://", "az://"];
    match known.iter().find(|scheme| text.starts_with(**scheme)) {
        Some(scheme) if text.len() > scheme.len() => Ok(text.to_owned()),
        _ => Err(format!("\"{text}\" is not the URL of a lake")),
    }
}
