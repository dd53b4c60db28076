//! The file sink's log, `_spark_metadata`: which files each batch wrote. Files that it does not name are those of attempts that
//! failed, and count for nothing.

use serde::Deserialize;

use super::{UnknownFormat, lines};

const WHAT: &str = "the log of Spark's file sink";

/// A file that a batch wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkFile {
    /// Its name in the sink's folder.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
}

/// The files that an entry of the log names, in the order of their batches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkLog {
    /// Those of one batch; of all batches up to it if the entry is a compact one.
    pub files: Vec<SinkFile>,
}

#[derive(Deserialize)]
struct Line {
    path: String,
    size: u64,
    action: String,
}

/// The path of a batch's entry, below the sink's folder.
pub fn sink_path(batch: u64) -> String {
    format!("_spark_metadata/{batch}")
}

/// The path of an entry that has the files of all batches up to `batch`; such a batch has no other entry.
pub fn compact_path(batch: u64) -> String {
    format!("_spark_metadata/{batch}.compact")
}

impl SinkLog {
    /// Reads an entry.
    ///
    /// # Errors
    /// It is not what Spark 4 writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, UnknownFormat> {
        let mut files = Vec::new();
        for line in lines(WHAT, bytes)? {
            let line: Line = serde_json::from_str(line).map_err(|error| UnknownFormat::new(WHAT, error))?;
            if line.action != "add" {
                return Err(UnknownFormat::new(WHAT, format!("action {:?}; add is known", line.action)));
            }
            let name = line.path.rsplit('/').next().unwrap_or_default().to_owned();
            // The sink's folder has no subfolders, and names of Spark's files need no escapes.
            if name.is_empty() || name.contains('%') || name.starts_with('.') {
                return Err(UnknownFormat::new(WHAT, format!("path {:?}", line.path)));
            }
            files.push(SinkFile { name, bytes: line.size });
        }
        Ok(Self { files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_files_and_one_without_files_is_an_entry() {
        let line = |name: &str| {
            format!(
                "{{\"path\":\"file:///lake/_turnstile/p/spark/1/rows/{name}\",\"size\":7,\"isDir\":false,\
                 \"modificationTime\":5,\"blockReplication\":1,\"blockSize\":1,\"action\":\"add\"}}"
            )
        };
        let text = format!("v1\n{}\n{}", line("part-0.parquet"), line("part-1.parquet"));
        let names: Vec<String> = SinkLog::parse(text.as_bytes()).unwrap().files.into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["part-0.parquet", "part-1.parquet"]);
        assert_eq!(SinkLog::parse(b"v1").unwrap(), SinkLog::default());
        for wrong in ["".to_owned(), "v2".to_owned(), format!("v1\n{}", line("a/")), line("x"), "v1\n{}".to_owned()] {
            assert!(SinkLog::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(SinkLog::parse(text.replace("\"add\"", "\"delete\"").as_bytes()).is_err());
    }
}
