//! Apicurio Registry: a schema registry that speaks as Confluent's does, packed with all it needs, by Maven.
//!
//! 2.6 is the last line that runs on Debian 12's Java 17. Confluent's own registry is not on Maven Central, and
//! of the others (Karapace, Redpanda's) none is packaged for the clients that this machine has.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::step::FetchStep;
use crate::command::logged;

const VERSION: &str = "2.6.13.Final";
/// With the version in its name, so that Maven needs no list of versions to choose from.
const UNPACK: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack";

/// The jar that starts it.
pub(super) fn runner() -> Result<PathBuf> {
    let step =
        FetchStep { what: &format!("Apicurio Registry {VERSION}"), by: "Maven", folder: format!("apicurio-{VERSION}") };
    let dir = step.once(|dir, log| {
        let mut maven = Command::new("mvn");
        maven.args(["--batch-mode", "--no-transfer-progress", UNPACK]);
        maven.arg(format!("-Dartifact=io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"));
        maven.arg(format!("-DoutputDirectory={}", dir.display())).current_dir(dir);
        logged(&mut maven, log)
    })?;
    Ok(dir.join(format!("apicurio-registry-app-{VERSION}-runner.jar")))
}
