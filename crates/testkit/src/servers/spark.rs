//! Apache Spark's Connect server: one driver, with its executors in it or on a standalone cluster.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::port::free_port;
use super::process::ServerProcess;

/// Ten seconds on a quiet machine.
const READY_LIMIT: Duration = Duration::from_secs(240);

/// What the server logs once it serves.
const READY: &str = "Spark Connect server started at";

/// Where Spark is installed, and how a server is to be.
#[derive(Debug, Clone)]
pub struct SparkHome {
    python: PathBuf,
    jars: Option<PathBuf>,
    /// The URL of a cluster's master; `None`: the server computes everything itself.
    master: Option<String>,
    cores: usize,
    heap_mb: u32,
    properties: Vec<(String, String)>,
}

impl SparkHome {
    /// The Python of an environment that has pyspark; a server with two cores.
    pub fn at(python: &Path) -> Self {
        Self {
            python: python.to_path_buf(),
            jars: None,
            master: None,
            cores: 2,
            heap_mb: 1_024,
            properties: Vec::new(),
        }
    }

    /// The same with the jars of a folder, such as those of the Kafka source.
    #[must_use]
    pub fn jars(self, folder: &Path) -> Self {
        Self { jars: Some(folder.to_path_buf()), ..self }
    }

    /// The same with so many megabytes of heap.
    #[must_use]
    pub fn heap_mb(self, heap_mb: u32) -> Self {
        Self { heap_mb, ..self }
    }

    /// The same with one more setting of Spark.
    #[must_use]
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// `SPARK_HOME`: the folder of the package.
    fn folder(&self) -> Result<PathBuf> {
        let lib = self.python.parent().and_then(Path::parent).map(|home| home.join("lib"));
        let lib = lib.context("the Python of Spark has no folder")?;
        let versions = std::fs::read_dir(&lib).with_context(|| format!("cannot list {}", lib.display()))?;
        let packages = versions.flatten().map(|version| version.path().join("site-packages/pyspark"));
        packages.into_iter().find(|package| package.is_dir()).context("there is no pyspark beside the Python of Spark")
    }

