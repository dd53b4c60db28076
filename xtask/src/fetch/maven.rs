//! Jars by Maven.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command::logged;

/// With the version in its name, so that Maven needs no list of versions to choose from.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// A package: its group, its name, its version.
pub(super) type Package<'a> = (&'a str, &'a str, &'a str);

/// Copies the jars of these packages to `lib` in `dir`, with those that they depend on unless they are to come alone.
pub(super) fn copy_jars(dir: &Path, log: &Path, packages: &[Package<'_>], alone: bool) -> Result<()> {
    fs::write(dir.join("pom.xml"), pom(packages))?;
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--no-transfer-progress", COPY, "-DoutputDirectory=lib"]).current_dir(dir);
    maven.arg(format!("-DexcludeTransitive={alone}"));
    logged(&mut maven, log)
}

fn pom(packages: &[Package<'_>]) -> String {
    let dependency = |(group, name, version): &Package<'_>| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>\n"
        )
    };
    POM.replace("DEPENDENCIES", &packages.iter().map(dependency).collect::<String>())
}

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>turnstile</groupId>
  <artifactId>test-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
DEPENDENCIES  </dependencies>
</project>
"#;
