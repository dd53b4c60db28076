//! What a Spark cluster needs to run the pipeline: `[spark]`.

use turnstile_values::{HOUR_US, SECOND_US};

use crate::file::TomlNode;
use crate::file::read::{Faults, TableReader};
use crate::properties::Properties;

/// `[spark]`: for `turnstile run --engine spark`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkSettings {
    /// The lake as the cluster reaches it, such as `s3a://bucket/path`. `None`: as `[lake] url` says.
    pub lake: Option<String>,
    /// Settings of the cluster's Kafka clients, as Java's clients know them: before those that follow from `[source]`.
    pub kafka: Properties,
    /// Settings of the Spark session, before those of the plan.
    pub conf: Properties,
    /// Messages that one batch reads, at most.
    pub batch_messages: u64,
    /// From the begin of one batch to the begin of the next, at least; microseconds.
    pub every_us: i64,
    /// How long the cluster's own files stay after their rows were published, microseconds.
    pub retain_us: i64,
    /// Bytes that the rows of published windows may take in memory at once.
    pub memory_bytes: u64,
}

impl Default for SparkSettings {
    fn default() -> Self {
        Self {
            lake: None,
            kafka: Properties::default(),
            conf: Properties::default(),
            batch_messages: 5_000_000,
            every_us: SECOND_US,
            retain_us: HOUR_US,
            memory_bytes: 256 << 20,
        }
    }
}

pub(crate) fn read(node: &TomlNode, faults: &Faults) -> Option<SparkSettings> {
    let defaults = SparkSettings::default();
    let mut reader = TableReader::new(node, "spark", faults)?;
    let settings = SparkSettings {
        lake: reader.text("lake").map(|lake| lake.value),
        kafka: reader.properties("kafka").into(),
        conf: reader.properties("conf").into(),
        batch_messages: reader.count("batch_messages").unwrap_or(defaults.batch_messages),
        every_us: reader.positive_duration("every").unwrap_or(defaults.every_us),
        retain_us: reader.duration("retain").unwrap_or(defaults.retain_us),
        memory_bytes: reader.bytes("memory").unwrap_or(defaults.memory_bytes),
    };
    reader.finish();
    Some(settings)
}