    fn command(&self, port: u16, dir: &Path) -> Result<Command> {
        let folder = self.folder()?;
        let mut command = Command::new(folder.join("bin/spark-submit"));
        command.args(["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]);
        let local = || format!("local[{}]", self.cores);
        command.args(["--master", &self.master.clone().unwrap_or_else(local)]);
        command.args(["--driver-memory", &format!("{}m", self.heap_mb), "--conf", "spark.ui.enabled=false"]);
        command.args(["--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.driver.bindAddress=127.0.0.1"]);
        // A session without a call for an hour would end with its queries.
        command.args(["--conf", "spark.connect.session.manager.defaultSessionTimeout=-1"]);
        command.args(["--conf", "spark.connect.grpc.binding.address=127.0.0.1"]);
        command.args(["--conf", &format!("spark.connect.grpc.binding.port={port}")]);
        command.args(["--conf", &format!("spark.sql.warehouse.dir={}", dir.join("warehouse").display())]);
        command.args(["--conf", &format!("spark.local.dir={}", dir.join("local").display())]);
        for (key, value) in &self.properties {
            command.args(["--conf", &format!("{key}={value}")]);
        }
        if let Some(jars) = &self.jars {
            let mut names: Vec<String> = std::fs::read_dir(jars)?
                .map(|file| Ok(file?.path().display().to_string()))
                .collect::<Result<Vec<_>>>()?;
            names.retain(|name| name.ends_with(".jar"));
            names.sort();
            command.args(["--jars", &names.join(",")]);
        }
        // What a class is named like comes last: spark-submit asks for some resource.
        command.arg("spark-internal").current_dir(dir).env("SPARK_HOME", &folder).env_remove("PYSPARK_PYTHON");
        // spark-submit's shell replaces itself by Java, so that the process is the server.
        command.env("SPARK_NO_DAEMONIZE", "1").env("SPARK_LOCAL_IP", "127.0.0.1");
        Ok(command)
    }
}

/// A running Connect server. Dropping it kills it.
#[derive(Debug)]
pub struct SparkServer {
    home: SparkHome,
    dir: PathBuf,
    port: u16,
    process: ServerProcess,
}

impl SparkServer {
    /// Starts a server with its files and its log in `dir`.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    pub fn start(home: &SparkHome, dir: &Path) -> Result<Self> {
        let port = free_port()?;
        Ok(Self { home: home.clone(), dir: dir.to_path_buf(), port, process: start(home, dir, port)? })
    }

    /// `sc://127.0.0.1:port`.
    pub fn remote(&self) -> String {
        format!("sc://127.0.0.1:{}", self.port)
    }

    /// The process: its id, its log.
    pub fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// The process, to ask whether it still runs.
    pub fn process_mut(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// Kills it (SIGKILL). Safe to repeat.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Starts it again with another value of a setting that it was given.
    ///
    /// # Errors
    /// As [`SparkServer::start`].
    pub fn restart_with(&mut self, key: &str, value: &str) -> Result<()> {
        self.home.properties.retain(|(known, _)| known != key);
        self.home.properties.push((key.to_owned(), value.to_owned()));
        self.restart()
    }

    /// Starts it again on its port. One that still runs is killed first.
    ///
    /// # Errors
    /// As [`SparkServer::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill9()?;
        self.process = start(&self.home, &self.dir, self.port)?;
        Ok(())
    }
}

fn start(home: &SparkHome, dir: &Path, port: u16) -> Result<ServerProcess> {
    started("Spark Connect", &mut home.command(port, dir)?, &dir.join("spark.log"), READY)
}

/// A standalone cluster: a master, workers, and a Connect server whose executors run on the workers. Dropping it kills all.
#[derive(Debug)]
pub struct SparkCluster {
    /// The Connect server.
    pub server: SparkServer,
    workers: Vec<ServerProcess>,
    _master: ServerProcess,
}

/// What the processes of a cluster log once they work together.
const MASTER_READY: &str = "I have been elected leader";
const WORKER_READY: &str = "Successfully registered with master";

/// Megabytes of memory of each executor. A worker has one, with one core.
const EXECUTOR_MB: u32 = 640;

impl SparkCluster {
    /// Starts a cluster of so many workers, with its files and logs in `dir`.
    ///
    /// # Errors
    /// When a process does not come up; the message holds the end of its log.
    pub fn start(home: &SparkHome, dir: &Path, workers: usize) -> Result<Self> {
        let port = free_port()?;
        let master_url = format!("spark://127.0.0.1:{port}");
        let mut command = home.daemon("org.apache.spark.deploy.master.Master", 384)?;
        command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--webui-port", &free_port()?.to_string()]);
        // Tests kill executors more often than a master has patience for.
        command.env("SPARK_MASTER_OPTS", "-Dspark.deploy.maxExecutorRetries=-1");
        let master = started("Spark master", &mut command, &dir.join("master.log"), MASTER_READY)?;
        let worker = |number: usize| {
            let mut command = home.daemon("org.apache.spark.deploy.worker.Worker", 384)?;
            let work = dir.join(format!("worker-{number}"));
            command.args(["--host", "127.0.0.1", "--port", &free_port()?.to_string(), "--cores", "1", "--memory"]);
            command.args([&format!("{}m", EXECUTOR_MB + 64), "--webui-port", &free_port()?.to_string(), "--work-dir"]);
            command.arg(work).arg(&master_url);
            started("Spark worker", &mut command, &dir.join(format!("worker-{number}.log")), WORKER_READY)
        };
        let workers = (0..workers).map(worker).collect::<Result<Vec<_>>>()?;
        let home = SparkHome { master: Some(master_url), ..home.clone() };
        let home =
            home.property("spark.executor.memory", &format!("{EXECUTOR_MB}m")).property("spark.executor.cores", "1");
        Ok(Self { server: SparkServer::start(&home, dir)?, workers, _master: master })
    }

    /// The process ids of the executors, which the workers started.
    pub fn executors(&self) -> Vec<u32> {
        let workers: Vec<u32> = self.workers.iter().map(ServerProcess::id).collect();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        numbers.filter(|pid| is_executor(*pid) && workers.iter().any(|worker| parent(*pid) == Some(*worker))).collect()
    }

    /// Kills an executor (SIGKILL); false if there is none.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill_executor(&self) -> Result<bool> {
        let Some(pid) = self.executors().first().copied() else { return Ok(false) };
        let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(pid)?) else { return Ok(false) };
        match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            Ok(()) => Ok(true),
            // It has ended by itself meanwhile.
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl SparkHome {
    /// A process of the standalone cluster.
    fn daemon(&self, class: &str, heap_mb: u32) -> Result<Command> {
        let folder = self.folder()?;
        let mut command = Command::new(folder.join("bin/spark-class"));
        command.arg(class).env("SPARK_HOME", &folder).env("SPARK_LOCAL_IP", "127.0.0.1");
        command.env("SPARK_DAEMON_MEMORY", format!("{heap_mb}m")).env("SPARK_NO_DAEMONIZE", "1");
        Ok(command)
    }
}

/// A process that has logged that it is ready.
fn started(name: &str, command: &mut Command, log: &Path, ready: &str) -> Result<ServerProcess> {
    // One that was here before has logged the same.
    let before = std::fs::metadata(log).map_or(0, |file| file.len()) as usize;
    let mut process = ServerProcess::start(name, command, log)?;
    let is_ready = || {
        let bytes = std::fs::read(log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(before..).unwrap_or_default()).contains(ready)
    };
    process.wait_ready(READY_LIMIT, is_ready)?;
    Ok(process)
}

fn is_executor(pid: u32) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|part| part.ends_with(b"CoarseGrainedExecutorBackend"))
}

/// The process that started a process.
fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
