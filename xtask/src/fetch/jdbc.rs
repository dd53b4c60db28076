//! PostgreSQL's driver for Java, by Maven.

use std::path::PathBuf;

use anyhow::Result;

use super::maven::copy_jars;
use super::step::FetchStep;

const VERSION: &str = "42.7.7";

/// The driver's jar.
pub(super) fn driver() -> Result<PathBuf> {
    let step = FetchStep { what: "PostgreSQL's JDBC driver", by: "Maven", folder: format!("jdbc-{VERSION}") };
    let packages = [("org.postgresql", "postgresql", VERSION)];
    let dir = step.once(|dir, log| copy_jars(dir, log, &packages, false))?;
    Ok(dir.join("lib").join(format!("postgresql-{VERSION}.jar")))
}
