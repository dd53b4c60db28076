//! The external table: BigQuery reads the lake's files in place.
//!
//! A wildcard also sees files that a correction or a compaction has superseded. A list of files (BigQuery's word:
//! manifest) names the current ones only; the warehouse, which knows the ledger, rewrites it after each load.

use arrow::datatypes::{DataType, Field, SchemaRef};
use serde_json::{Value, json};

use super::columns::column;

/// What BigQuery's schema autodetection calls the unnamed first column that pandas writes.
const INDEX: &str = "int64_field_0";
/// The folder of lists, below the lake; it holds no data files.
const FOLDER: &str = "_bigquery";

/// The format of the lake's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalFormat {
    /// Comma-separated, with one header line, compressed.
    CsvGz,
    /// Parquet.
    Parquet,
}

/// Which of the lake's files the table reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternalFiles {
    /// All files, superseded ones too.
    All,
    /// The listed files, by their names below the lake's URL; see [`BigQueryTarget::list_files`](super::BigQueryTarget).
    Listed(Vec<String>),
}

/// A table over the lake's files.
#[derive(Debug, Clone)]
pub struct ExternalTable {
    /// Its name, `ext_turnstile` by default.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The lake: `gs://BUCKET/PREFIX`.
    pub url: String,
    /// The format of its files.
    pub format: ExternalFormat,
    /// The files' columns in order, without the index.
    pub schema: SchemaRef,
    /// Whether files begin with an unnamed column of row numbers (seen as `int64_field_0`). CSV only.
    pub index_column: bool,
    /// Which files it reads.
    pub files: ExternalFiles,
}

impl ExternalTable {
    /// The name of the list of files, below the lake's URL.
    pub fn list_name(&self) -> String {
        format!("{FOLDER}/{}.files", self.name)
    }

    /// The list's text: one full address a line. Source: BigQuery's announcement of manifest files.
    pub(super) fn list_text(&self, files: &[String]) -> String {
        let url = self.url.trim_end_matches('/');
        files.iter().map(|file| format!("{url}/{file}\n")).collect()
    }

    /// `externalDataConfiguration` of the table's resource.
    pub(super) fn configuration(&self) -> Value {
        let url = self.url.trim_end_matches('/');
        let (address, spec) = match &self.files {
            // One asterisk is all that an address may hold; it also stands for slashes. No other file of a lake ends so.
            ExternalFiles::All => (format!("{url}/*{}", self.suffix()), "FILE_SET_SPEC_TYPE_FILE_SYSTEM_MATCH"),
            ExternalFiles::Listed(_) => {
                (format!("{url}/{}", self.list_name()), "FILE_SET_SPEC_TYPE_NEW_LINE_DELIMITED_MANIFEST")
            }
        };
        let mut configuration = json!({
            "sourceUris": [address],
            "fileSetSpecType": spec,
            "autodetect": false,
            "schema": self.columns(),
        });
        match self.format {
            ExternalFormat::Parquet => configuration["sourceFormat"] = json!("PARQUET"),
            ExternalFormat::CsvGz => {
                configuration["sourceFormat"] = json!("CSV");
                configuration["compression"] = json!("GZIP");
                configuration["maxBadRecords"] = json!(0);
                configuration["csvOptions"] =
                    json!({"skipLeadingRows": "1", "encoding": "UTF-8", "allowQuotedNewlines": true});
            }
        }
        configuration
    }

    fn columns(&self) -> Value {
        let index = Field::new(INDEX, DataType::Int64, true);
        let index = (self.index_column && self.format == ExternalFormat::CsvGz).then(|| column(&index, false));
        let columns = self.schema.fields().iter().map(|field| column(field, false));
        json!({ "fields": index.into_iter().chain(columns).collect::<Vec<_>>() })
    }

    fn suffix(&self) -> &'static str {
        match self.format {
            ExternalFormat::CsvGz => ".csv.gz",
            ExternalFormat::Parquet => ".parquet",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::*;

    fn table(files: ExternalFiles, format: ExternalFormat, index_column: bool) -> ExternalTable {
        let schema = Arc::new(Schema::new(vec![Field::new("STATION", DataType::Utf8, true)]));
        let url = "gs://b/turnstile/".into();
        ExternalTable {
            name: "ext_turnstile".into(),
            description: String::new(),
            url,
            format,
            schema,
            index_column,
            files,
        }
    }

    #[test]
    fn an_address_holds_one_asterisk() {
        let configuration = table(ExternalFiles::All, ExternalFormat::CsvGz, false).configuration();
        assert_eq!(configuration["sourceUris"], json!(["gs://b/turnstile/*.csv.gz"]));
        assert_eq!(configuration["csvOptions"]["skipLeadingRows"], "1");
    }

    #[test]
    fn the_original_index_column_comes_first_and_in_csv_only() {
        let names = |table: ExternalTable| -> Vec<String> {
            let fields = table.configuration()["schema"]["fields"].as_array().unwrap().clone();
            fields.iter().map(|field| field["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(table(ExternalFiles::All, ExternalFormat::CsvGz, true)), ["int64_field_0", "STATION"]);
        assert_eq!(names(table(ExternalFiles::All, ExternalFormat::Parquet, true)), ["STATION"]);
    }

    #[test]
    fn a_list_names_current_files_by_their_full_addresses() {
        let files = vec!["date=2026-08-01/a_v2.parquet".to_owned()];
        let table = table(ExternalFiles::Listed(files.clone()), ExternalFormat::Parquet, false);
        assert_eq!(table.list_text(&files), "gs://b/turnstile/date=2026-08-01/a_v2.parquet\n");
        let configuration = table.configuration();
        assert_eq!(configuration["sourceUris"], json!(["gs://b/turnstile/_bigquery/ext_turnstile.files"]));
        assert_eq!(configuration["fileSetSpecType"], "FILE_SET_SPEC_TYPE_NEW_LINE_DELIMITED_MANIFEST");
    }
}
