//! Three brokers, each also a controller: what a partition needs to outlive the death of its leader.

use std::thread;

use anyhow::{Context, Result, ensure};

use super::kafka::KafkaServer;
use super::kafka_config::{KafkaConfig, NodePlace};
use super::kafka_home::KafkaHome;
use super::port::{free_port, with_free_ports};

/// Three running brokers, numbered 1 to 3. Dropping it kills them.
///
/// Topics get three replicas and a write needs two of them. A dead broker's partitions get a new leader after about
/// three seconds, six when it was the active controller too: Kafka's defaults take ten.
#[derive(Debug)]
pub struct KafkaCluster {
    home: KafkaHome,
    nodes: Vec<KafkaServer>,
}

impl KafkaCluster {
    /// Starts three brokers side by side and waits until all of them serve.
    ///
    /// # Errors
    /// When one does not come up; the message holds the end of its log.
    pub fn start(home: &KafkaHome, config: KafkaConfig) -> Result<Self> {
        let config = config.property("broker.session.timeout.ms", 1500).property("broker.heartbeat.interval.ms", 300);
        let nodes = with_free_ports(|| {
            let controllers = [free_port()?, free_port()?, free_port()?];
            let places = [1, 2, 3].map(|node| Ok(NodePlace { node, port: free_port()?, controllers }));
            thread::scope(|scope| {
                // None serves before two of them have met.
                let starts = places.map(|place: Result<NodePlace>| {
                    let config = config.clone();
                    scope.spawn(move || KafkaServer::start_at(home, config, place?))
                });
                starts.into_iter().map(|s| s.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
            })
        })?;
        Ok(Self { home: home.clone(), nodes })
    }

    /// All brokers: what `bootstrap.servers` wants. It stays the same over restarts.
    pub fn bootstrap(&self) -> String {
        self.nodes.iter().map(KafkaServer::bootstrap).collect::<Vec<_>>().join(",")
    }

    /// Broker `node`, from 1.
    ///
    /// # Panics
    /// When there is no such broker.
    pub fn node(&self, node: i32) -> &KafkaServer {
        &self.nodes[index(node)]
    }

    /// Kills broker `node` as a power failure would (SIGKILL).
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill9(&mut self, node: i32) -> Result<()> {
        self.nodes[index(node)].kill9()
    }

    /// Starts broker `node` again and waits until it serves; its replicas catch up afterwards.
    ///
    /// # Errors
    /// As [`KafkaCluster::start`].
    pub fn restart(&mut self, node: i32) -> Result<()> {
        self.nodes[index(node)].restart()
    }

    /// The broker that leads `partition`, as Kafka's tool reports it; takes a second or two.
    ///
    /// # Errors
    /// When the topic has no such partition, or no broker leads it.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<i32> {
        let mut tool = self.home.tool("TopicCommand")?;
        let out = tool.args(["--bootstrap-server", &self.bootstrap(), "--describe", "--topic", topic]).output()?;
        ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        leader_in(&String::from_utf8_lossy(&out.stdout), partition)
            .with_context(|| format!("no broker leads {topic}[{partition}]"))
    }
}

fn index(node: i32) -> usize {
    usize::try_from(node - 1).unwrap_or(usize::MAX)
}

/// Reads `Topic: t  Partition: 0  Leader: 2  …`.
fn leader_in(described: &str, partition: i32) -> Option<i32> {
    let line = described.lines().find(|line| field(line, "Partition:") == Some(partition))?;
    field(line, "Leader:")
}

fn field(line: &str, name: &str) -> Option<i32> {
    line.split_whitespace().skip_while(|word| *word != name).nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_of_a_partition_is_read_from_its_line() {
        let text = "Topic: t\tTopicId: x\tPartitionCount: 2\n\tTopic: t\tPartition: 0\tLeader: 2\tReplicas: 2,3\n\
                    \tTopic: t\tPartition: 1\tLeader: none\tReplicas: 3\n";
        assert_eq!((leader_in(text, 0), leader_in(text, 1), leader_in(text, 2)), (Some(2), None, None));
    }

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn a_cluster_elects_another_leader_when_one_is_killed_and_takes_it_back() {
        let mut cluster = KafkaCluster::start(&crate::kafka_home(), KafkaConfig::default()).unwrap();
        let mut tool = crate::kafka_home().tool("TopicCommand").unwrap();
        let out = tool.args(["--bootstrap-server", &cluster.bootstrap(), "--create", "--topic", "t"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let first = cluster.leader("t", 0).unwrap();
        cluster.kill9(first).unwrap();
        let begin = std::time::Instant::now();
        while cluster.leader("t", 0).ok().is_none_or(|leader| leader == first) {
            assert!(begin.elapsed().as_secs() < 60, "no other leader within a minute");
        }
        cluster.restart(first).unwrap();
    }
}
