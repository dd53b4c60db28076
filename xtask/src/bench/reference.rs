//! The programs to compare with: a folder beside the project, copied into the target folder and built
//! there, so that nothing of it enters the project.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, shown};
use crate::{fetch, place};

/// The reference programs, ready to run.
#[derive(Debug)]
pub(super) struct ReferencePrograms {
    dir: PathBuf,
    built: PathBuf,
    python: PathBuf,
}

impl ReferencePrograms {
    /// Copies and builds what is in `dir`. `None`, and a message about it, when there is no such folder and
    /// none was asked for.
    ///
    /// # Errors
    /// When a folder that was asked for is missing, or the programs do not build.
    pub(super) fn find(asked: Option<&Path>) -> Result<Option<Self>> {
        let dir = asked.map_or_else(|| place::root().join("../shared/bench"), Path::to_path_buf);
        if !dir.join("load/Cargo.toml").exists() {
            ensure!(asked.is_none(), "{} holds no reference programs", dir.display());
            println!("no reference programs in {}: compared with nothing", dir.display());
            return Ok(None);
        }
        let copy = place::target().join("bench/reference");
        copy_changed(&dir, &copy)?;
        let manifest = copy.join("load/Cargo.toml");
        // The copy lies below this workspace's root and is no part of it.
        let text = fs::read_to_string(dir.join("load/Cargo.toml"))?;
        write_changed(&manifest, format!("{text}\n[workspace]\n").as_bytes())?;

        let target = place::target().join("bench/reference-target");
        let mut build = cargo();
        build.args(["build", "--release", "--locked", "--manifest-path"]).arg(&manifest);
        build.arg("--target-dir").arg(&target);
        ensure!(shown(&mut build)?, "the reference programs do not build");
        Ok(Some(Self { dir: copy, built: target.join("release"), python: fetch::python::bench()? }))
    }

    /// One of the compiled programs: `load`, `drain`, `limit`, `rawfetch`, `live`.
    pub(super) fn program(&self, name: &str) -> Command {
        Command::new(self.built.join(name))
    }

    /// A file of the folder.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// One of the Python programs, by its path in the folder.
    pub(super) fn script(&self, path: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.dir.join(path));
        command
    }
}

/// Copies a folder; a file that has not changed keeps its time, so that nothing is built twice.
fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_changed(&entry.path(), &target)?;
        } else if entry.file_name() != "Cargo.toml" {
            write_changed(&target, &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn write_changed(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}
