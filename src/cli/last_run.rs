//! The pipeline that `turnstile up` or `turnstile stream` ran last, for verbs that are given no pipeline file.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use turnstile_pipeline::Pipeline;

use super::pipeline_file::{add_environment, load_pipeline_for_cluster, parse_pipeline, split_set};
use crate::exit::Exit;
use crate::flow::{Context, LakeAccess};
use crate::process::Process;
use crate::report::Failure;

/// The default data folder of `turnstile up` and `turnstile stream`.
pub(super) const DATA: &str = "turnstile-data";

/// The file in it.
const FILE: &str = "up.json";

/// A pipeline file's text as it ran.
#[derive(Debug, Serialize, Deserialize)]
struct LastRun {
    /// Where the text came from, for messages.
    origin: String,
    text: String,
    /// Of `up`: broker and lake, followed by --set of its command line, which overrides them.
    set: Vec<(String, String)>,
}

/// Saves the pipeline that runs in the data folder `dir`.
pub(super) fn save(dir: &Path, origin: &str, text: &str, set: &[(String, String)]) -> anyhow::Result<()> {
    let file = dir.join(FILE);
    let last_run = LastRun { origin: origin.to_owned(), text: text.to_owned(), set: set.to_vec() };
    write_private(&file, &serde_json::to_string_pretty(&last_run)?)
        .with_context(|| format!("{} cannot be written", file.display()))
}

/// A pipeline file may contain a password that its file mode protects; so must a copy of it.
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut opened = options.open(file)?;
    // A file of an earlier version keeps its mode when it is opened.
    #[cfg(unix)]
    opened.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    std::io::Write::write_all(&mut opened, text.as_bytes())
}

/// The pipeline of `file`, or without a file the one that ran last in ./turnstile-data. `set` are `KEY=VALUE`
/// pairs; client settings in the environment override them.
pub(super) fn pipeline_or_last(file: Option<&PathBuf>, set: &[String]) -> anyhow::Result<Pipeline> {
    if let Some(file) = file {
        return load_pipeline_for_cluster(file, set);
    }
    let last_run = load()?;
    let mut all = last_run.set;
    all.extend(split_set(set)?);
    let mut pipeline = parse_pipeline(&last_run.text, &last_run.origin, &all)?;
    add_environment(&mut pipeline)?;
    Ok(pipeline)
}

/// The folder of the pipeline file that [`pipeline_or_last`] reads: where its relative paths begin.
fn folder_or_last(file: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(file) = file {
        return Ok(crate::flow::folder_of(file));
    }
    Ok(crate::flow::folder_of(Path::new(&load()?.origin)))
}

/// The context of [`pipeline_or_last`].
pub(super) fn context_or_last(
    process: &Process,
    file: Option<&PathBuf>,
    set: &[String],
    access: LakeAccess,
) -> anyhow::Result<Context> {
    let folder = folder_or_last(file.map(PathBuf::as_path))?;
    Ok(Context::new(process, pipeline_or_last(file, set)?, &folder, access))
}

/// The pipeline that was saved in ./turnstile-data.
fn load() -> anyhow::Result<LastRun> {
    let kept = Path::new(DATA).join(FILE);
    let text = std::fs::read_to_string(&kept).map_err(|e| {
        Failure::new(Exit::Usage, format!("no pipeline file was named, and there is no ./{}", kept.display()))
            .cause(e)
            .hint(
                "name a pipeline file, or run `turnstile up` or `turnstile stream` in this folder first; \
                 `turnstile stream … --print-pipeline` prints the file of a stream with another lake",
            )
    })?;
    serde_json::from_str(&text).with_context(|| format!("{} cannot be read", kept.display()))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_saved_pipeline_is_readable_by_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        std::fs::write(&file, "{}").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        save(dir.path(), "p.toml", "password = \"hush\"", &[]).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(&file).unwrap().contains("p.toml"));
    }
}
