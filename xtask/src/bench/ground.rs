//! What several benchmarks share: the binary, the reference programs, a broker, a filled topic. Each is
//! created when first needed and kept for the run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use turnstile_testkit::servers::{KafkaConfig, KafkaServer};

use super::measure::Cost;
use super::product::Product;
use super::reference::ReferencePrograms;
use crate::args::BenchOptions;
use crate::{fetch, place};

/// The broker's heap: that of a small real one.
const KAFKA_HEAP_MB: u32 = 1024;
/// Partitions of every bench topic.
pub(super) const PARTITIONS: u32 = 4;
/// The topic that [`Ground::filled_topic`] fills.
const CITY: &str = "city";

/// The shared ground of one bench run.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) messages: u64,
    asked_reference: Option<PathBuf>,
    asked_binary: Option<PathBuf>,
    product: Option<Product>,
    reference: Option<Option<ReferencePrograms>>,
    kafka: Option<KafkaServer>,
    /// The topics that are filled.
    filled: BTreeSet<String>,
    // Last, so that it is deleted after the broker that writes there has ended.
    scratch: tempfile::TempDir,
}

impl Ground {
    pub(super) fn new(args: &BenchOptions) -> Result<Self> {
        Ok(Self {
            messages: args.messages,
            asked_reference: args.reference.clone(),
            asked_binary: args.binary.clone(),
            product: None,
            reference: None,
            kafka: None,
            filled: BTreeSet::new(),
            scratch: place::scratch()?,
        })
    }

    /// A folder for files of this run.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The binary under test.
    pub(super) fn product(&mut self) -> Result<&Product> {
        if self.product.is_none() {
            self.product = Some(Product::new(self.asked_binary.as_deref())?);
        }
        self.product.as_ref().context("no binary")
    }

    /// The programs to compare with; `None` when there are none.
    pub(super) fn reference(&mut self) -> Result<Option<&ReferencePrograms>> {
        if self.reference.is_none() {
            self.reference = Some(ReferencePrograms::find(self.asked_reference.as_deref())?);
        }
        Ok(self.reference.as_ref().and_then(Option::as_ref))
    }

    /// The broker's bootstrap servers.
    pub(super) fn kafka(&mut self) -> Result<String> {
        if self.kafka.is_none() {
            let home = fetch::kafka()?;
            println!("starting Apache Kafka with {KAFKA_HEAP_MB} MB of heap …");
            let config = KafkaConfig::default().heap_mb(KAFKA_HEAP_MB).long_lived();
            let config = config.property("log.retention.ms", -1);
            self.kafka = Some(KafkaServer::start(&home, config.data(self.scratch().join("kafka")))?);
        }
        Ok(self.kafka.as_ref().context("no broker")?.bootstrap())
    }

    /// Makes a topic that keeps its records.
    pub(super) fn make_topic(&mut self, topic: &str) -> Result<()> {
        self.make_topic_of(topic, PARTITIONS)
    }

    fn make_topic_of(&mut self, topic: &str, partitions: u32) -> Result<()> {
        let bootstrap = self.kafka()?;
        let mut tool = fetch::kafka()?.tool("TopicCommand")?;
        tool.args(["--create", "--topic", topic, "--replication-factor", "1"]);
        tool.args(["--partitions", &partitions.to_string(), "--config", "retention.ms=-1"]);
        tool.args(["--bootstrap-server", &bootstrap]);
        Cost::of(&mut tool, &self.scratch().join("make-topic")).map(drop)
    }

    /// Deletes a topic, so that its records do not fill the disk.
    pub(super) fn delete_topic(&mut self, topic: &str) -> Result<()> {
        let bootstrap = self.kafka()?;
        let mut tool = fetch::kafka()?.tool("TopicCommand")?;
        tool.args(["--delete", "--topic", topic, "--bootstrap-server", &bootstrap]);
        Cost::of(&mut tool, &self.scratch().join("delete-topic")).map(drop)
    }

    /// Bootstrap servers and name of the topic `city`, filled with [`Ground::messages`] messages.
    pub(super) fn filled_topic(&mut self) -> Result<(String, &'static str)> {
        let messages = self.messages;
        ensure!(messages > 0, "an empty topic measures nothing");
        Ok((self.fill(CITY, PARTITIONS, messages, false)?, CITY))
    }

    /// Bootstrap servers; `topic` has so many messages then, and a last one that is years later.
    pub(super) fn topic_of(&mut self, topic: &str, partitions: u32, messages: u64) -> Result<String> {
        self.fill(topic, partitions, messages, true)
    }

    fn fill(&mut self, topic: &str, partitions: u32, messages: u64, is_closed: bool) -> Result<String> {
        let bootstrap = self.kafka()?;
        if !self.filled.insert(topic.to_owned()) {
            return Ok(bootstrap);
        }
        let (count, parts) = (messages.to_string(), partitions.to_string());
        println!("filling the topic {topic} with {count} messages …");
        self.make_topic_of(topic, partitions)?;
        let log = self.scratch().join("fill");
        let settings = log.with_extension("properties");
        fs::write(&settings, format!("bootstrap.servers={bootstrap}\ncompression.type=lz4\n"))?;
        let mut fill = match self.reference()? {
            Some(reference) => {
                let mut load = reference.program("load");
                load.args([&bootstrap, topic, &count, "city", &parts]);
                load
            }
            None => {
                let mut produce = self.product()?.verb("produce");
                produce.args(["--topic", topic, "--provider", "city", "--rate", "max", "--count", &count]);
                produce.arg("--config").arg(&settings);
                produce
            }
        };
        let said = Cost::of(&mut fill, &log)?.said;
        print!("{said}");
        if is_closed {
            let line = self.scratch().join("last.csv");
            fs::write(&line, LAST)?;
            let mut produce = self.product()?.verb("produce");
            produce.args(["--topic", topic, "--provider", "lines"]).arg("--from").arg(&line);
            produce.arg("--config").arg(&settings);
            Cost::of(&mut produce, &log)?;
        }
        Ok(bootstrap)
    }
}

/// A reading that closes all windows before.
const LAST: &str = "A000,R000,00-00-00,LAST,L,IND,01-01-40,00:00:00,REGULAR,0,0,last,2040-01-01 00:00:00\n";
