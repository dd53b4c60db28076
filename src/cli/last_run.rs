//! The pipeline that `turnstile up` or `turnstile stream` ran last, for verbs that are given no pipeline file.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use turnstile_pipeline::Pipeline;

use super::pipeline_file::parse_pipeline;
use crate::console::PipelineFileText;

/// The default data folder of `turnstile up` and `turnstile stream`.
pub(super) const DATA: &str = "turnstile-data";

/// The file in it.
const FILE: &str = "up.json";

/// A pipeline file's text as it ran.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LastRun {
    /// Where the text came from, for messages.
    origin: String,
    /// The folder that its relative paths begin at; files of earlier versions do not say.
    #[serde(default)]
    folder: Option<PathBuf>,
    text: String,
    /// Of `up`: broker and lake, followed by --set of its command line, which overrides them.
    pub(super) set: Vec<(String, String)>,
}

impl LastRun {
    /// Saves the pipeline that runs in the data folder `dir`.
    pub(super) fn save(
        dir: &Path,
        origin: &str,
        folder: &Path,
        text: &str,
        set: &[(String, String)],
    ) -> anyhow::Result<()> {
        let file = dir.join(FILE);
        let folder = Some(std::path::absolute(Path::new(".").join(folder))?);
        let last_run = Self { origin: origin.to_owned(), folder, text: text.to_owned(), set: set.to_vec() };
        write_private(&file, &serde_json::to_string_pretty(&last_run)?)
            .with_context(|| format!("{} cannot be written", file.display()))
    }

    /// The pipeline that was saved in the data folder `dir`, if one was.
    pub(super) fn read(dir: &Path) -> anyhow::Result<Option<Self>> {
        let file = dir.join(FILE);
        let failed = || format!("{} cannot be read", file.display());
        match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).with_context(failed).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(failed),
        }
    }

    /// The pipeline; `set` overrides what was saved.
    pub(super) fn pipeline(&self, set: &[(String, String)]) -> anyhow::Result<Pipeline> {
        parse_pipeline(&self.text, &self.origin, &[self.set.as_slice(), set].concat())
    }

    /// The file.
    pub(super) fn file(&self) -> PipelineFileText {
        PipelineFileText { name: self.origin.clone(), text: self.text.clone() }
    }

    /// The folder that the file's relative paths begin at.
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| crate::flow::folder_of(Path::new(&self.origin)))
    }
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
        LastRun::save(dir.path(), "p.toml", Path::new(""), "password = \"hush\"", &[]).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(&file).unwrap().contains("p.toml"));
    }
}
