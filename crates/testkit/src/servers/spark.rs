//! Apache Spark's Connect server: one driver, with its executors in it.

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
    cores: usize,
    heap_mb: u32,
    properties: Vec<(String, String)>,
}

impl SparkHome {
    /// The Python of an environment that has pyspark; a server with two cores.
    pub fn at(python: &Path) -> Self {
        Self { python: python.to_path_buf(), jars: None, cores: 2, heap_mb: 1_024, properties: Vec::new() }
    }

    /// The same with the jars of a folder, such as those of the Kafka source.
    #[must_use]
    pub fn jars(self, folder: &Path) -> Self {
        Self { jars: Some(folder.to_path_buf()), ..self }
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
        command.args(["--master", &format!("local[{}]", self.cores)]);
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
    let log = dir.join("spark.log");
    // A server that was here before has logged the same.
    let before = std::fs::metadata(&log).map_or(0, |file| file.len()) as usize;
    let mut process = ServerProcess::start("Spark Connect", &mut home.command(port, dir)?, &log)?;
    let serves = || {
        let bytes = std::fs::read(&log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(before..).unwrap_or_default()).contains(READY)
    };
    process.wait_ready(READY_LIMIT, serves)?;
    Ok(process)
}
