//! The turnstile binary under test, and the pipeline it is given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, shown};
use crate::place;

/// A turnstile binary.
#[derive(Debug)]
pub(super) struct Product {
    program: PathBuf,
}

impl Product {
    /// Takes `given`, or builds a release binary.
    ///
    /// # Errors
    /// When it does not build or does not exist.
    pub(super) fn new(given: Option<&Path>) -> Result<Self> {
        let program = match given {
            Some(program) => program.into(),
            None => {
                println!("building a release binary; the first time takes long …");
                let mut build = cargo();
                ensure!(
                    shown(build.args(["build", "--release", "-p", "turnstile", "--bin", "turnstile"]))?,
                    "turnstile does not build"
                );
                place::target().join("release/turnstile")
            }
        };
        ensure!(program.exists(), "there is no {}", program.display());
        Ok(Self { program })
    }

    /// `turnstile <verb>`.
    pub(super) fn verb(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(verb);
        command
    }

    /// `turnstile run` of `pipeline` from `topic` into the folder `lake`.
    pub(super) fn run(&self, pipeline: &Path, bootstrap: &str, topic: &str, lake: &Path) -> Result<Command> {
        fs::create_dir_all(lake).with_context(|| format!("cannot make {}", lake.display()))?;
        let mut command = self.verb("run");
        command.arg(pipeline);
        command.args(["--set", &format!("source.topic={topic}")]);
        command.args(["--set", &format!(r#"source.kafka={{"bootstrap.servers"="{bootstrap}"}}"#)]);
        command.args(["--set", &format!("lake.url=file:{}", lake.display())]);
        Ok(command)
    }
}

/// Writes the job of the reference programs as a pipeline file in `dir`; `commit` is its cadence.
pub(super) fn pipeline(dir: &Path, commit: &str) -> Result<PathBuf> {
    let file = dir.join("bench.toml");
    fs::write(&file, pipeline_text(commit))?;
    Ok(file)
}

/// The text of that file.
pub(super) fn pipeline_text(commit: &str) -> String {
    PIPELINE.replace("{schema}", SCHEMA).replace("{commit}", commit)
}

/// The fields of the reference programs' messages, whose timestamps they read as UTC.
pub(super) const SCHEMA: &str = r#"CA = "string"
UNIT = "string"
SCP = "string"
STATION = "string"
LINENAME = "string"
DIVISION = "string"
DATE = "string"
TIME = "string"
DESC = "string"
ENTRIES = "int"
EXITS = "int"
ID = "string"
TIMESTAMP = { type = "timestamp", format = "yyyy-MM-dd HH:mm:ss", zone = "UTC" }"#;

/// The reference programs keep every message: so does this.
const PIPELINE: &str = r#"name = "bench"

[source]
topic  = "city"
kafka  = { "bootstrap.servers" = "127.0.0.1:9092" }
format = "csv"

[source.schema]
{schema}
[stream]
event_time = "TIMESTAMP"
watermark = "5 minutes"
commit = "{commit}"

[query]
sql = """
SELECT CA, UNIT, SCP, STATION, LINENAME, DIVISION, DATE, date_format(window.end, 'HH:mm:ss') AS TIME, DESC,
       window.start AS START, window.end AS END, sum(ENTRIES) AS ENTRIES, sum(EXITS) AS EXITS
FROM turnstile
GROUP BY window(TIMESTAMP, '5 minutes', '5 minutes'), CA, UNIT, SCP, STATION, LINENAME, DIVISION, DATE, DESC
"""

[lake]
url = "file:./lake"
format = "csv.gz"
"#;
