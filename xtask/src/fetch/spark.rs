//! The jars of Spark's Kafka source, by Maven: those that Spark itself does not bring.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::kafka::COPY;
use super::step::FetchStep;
use crate::command::logged;

/// The release of Spark, here and as a Python package.
pub(super) const VERSION: &str = "4.2.0";

/// The folder with the jars.
pub(super) fn kafka_jars() -> Result<PathBuf> {
    let what = format!("Spark's Kafka source {VERSION}");
    let step = FetchStep { what: &what, by: "Maven", folder: format!("spark-kafka-{VERSION}") };
    let dir = step.once(|dir, log| {
        fs::write(dir.join("pom.xml"), POM.replace("VERSION", VERSION))?;
        let mut maven = Command::new("mvn");
        maven.args(["--batch-mode", "--no-transfer-progress", COPY, "-DoutputDirectory=lib"]).current_dir(dir);
        // What these depend on beyond them is Spark's already.
        maven.arg("-DexcludeTransitive=true");
        logged(&mut maven, log)
    })?;
    Ok(dir.join("lib"))
}

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>turnstile</groupId>
  <artifactId>test-spark-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.spark</groupId><artifactId>spark-sql-kafka-0-10_2.13</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.apache.spark</groupId><artifactId>spark-token-provider-kafka-0-10_2.13</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>3.9.2</version></dependency>
    <dependency><groupId>org.apache.commons</groupId><artifactId>commons-pool2</artifactId><version>2.12.1</version></dependency>
  </dependencies>
</project>
"#;
