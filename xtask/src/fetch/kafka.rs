//! Apache Kafka: its jars by Maven, then a formatted template and an archive of loaded classes.

use std::path::PathBuf;

use anyhow::Result;
use turnstile_testkit::servers::KafkaHome;

use super::maven::copy_jars;
use super::step::FetchStep;
use crate::place;

const VERSION: &str = "4.3.1";

pub(super) fn home() -> Result<PathBuf> {
    let step = FetchStep { what: &format!("Apache Kafka {VERSION}"), by: "Maven", folder: format!("kafka-{VERSION}") };
    // The broker, the command-line tools, and a logger that writes to stderr.
    let packages = [
        ("org.apache.kafka", "kafka_2.13", VERSION),
        ("org.apache.kafka", "kafka-tools", VERSION),
        ("org.slf4j", "slf4j-simple", "1.7.36"),
    ];
    step.once(|dir, log| {
        copy_jars(dir, log, &packages, false)?;
        KafkaHome::at(dir).prepare(place::scratch()?.path())
    })
}
