//! A broker, a folder and the binary: what every story needs.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use turnstile_broker::Broker;
use turnstile_kafka::{ClientSettings, NewTopicPlan, Producer, ProducerLimits, ProducerRecord, TopicAdmin};

use crate::disk::Disk;

const BINARY: &str = env!("CARGO_BIN_EXE_turnstile");

/// How long anything in a story may take before it counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Groups of the published windows: window start, station, entries, exits, messages.
pub(crate) type Rows = BTreeMap<(String, String), (i64, i64, i64)>;

/// A folder with a pipeline file, and a topic to read.
pub(crate) struct Scene {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) servers: String,
    pub(crate) topic: String,
    broker: Option<Broker>,
}

impl Scene {
    /// On its own embedded broker, in memory.
    pub(crate) fn embedded(partitions: i32) -> Self {
        let broker = Broker::start(turnstile_broker::BrokerSettings::default()).expect("the embedded broker starts");
        let servers = broker.address().to_string();
        Self::on(servers, "city", partitions, &[], Some(broker))
    }

    /// On the shared Apache Kafka, in its own topic.
    pub(crate) fn apache(topic: &str, partitions: i32) -> Self {
        Self::on_brokers(turnstile_testkit::kafka(), topic, partitions, &[])
    }

    /// On the story's own broker.
    pub(crate) fn at(servers: String, topic: &str, partitions: i32) -> Self {
        Self::on(servers, topic, partitions, &[], None)
    }

