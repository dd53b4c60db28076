//! Apache Kafka: one broker and controller in one Java process.
//!
//! The settings are those of a broker that serves a test: it starts in two to four seconds, needs
//! about 160 MB, and forgets a killed predecessor within two seconds.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::kafka_config::{KafkaConfig, NodePlace};
use super::kafka_home::{C1_ONLY, KafkaHome};
use super::port::{free_port, with_free_ports};
use super::process::ServerProcess;

/// How long a broker may take to open its port. Seconds when the machine is quiet; builds that run
/// beside it make it many.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long Java may take to write its class archive on the way out: seconds when the machine is quiet.
const ARCHIVE_LIMIT: Duration = Duration::from_secs(300);

/// A running broker. Dropping it kills it; while a test panics its files are kept, and their place is printed.
#[derive(Debug)]
pub struct KafkaServer {
    process: ServerProcess,
    home: KafkaHome,
    config: KafkaConfig,
    dir: PathBuf,
    port: u16,
    // Deleted with the server, when the data was to be temporary.
    temporary: Option<TempDir>,
}

impl KafkaServer {
    /// Starts a broker with an empty data folder on free ports and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    pub fn start(home: &KafkaHome, config: KafkaConfig) -> Result<Self> {
        with_free_ports(|| Self::start_at(home, config.clone(), NodePlace::alone(free_port()?, free_port()?)))
    }

    /// Starts one node at its place, with an empty data folder.
    pub(super) fn start_at(home: &KafkaHome, config: KafkaConfig, place: NodePlace) -> Result<Self> {
        let temporary = if config.data.is_none() { Some(tempfile::tempdir()?) } else { None };
        let dir = match (&config.data, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(dir)) => dir.path().into(),
            (None, None) => unreachable!("a folder is made when none is given"),
        };
        fs::create_dir_all(&dir)?;
        let (data, properties) = (dir.join("data"), dir.join("server.properties"));
        fs::write(&properties, place.properties(&data, &config.properties))?;
        if config.users.is_empty() {
            home.copy_template(&data, place.node)?;
        } else {
            home.format(&properties, &config.users)?;
        }
        let process = launch(home, &config, &dir, place.port)?;
        Ok(Self { process, home: home.clone(), config, dir, port: place.port, temporary })
    }

    /// `127.0.0.1:port`: what `bootstrap.servers` wants. It stays the same over a restart.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process: its id, its log.
    pub fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// The process, to ask whether it still runs.
    pub fn process_mut(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// Kills the broker as a power failure would (SIGKILL). Its data stays for [`KafkaServer::restart`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Stops the broker in order (SIGTERM). Its data stays for [`KafkaServer::restart`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop().map(drop)
    }

    /// Starts the broker again with its data and ports, and waits until it serves. A broker that still
    /// runs is stopped first.
    ///
    /// # Errors
    /// As [`KafkaServer::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process.stop()?;
        self.process = launch(&self.home, &self.config, &self.dir, self.port)?;
        Ok(())
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(dir) = self.temporary.take()
        {
            eprintln!("the files of the broker at {} are kept in {}", self.bootstrap(), dir.keep().display());
        }
    }
}

impl KafkaHome {
    /// Formats the template and archives the loaded classes: what a fresh set of jars needs once.
    /// `scratch` takes the trial broker's files.
    ///
    /// # Errors
    /// When Java is missing, the jars are not Kafka's, or the trial broker does not come up.
    pub fn prepare(&self, scratch: &Path) -> Result<()> {
        let template = self.dir.join("template");
        let properties = scratch.join("format.properties");
        fs::write(&properties, NodePlace::alone(1, 2).properties(&template, &[]))?;
        self.format(&properties, &[])?;

        // Exits by SIGTERM, and writes the archive on its way out.
        let trial = KafkaConfig { making_archive: true, ..KafkaConfig::default().data(scratch.join("trial")) };
        let mut broker = KafkaServer::start(self, trial)?;
        broker.process.stop_within(ARCHIVE_LIMIT)?;
        ensure!(self.archive().exists(), "Java wrote no class archive to {}", self.archive().display());
        Ok(())
    }
}

fn launch(home: &KafkaHome, config: &KafkaConfig, dir: &Path, port: u16) -> Result<ServerProcess> {
    let mut command = home.java(config.heap_mb)?;
    if config.making_archive {
        command.arg(format!("-XX:ArchiveClassesAtExit={}", home.archive().display()));
    } else if home.archive().exists() {
        command.arg(format!("-XX:SharedArchiveFile={}", home.archive().display()));
    }
    if !config.long_lived {
        command.arg(C1_ONLY);
    }
    command.args(config.java.iter().map(|property| format!("-D{property}")));
    command.arg("kafka.Kafka");
    command.arg(dir.join("server.properties")).current_dir(dir);
    let mut process = ServerProcess::start("Apache Kafka", &mut command, &dir.join("kafka.log"))?;
    // The broker opens its port only once it serves.
    process.wait_ready(READY_LIMIT, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok(process)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn topics(broker: &KafkaServer, arguments: &[&str]) -> String {
        let mut tool = broker.home.tool("TopicCommand").unwrap();
        let out = tool.args(["--bootstrap-server", &broker.bootstrap()]).args(arguments).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn a_killed_broker_comes_back_on_its_port_with_its_topics() {
        let mut broker = KafkaServer::start(&crate::kafka_home(), KafkaConfig::default()).unwrap();
        let address = broker.bootstrap();
        topics(&broker, &["--create", "--topic", "kept"]);
        broker.kill9().unwrap();
        assert!(TcpStream::connect(&address).is_err(), "a killed broker still serves");
        broker.restart().unwrap();
        assert_eq!(broker.bootstrap(), address);
        assert_eq!(topics(&broker, &["--list"]).trim(), "kept");
    }

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn a_property_of_ones_own_replaces_the_default() {
        let config = KafkaConfig::default().property("num.partitions", 7);
        let broker = KafkaServer::start(&crate::kafka_home(), config).unwrap();
        topics(&broker, &["--create", "--topic", "wide"]);
        assert!(topics(&broker, &["--describe", "--topic", "wide"]).contains("PartitionCount: 7"));
    }

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn the_shared_broker_answers() {
        let mut tool = crate::kafka_home().tool("TopicCommand").unwrap();
        let out = tool.args(["--bootstrap-server", &crate::kafka(), "--list"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn python_has_the_kafka_client() {
        let out = Command::new(crate::python()).args(["-c", "import confluent_kafka"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}
