//! PostgreSQL's driver for Java, by Maven.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::kafka::COPY;
use super::step::FetchStep;
use crate::command::logged;

const VERSION: &str = "42.7.7";

/// The driver's jar.
pub(super) fn driver() -> Result<PathBuf> {
    let step = FetchStep { what: "PostgreSQL's JDBC driver", by: "Maven", folder: format!("jdbc-{VERSION}") };
    let dir = step.once(|dir, log| {
        fs::write(dir.join("pom.xml"), POM.replace("VERSION", VERSION))?;
        let mut maven = Command::new("mvn");
        maven.args(["--batch-mode", "--no-transfer-progress", COPY, "-DoutputDirectory=lib"]).current_dir(dir);
        logged(&mut maven, log)
    })?;
    Ok(dir.join("lib").join(format!("postgresql-{VERSION}.jar")))
}

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>turnstile</groupId>
  <artifactId>test-jdbc</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.postgresql</groupId><artifactId>postgresql</artifactId><version>VERSION</version></dependency>
  </dependencies>
</project>
"#;
