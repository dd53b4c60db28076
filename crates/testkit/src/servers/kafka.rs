//! Apache Kafka: one broker and controller in one Java process.
//!
//! The settings are those of a broker that serves a test: it starts in two to four seconds, needs
//! about 160 MB, and forgets a killed predecessor within two seconds.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::port::free_port;
use super::process::ServerProcess;

/// How long a broker may take to open its port. Seconds when the machine is quiet; builds that run
/// beside it make it many.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long Java may take to write its class archive on the way out: seconds when the machine is quiet.
const ARCHIVE_LIMIT: Duration = Duration::from_secs(300);
/// How often a start is tried again when another process took the port in between.
const PORT_TRIES: usize = 3;

/// A folder with Kafka's jars (`lib/`), a formatted empty data folder (`template/`) and an archive of
/// loaded classes (`kafka.jsa`, optional: it halves the start).
#[derive(Debug, Clone)]
pub struct KafkaHome {
    dir: PathBuf,
}

impl KafkaHome {
    /// The home in `dir`; nothing is read yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Formats the template and archives the loaded classes: what a fresh set of jars needs once.
    /// `scratch` takes the trial broker's files.
    ///
    /// # Errors
    /// When Java is missing, the jars are not Kafka's, or the trial broker does not come up.
    pub fn prepare(&self, scratch: &Path) -> Result<()> {
        let template = self.dir.join("template");
        let properties = scratch.join("format.properties");
        fs::write(&properties, text_of(&settings(&NodePlace::alone(1, 2), &template)))?;
        self.format(&properties, &[])?;

        // Exits by SIGTERM, and writes the archive on its way out.
        let trial = KafkaConfig { making_archive: true, ..KafkaConfig::default().data(scratch.join("trial")) };
        let mut broker = KafkaServer::start(self, trial)?;
        broker.process.stop_within(ARCHIVE_LIMIT)?;
        ensure!(self.archive().exists(), "Java wrote no class archive to {}", self.archive().display());
        Ok(())
    }

    /// One of Kafka's command-line tools, by class name: `org.apache.kafka.tools.` may be left out.
    ///
    /// # Errors
    /// When the home holds no jars.
    pub fn tool(&self, class: &str) -> Result<Command> {
        let mut command = self.quick_java()?;
        if class.starts_with("org.") || class.starts_with("kafka.") {
            command.arg(class);
        } else {
            command.arg(format!("org.apache.kafka.tools.{class}"));
        }
        Ok(command)
    }

    /// A program in one Java file, compiled as it starts, with Kafka's client at hand.
    ///
    /// # Errors
    /// When the home holds no jars.
    pub fn program(&self, source: &Path) -> Result<Command> {
        let mut command = self.quick_java()?;
        command.arg(source);
        Ok(command)
    }

    /// Formats `data` for a broker with these settings; `users` are SCRAM credentials, such as
    /// `SCRAM-SHA-256=[name=reader,password=…]`.
    pub(super) fn format(&self, properties: &Path, users: &[String]) -> Result<()> {
        let mut format = self.quick_java()?;
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(properties);
        for user in users {
            format.args(["--add-scram", user]);
        }
        let out = format.output().context("cannot start `java`")?;
        ensure!(out.status.success(), "formatting failed: {}", String::from_utf8_lossy(&out.stderr));
        Ok(())
    }

    fn archive(&self) -> PathBuf {
        self.dir.join("kafka.jsa")
    }

    /// A Java that starts quickly; the class and its arguments are yet to be given.
    fn quick_java(&self) -> Result<Command> {
        let mut command = self.java(96)?;
        if self.archive().exists() {
            command.arg(format!("-XX:SharedArchiveFile={}", self.archive().display()));
        }
        // A test ends before full compilation pays.
        command.arg(C1_ONLY);
        Ok(command)
    }

    fn java(&self, heap_mb: u32) -> Result<Command> {
        let mut command = Command::new("java");
        command.arg(format!("-Xmx{heap_mb}m")).args([
            "-Xss512k",
            "-XX:+UseSerialGC",
            // Warnings about an archive made by another Java are no news to a test.
            "-Xlog:cds=off",
            "-Xlog:cds+dynamic=off",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            &self.class_path()?,
        ]);
        Ok(command)
    }

    /// The jars in one fixed order: the class archive is only good for the class path it was made with.
    fn class_path(&self) -> Result<String> {
        let lib = self.dir.join("lib");
        let missing = || format!("no jars in {}", lib.display());
        // Its path is part of it: one that leads there by a link would be another one.
        let lib = fs::canonicalize(&lib).with_context(missing)?;
        let entries = fs::read_dir(&lib).with_context(missing)?;
        let mut jars: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "jar"))
            .map(|path| path.display().to_string())
            .collect();
        ensure!(!jars.is_empty(), missing());
        jars.sort();
        Ok(jars.join(":"))
    }
}

