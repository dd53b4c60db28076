//! Apache Kafka: its jars by Maven, then a formatted template and an archive of loaded classes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use turnstile_testkit::servers::KafkaHome;

use super::step::FetchStep;
use crate::command::logged;
use crate::place;

const VERSION: &str = "4.3.1";
/// With the version in its name, so that Maven needs no list of versions to choose from.
pub(super) const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

pub(super) fn home() -> Result<PathBuf> {
    let step = FetchStep { what: &format!("Apache Kafka {VERSION}"), by: "Maven", folder: format!("kafka-{VERSION}") };
    step.once(|dir, log| {
        fs::write(dir.join("pom.xml"), POM.replace("VERSION", VERSION))?;
        let mut maven = Command::new("mvn");
        maven.args(["--batch-mode", "--no-transfer-progress", COPY, "-DoutputDirectory=lib"]).current_dir(dir);
        logged(&mut maven, log)?;
        KafkaHome::at(dir).prepare(place::scratch()?.path())
    })
}

/// The broker, the command-line tools, and a logger that writes to stderr.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>turnstile</groupId>
  <artifactId>test-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;
