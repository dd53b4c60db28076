//! Apache Kafka on disk: its jars, the formatted template of a data folder, and Java to run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::address;

/// Only the first, quick compiler.
pub(super) const C1_ONLY: &str = "-XX:TieredStopAtLevel=1";
/// Any id does; the same one in every template.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";

/// A folder with Kafka's jars (`lib/`), a formatted empty data folder (`template/`) and an archive of
/// loaded classes (`kafka.jsa`, optional: it halves the start).
#[derive(Debug, Clone)]
pub struct KafkaHome {
    pub(super) dir: PathBuf,
}

/// Kafka's jars: to start a separate broker, or one of Kafka's command-line tools.
///
/// # Panics
/// As [`crate::kafka`].
pub fn kafka_home() -> KafkaHome {
    KafkaHome::at(address::text(address::var::KAFKA_HOME))
}

impl KafkaHome {
    /// The home in `dir`; nothing is read yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// One of Kafka's command-line tools, by class name: `org.apache.kafka.tools.` may be left out.
    ///
    /// # Errors
    /// When the home holds no jars.
    pub fn tool(&self, class: &str) -> Result<Command> {
        let mut command = self.quick_java()?;
        if class.starts_with("org.") || class.starts_with("kafka.") {
            command.arg(class);
        } else {
            command.arg(format!("org.apache.kafka.tools.{class}"));
        }
        Ok(command)
    }

    /// A program in one Java file, compiled as it starts, with Kafka's client at hand.
    ///
    /// # Errors
    /// When the home holds no jars.
    pub fn program(&self, source: &Path) -> Result<Command> {
        let mut command = self.quick_java()?;
        command.arg(source);
        Ok(command)
    }

    /// Formats `data` for a broker with these settings; `users` are SCRAM credentials, such as
    /// `SCRAM-SHA-256=[name=reader,password=…]`.
    pub(super) fn format(&self, properties: &Path, users: &[String]) -> Result<()> {
        let mut format = self.quick_java()?;
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(properties);
        for user in users {
            format.args(["--add-scram", user]);
        }
        let out = format.output().context("cannot start `java`")?;
        ensure!(out.status.success(), "formatting failed: {}", String::from_utf8_lossy(&out.stderr));
        Ok(())
    }

    /// Copies the formatted template to `data`, as the folder of node `node`.
    ///
    /// # Errors
    /// When the home holds no template, or `data` cannot be written.
    pub(super) fn copy_template(&self, data: &Path, node: u32) -> Result<()> {
        copy_folder(&self.dir.join("template"), data)
            .with_context(|| format!("{} holds no formatted template: run `cargo xtask test`", self.dir.display()))?;
        name_node(data, node)
    }

    pub(super) fn archive(&self) -> PathBuf {
        self.dir.join("kafka.jsa")
    }

    /// A Java that starts quickly; the class and its arguments are yet to be given.
    fn quick_java(&self) -> Result<Command> {
        let mut command = self.java(96)?;
        if self.archive().exists() {
            command.arg(format!("-XX:SharedArchiveFile={}", self.archive().display()));
        }
        // A test ends before full compilation pays.
        command.arg(C1_ONLY);
        Ok(command)
    }

    pub(super) fn java(&self, heap_mb: u32) -> Result<Command> {
        let mut command = Command::new("java");
        command.arg(format!("-Xmx{heap_mb}m")).args([
            "-Xss512k",
            "-XX:+UseSerialGC",
            // Warnings about an archive made by another Java are no news to a test.
            "-Xlog:cds=off",
            "-Xlog:cds+dynamic=off",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            &self.class_path()?,
        ]);
        Ok(command)
    }

    /// The jars in one fixed order: the class archive is only good for the class path it was made with.
    fn class_path(&self) -> Result<String> {
        let lib = self.dir.join("lib");
        let missing = || format!("no jars in {}", lib.display());
        // Its path is part of it: one that leads there by a link would be another one.
        let lib = fs::canonicalize(&lib).with_context(missing)?;
        let entries = fs::read_dir(&lib).with_context(missing)?;
        let mut jars: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "jar"))
            .map(|path| path.display().to_string())
            .collect();
        ensure!(!jars.is_empty(), missing());
        jars.sort();
        Ok(jars.join(":"))
    }
}

/// Makes a copy of the template the folder of another node: the node's number and the folder's id differ.
fn name_node(data: &Path, node: u32) -> Result<()> {
    let file = data.join("meta.properties");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let renamed = text.lines().map(|line| match line.split_once('=') {
        Some(("node.id", _)) => format!("node.id={node}\n"),
        Some(("directory.id", id)) => format!("directory.id={}\n", nth_id(id, node)),
        _ => format!("{line}\n"),
    });
    fs::write(&file, renamed.collect::<String>()).with_context(|| format!("cannot write {}", file.display()))
}

/// An id (16 bytes in base64) for node `node`, made from that of node 1. Only the first letter changes: the last one
/// holds bits that must stay zero.
fn nth_id(id: &str, node: u32) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let first = id.bytes().next().and_then(|first| LETTERS.iter().position(|letter| *letter == first)).unwrap_or(0);
    let letter = LETTERS[(first + node as usize - 1) % LETTERS.len()];
    format!("{}{}", letter as char, id.get(1..).unwrap_or_default())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_without_jars_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let fault = KafkaHome::at(dir.path()).tool("TopicCommand").unwrap_err().to_string();
        assert_eq!(fault, format!("no jars in {}", dir.path().join("lib").display()));
    }

    #[test]
    fn a_copied_template_becomes_the_folder_of_another_node() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("meta.properties");
        fs::write(&file, "version=1\ncluster.id=c\nnode.id=1\ndirectory.id=ABCDEFGHIJKLMNOPQRSTUQ\n").unwrap();
        name_node(dir.path(), 3).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "version=1\ncluster.id=c\nnode.id=3\ndirectory.id=CBCDEFGHIJKLMNOPQRSTUQ\n"
        );
    }
}