    /// On brokers whose topic the story creates.
    pub(crate) fn without_topic(servers: String, topic: &str) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), servers, topic: topic.to_owned(), broker: None }
    }

    /// On running brokers, in its own topic with these settings.
    pub(crate) fn on_brokers(servers: String, topic: &str, partitions: i32, config: &[(&str, &str)]) -> Self {
        let topic = format!("{topic}-{}", std::process::id());
        Self::on(servers, &topic, partitions, config, None)
    }

    fn on(servers: String, topic: &str, partitions: i32, config: &[(&str, &str)], broker: Option<Broker>) -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap(), servers, topic: topic.to_owned(), broker };
        let topics = TopicAdmin::open(&scene.client()).unwrap();
        topics
            .create(&NewTopicPlan {
                topic: scene.topic.clone(),
                partitions,
                replication: 1,
                config: [("retention.ms", "-1")]
                    .iter()
                    .chain(config)
                    .map(|(k, v)| ((*k).into(), (*v).into()))
                    .collect(),
            })
            .unwrap();
        scene
    }

    /// Ends the scene's own broker, as a machine that goes away does.
    pub(crate) fn stop_broker(&mut self) {
        assert!(self.broker.take().is_some(), "the scene has its own broker, once");
    }

    pub(crate) fn client(&self) -> ClientSettings {
        ClientSettings::from_servers(&self.servers).unwrap()
    }

    /// Writes the stories' pipeline file: five-minute sums a station. `stream` is added to `[stream]`.
    pub(crate) fn pipeline(&self, stream: &str) -> PathBuf {
        self.pipeline_with(stream, "", SQL)
    }

    pub(crate) fn pipeline_with(&self, stream: &str, lake: &str, sql: &str) -> PathBuf {
        let (servers, topic) = (&self.servers, &self.topic);
        let url = self.lake().display().to_string();
        let text = format!(
            r#"
name = "story"
[source]
topic = "{topic}"
kafka = {{ "bootstrap.servers" = "{servers}" }}
format = "csv"
[source.schema]
CA = "string"
UNIT = "string"
SCP = "string"
STATION = "string"
LINENAME = "string"
DIVISION = "string"
DATE = "string"
TIME = "string"
DESC = "string"
ENTRIES = "long"
EXITS = "long"
ID = "string"
TIMESTAMP = {{ type = "timestamp", format = "yyyy-MM-dd HH:mm:ss", zone = "UTC" }}
[stream]
event_time = "TIMESTAMP"
watermark = "5 minutes"
future = "off"
{stream}
[query]
sql = """{sql}"""
[lake]
url = "file:{url}"
{lake}
"#
        );
        let path = self.dir.path().join("story.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.dir.path().join("lake")
    }

    /// Sends `values` with their partitions, in order.
    pub(crate) fn send<'a>(&self, values: impl IntoIterator<Item = &'a [u8]>) {
        let producer = Producer::open(&self.client(), ProducerLimits::default()).unwrap();
        for value in values {
            producer.send(&self.topic, &record(value)).unwrap();
        }
        let (stats, failures) = producer.close(PATIENCE);
        assert_eq!((stats.failed, failures.len()), (0, 0), "{failures:?}");
    }

    /// Runs the binary to its end.
    pub(crate) fn turnstile(&self, args: &[&str]) -> Output {
        finish(self.spawn(args, &[]))
    }

    pub(crate) fn spawn(&self, args: &[&str], env: &[(&str, &str)]) -> Child {
        self.start(Command::new(BINARY), args, env)
    }

    /// The same, where `disk` is mounted.
    pub(crate) fn spawn_on(&self, disk: &Disk, args: &[&str]) -> Child {
        self.start(disk.command(BINARY), args, &[])
    }

    fn start(&self, mut command: Command, args: &[&str], env: &[(&str, &str)]) -> Child {
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("TURNSTILE_CRASH_AT");
        command.envs(env.iter().copied()).spawn().expect("the binary starts")
    }

    /// Reads the topic to its end and publishes every window.
    pub(crate) fn drain(&self, pipeline: &Path) -> Output {
        self.turnstile(&["run", pipeline.to_str().unwrap(), "--drain"])
    }

    /// The newest version of every published window.
    pub(crate) fn rows(&self) -> Rows {
        published_rows(&self.lake())
    }

    /// The same, of a lake on `disk`.
    pub(crate) fn rows_on(&self, disk: &Disk) -> Rows {
        published_rows(&disk.path())
    }

    /// The audit's closing line; panics when it is not well.
    pub(crate) fn audit(&self, pipeline: &Path) -> String {
        let output = self.turnstile(&["audit", pipeline.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap().lines().last().unwrap_or_default().to_owned()
    }
}

/// A message. Its key decides the partition: the turnstile's own fields.
pub(crate) fn record(value: impl AsRef<[u8]>) -> ProducerRecord {
    let value = value.as_ref();
    let key = value.split(|b| *b == b',').take(3).collect::<Vec<_>>().join(&b',');
    ProducerRecord { key, keyed: true, value: value.to_vec(), ..ProducerRecord::default() }
}

/// Sums a station and window.
pub(crate) const SQL: &str = "SELECT STATION, window.start AS START, window.end AS END, sum(ENTRIES) AS ENTRIES, \
     sum(EXITS) AS EXITS, count(*) AS N FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), STATION";

/// Waits for `child`; one that takes longer than [`PATIENCE`] is stuck.
pub(crate) fn finish(child: Child) -> Output {
    finish_within(child, PATIENCE)
}

/// The same with another limit.
pub(crate) fn finish_within(mut child: Child, limit: Duration) -> Output {
    let mut pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = std::thread::spawn(move || read(&mut pipes.0));
    let stderr = std::thread::spawn(move || read(&mut pipes.1));
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > limit {
            child.kill().unwrap();
            let _ = child.wait();
            panic!("stuck: {}", String::from_utf8_lossy(&stderr.join().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn read(pipe: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Waits until something happens.
pub(crate) fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "not within {:?}: {what}", PATIENCE);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Sends a signal to a process that the story started.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
}

/// What a command printed, for messages.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The data files below `lake`, by name.
pub(crate) fn data_files(lake: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(days) = std::fs::read_dir(lake) else { return files };
    for day in days.map(|d| d.unwrap().path()) {
        if day.file_name().unwrap().to_string_lossy().contains("date=") {
            files.extend(std::fs::read_dir(day).unwrap().map(|f| f.unwrap().path()));
        }
    }
    files.sort();
    files
}

pub(crate) fn unpack(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

pub(crate) fn published_rows(lake: &Path) -> Rows {
    let mut rows = Rows::new();
    let mut newest: BTreeMap<String, (u32, PathBuf)> = BTreeMap::new();
    for file in data_files(lake) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let stem = name.strip_suffix(".csv.gz").expect("a csv.gz file");
        let (window, version) = match stem.rsplit_once("_v") {
            Some((window, version)) => (window.to_owned(), version.parse().unwrap()),
            None => (stem.to_owned(), 1),
        };
        let entry = newest.entry(window).or_insert((0, PathBuf::new()));
        if entry.0 < version {
            *entry = (version, file);
        }
    }
    for (_, file) in newest.values() {
        let text = unpack(file);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("STATION,START,END,ENTRIES,EXITS,N"), "{}", file.display());
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            let number = |at: usize| cells[at].parse::<i64>().unwrap();
            let before = rows.insert((cells[1].to_owned(), cells[0].to_owned()), (number(3), number(4), number(5)));
            assert_eq!(before, None, "{line} is published twice");
        }
    }
    rows
}

/// A synthetic stream in event order: `count` messages from 12 turnstiles at 4 stations, 7 s apart.
pub(crate) fn messages(count: usize) -> Vec<String> {
    (0..count)
        .map(|i| {
            let (turnstile, secs) = (i % 12, i as i64 * 7);
            let at = chrono::DateTime::from_timestamp(1_785_542_400 + secs, 0).unwrap();
            format!(
                "A{turnstile:03},R{turnstile:03},00-00-00,STATION {},456NQR,BMT,{},{},REGULAR,{},{},id-{i},{}",
                turnstile % 4,
                at.format("%m-%d-%y"),
                at.format("%H:%M:%S"),
                i % 17,
                i % 5,
                at.format("%Y-%m-%d %H:%M:%S")
            )
        })
        .collect()
}

/// What the windows of `messages` must hold, by a plain sum.
pub(crate) fn expected(messages: &[String]) -> Rows {
    let mut rows = Rows::new();
    for message in messages {
        let f: Vec<&str> = message.split(',').collect();
        let at = chrono::NaiveDateTime::parse_from_str(f[12], "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp();
        let start = chrono::DateTime::from_timestamp(at / 300 * 300, 0).unwrap();
        let row = rows.entry((start.format("%Y-%m-%dT%H:%M:%SZ").to_string(), f[3].to_owned())).or_default();
        row.0 += f[9].parse::<i64>().unwrap();
        row.1 += f[10].parse::<i64>().unwrap();
        row.2 += 1;
    }
    rows
}