/// How a broker differs from the default one.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    heap_mb: u32,
    long_lived: bool,
    properties: Vec<(String, String)>,
    data: Option<PathBuf>,
    /// SCRAM credentials that the data folder is formatted with.
    pub(super) users: Vec<String>,
    /// Java's system properties, `key=value`.
    pub(super) java: Vec<String>,
    making_archive: bool,
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
    fn alone(port: u16, controller: u16) -> Self {
        Self { node: 1, port, controllers: [controller, 0, 0] }
    }

    fn nodes(&self) -> usize {
        self.controllers.iter().filter(|port| **port != 0).count()
    }
}

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
        let mut all = settings(&place, &data);
        all.extend(config.properties.iter().cloned());
        fs::write(&properties, text_of(&all))?;
        if config.users.is_empty() {
            let template = home.dir.join("template");
            copy_folder(&template, &data).with_context(|| {
                format!("{} holds no formatted template: run `cargo xtask test`", home.dir.display())
            })?;
            name_node(&data, place.node)?;
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

/// Tries again when another process took a port between its choice and its use.
pub(super) fn with_free_ports<T>(start: impl Fn() -> Result<T>) -> Result<T> {
    let mut tries = PORT_TRIES;
    loop {
        tries -= 1;
        match start() {
            Err(fault) if tries > 0 && fault.to_string().contains("Address already in use") => {}
            other => return other,
        }
    }
}

/// Makes a copy of the template the folder of another node: the node's number and the folder's id differ.
fn name_node(data: &Path, node: u32) -> Result<()> {
    let file = data.join("meta.properties");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let renamed = text.lines().map(|line| match line.split_once('=') {
        Some(("node.id", _)) => format!("node.id={node}\n"),
        Some(("directory.id", id)) => format!("directory.id={}\n", nth_id(id, node)),
        _ => format!("{line}\n"),
    });
    fs::write(&file, renamed.collect::<String>()).with_context(|| format!("cannot write {}", file.display()))
}

/// An id (16 bytes in base64) for node `node`, made from that of node 1. Only the first letter changes: the last one
/// holds bits that must stay zero.
fn nth_id(id: &str, node: u32) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let first = id.bytes().next().and_then(|first| LETTERS.iter().position(|letter| *letter == first)).unwrap_or(0);
    let letter = LETTERS[(first + node as usize - 1) % LETTERS.len()];
    format!("{}{}", letter as char, id.get(1..).unwrap_or_default())
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

/// Only the first, quick compiler.
const C1_ONLY: &str = "-XX:TieredStopAtLevel=1";
/// Any id does; the same one in every template.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";

fn settings(place: &NodePlace, data: &Path) -> Vec<(String, String)> {
    let plain = format!("PLAINTEXT://127.0.0.1:{}", place.port);
    let controller = place.controllers[place.node as usize - 1];
    let voters: Vec<String> =
        (1..=place.nodes()).map(|node| format!("{node}@127.0.0.1:{}", place.controllers[node - 1])).collect();
    // One broker holds every replica there is; three hold one each, and a write needs two.
    let (copies, in_sync) = if place.nodes() == 1 { ("1", "1") } else { ("3", "2") };
    [
        ("process.roles", "broker,controller".into()),
        ("node.id", place.node.to_string()),
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

/// Java's properties format; of two lines with one key the later counts.
fn text_of(settings: &[(String, String)]) -> String {
    settings.iter().fold(String::new(), |mut text, (key, value)| {
        // A backslash starts an escape there.
        let _ = writeln!(text, "{key}={}", value.replace('\\', "\\\\"));
        text
    })
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_home_without_jars_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let fault = KafkaHome::at(dir.path()).tool("TopicCommand").unwrap_err().to_string();
        assert_eq!(fault, format!("no jars in {}", dir.path().join("lib").display()));
    }

    #[test]
    fn a_copied_template_becomes_the_folder_of_another_node() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("meta.properties");
        fs::write(&file, "version=1\ncluster.id=c\nnode.id=1\ndirectory.id=ABCDEFGHIJKLMNOPQRSTUQ\n").unwrap();
        name_node(dir.path(), 3).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "version=1\ncluster.id=c\nnode.id=3\ndirectory.id=CBCDEFGHIJKLMNOPQRSTUQ\n"
        );
    }

    #[test]
    fn a_later_property_counts() {
        let mut all = settings(&NodePlace::alone(1000, 1001), Path::new("/data"));
        all.push(("num.io.threads".into(), "9".into()));
        let text = text_of(&all);
        assert!(text.find("num.io.threads=2").unwrap() < text.find("num.io.threads=9").unwrap(), "{text}");
    }
}
