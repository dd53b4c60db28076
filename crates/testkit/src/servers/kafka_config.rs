//! The settings of a test broker: its place in a cluster, and `server.properties`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How a broker differs from the default one.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    pub(super) heap_mb: u32,
    pub(super) long_lived: bool,
    pub(super) properties: Vec<(String, String)>,
    pub(super) data: Option<PathBuf>,
    /// SCRAM credentials that the data folder is formatted with.
    pub(super) users: Vec<String>,
    /// Java's system properties, `key=value`.
    pub(super) java: Vec<String>,
    pub(super) making_archive: bool,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            heap_mb: 96,
            long_lived: false,
            properties: Vec::new(),
            data: None,
            users: Vec::new(),
            java: Vec::new(),
            making_archive: false,
        }
    }
}

impl KafkaConfig {
    /// The Java heap. The default, 96 MB, serves small tests; 32 MB do not.
    pub fn heap_mb(mut self, heap_mb: u32) -> Self {
        self.heap_mb = heap_mb;
        self
    }

    /// Lets Java compile hot code fully: for benchmarks. A test ends before that pays.
    pub fn long_lived(mut self) -> Self {
        self.long_lived = true;
        self
    }

    /// Adds a broker property, or replaces the default's value.
    pub fn property(mut self, key: &str, value: impl ToString) -> Self {
        self.properties.push((key.into(), value.to_string()));
        self
    }

    /// Keeps data, properties and log in `dir`, which outlives the server; the default is a temporary folder.
    pub fn data(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data = Some(dir.into());
        self
    }
}

/// Which node of which cluster a broker is, and its ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodePlace {
    /// From 1.
    pub(super) node: u32,
    pub(super) port: u16,
    /// The controllers' ports; node `n` has the one at `n - 1`. As many nodes as there are ports that are not 0.
    pub(super) controllers: [u16; 3],
}

impl NodePlace {
    pub(super) fn alone(port: u16, controller: u16) -> Self {
        Self { node: 1, port, controllers: [controller, 0, 0] }
    }

    fn nodes(&self) -> usize {
        self.controllers.iter().filter(|port| **port != 0).count()
    }

    /// The text of `server.properties` for a broker that keeps its data in `data`; `own` settings replace the defaults.
    pub(super) fn properties(&self, data: &Path, own: &[(String, String)]) -> String {
        let mut all = self.defaults(data);
        all.extend(own.iter().cloned());
        text_of(&all)
    }

    fn defaults(&self, data: &Path) -> Vec<(String, String)> {
        let plain = format!("PLAINTEXT://127.0.0.1:{}", self.port);
        let controller = self.controllers[self.node as usize - 1];
        let voters: Vec<String> =
            (1..=self.nodes()).map(|node| format!("{node}@127.0.0.1:{}", self.controllers[node - 1])).collect();
        // One broker holds every replica there is; three hold one each, and a write needs two.
        let (copies, in_sync) = if self.nodes() == 1 { ("1", "1") } else { ("3", "2") };
        [
            ("process.roles", "broker,controller".into()),
            ("node.id", self.node.to_string()),
            ("controller.quorum.voters", voters.join(",")),
            ("controller.listener.names", "CONTROLLER".into()),
            ("listeners", format!("{plain},CONTROLLER://127.0.0.1:{controller}")),
            ("advertised.listeners", plain),
            ("log.dirs", data.display().to_string()),
            ("default.replication.factor", copies.into()),
            ("min.insync.replicas", in_sync.into()),
            ("offsets.topic.replication.factor", copies.into()),
            ("offsets.topic.num.partitions", "1".into()),
            ("transaction.state.log.replication.factor", copies.into()),
            ("transaction.state.log.min.isr", in_sync.into()),
            ("transaction.state.log.num.partitions", "1".into()),
            ("share.coordinator.state.topic.replication.factor", copies.into()),
            ("share.coordinator.state.topic.min.isr", in_sync.into()),
            // No other member joins the group: do not wait for one.
            ("group.initial.rebalance.delay.ms", "0".into()),
            // A misspelt topic is to be an error.
            ("auto.create.topics.enable", "false".into()),
            ("num.network.threads", "1".into()),
            ("num.io.threads", "2".into()),
            // The default, 128 MB, does not fit the heap: the broker would exit at start.
            ("log.cleaner.dedupe.buffer.size", "2097152".into()),
            // A killed broker's registration must expire before it may return; the default is 9 seconds.
            ("broker.session.timeout.ms", "2000".into()),
            ("broker.heartbeat.interval.ms", "500".into()),
        ]
        .map(|(key, value): (&str, String)| (key.into(), value))
        .into()
    }
}

/// Java's properties format; of two lines with one key the later counts.
fn text_of(settings: &[(String, String)]) -> String {
    settings.iter().fold(String::new(), |mut text, (key, value)| {
        // A backslash starts an escape there.
        let _ = writeln!(text, "{key}={}", value.replace('\\', "\\\\"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_property_counts() {
        let own = [("num.io.threads".into(), "9".into())];
        let text = NodePlace::alone(1000, 1001).properties(Path::new("/data"), &own);
        assert!(text.find("num.io.threads=2").unwrap() < text.find("num.io.threads=9").unwrap(), "{text}");
    }
}
