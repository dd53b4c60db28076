//! The jars of Spark's Kafka source, by Maven: those that Spark itself does not bring.

use std::path::PathBuf;

use anyhow::Result;

use super::maven::copy_jars;
use super::step::FetchStep;

/// The release of Spark, here and as a Python package.
pub(super) const VERSION: &str = "4.2.0";

/// The folder with the jars.
pub(super) fn kafka_jars() -> Result<PathBuf> {
    let what = format!("Spark's Kafka source {VERSION}");
    let step = FetchStep { what: &what, by: "Maven", folder: format!("spark-kafka-{VERSION}") };
    let packages = [
        ("org.apache.spark", "spark-sql-kafka-0-10_2.13", VERSION),
        ("org.apache.spark", "spark-token-provider-kafka-0-10_2.13", VERSION),
        ("org.apache.kafka", "kafka-clients", "3.9.2"),
        ("org.apache.commons", "commons-pool2", "2.12.1"),
    ];
    // What these depend on beyond them is Spark's already.
    Ok(step.once(|dir, log| copy_jars(dir, log, &packages, true))?.join("lib"))
}
