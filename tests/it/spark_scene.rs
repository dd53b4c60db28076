//! What the stories of Spark have in common: a server or cluster, messages, runs on both engines.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use turnstile_testkit::servers::{SparkCluster, SparkHome, SparkServer};

use crate::scene::{Scene, data_files, expected, finish_within, messages, published_rows, signal, text};

/// A query on a loaded machine takes a minute to begin.
pub(crate) const CLUSTER_PATIENCE: Duration = Duration::from_secs(300);

/// The pipeline's settings for both engines.
pub(crate) const STREAM: &str = "dedup = [\"ID\", \"STATION\", \"TIMESTAMP\"]\nidle = \"1 hour\"";

pub(crate) fn home() -> SparkHome {
    SparkHome::at(&turnstile_testkit::spark()).jars(&turnstile_testkit::spark_jars())
}

/// The folder of a story's cluster.
fn folder(scene: &Scene) -> PathBuf {
    let dir = scene.dir.path().join("spark");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// A server for one story, with its files in `scene`'s folder.
pub(crate) fn server(scene: &Scene) -> SparkServer {
    server_of(scene, &home())
}

/// The same of another kind.
pub(crate) fn server_of(scene: &Scene, home: &SparkHome) -> SparkServer {
    SparkServer::start(home, &folder(scene)).unwrap()
}

/// A standalone cluster of two workers, likewise.
pub(crate) fn cluster(scene: &Scene) -> SparkCluster {
    SparkCluster::start(&home(), &folder(scene), 2).unwrap()
}

/// The lake of the Spark runs, beside that of the embedded ones.
pub(crate) fn spark_lake(scene: &Scene) -> PathBuf {
    scene.dir.path().join("spark-lake")
}

pub(crate) fn lake_setting(scene: &Scene) -> String {
    format!("lake.url=file:{}", spark_lake(scene).display())
}

/// Messages with everything that a pipeline meets, and then one far later for each partition, which closes all windows before.
pub(crate) fn mixed(count: usize) -> Vec<Vec<u8>> {
    let good = messages(count);
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (at, message) in good.iter().enumerate() {
        all.push(message.clone().into_bytes());
        if at % 97 == 0 {
            all.push(message.clone().into_bytes());
        }
        if at % 211 == 5 {
            all.push(format!("A001,R001,{at}").into_bytes());
            all.push(vec![b'"', 0xff, b'"']);
        }
    }
    all
}

/// Closes the windows of [`mixed`] and [`messages`]: a reading of two days later for every turnstile, so in every partition.
pub(crate) fn closing() -> Vec<Vec<u8>> {
    let far = |turnstile: usize| {
        format!(
            "A{turnstile:03},R{turnstile:03},00-00-00,STATION 9,456NQR,BMT,08-03-26,00:00:00,REGULAR,1,1,end-{turnstile},\
             2026-08-03 00:00:00"
        )
    };
    (0..12).map(|turnstile| far(turnstile).into_bytes()).collect()
}

pub(crate) fn send(scene: &Scene, messages: &[Vec<u8>]) {
    scene.send(messages.iter().map(Vec::as_slice));
}

pub(crate) fn files(lake: &Path) -> BTreeMap<String, Vec<u8>> {
    let name = |file: &PathBuf| file.strip_prefix(lake).unwrap().display().to_string();
    data_files(lake).iter().map(|file| (name(file), std::fs::read(file).unwrap())).collect()
}

/// A run on the cluster until everything is read.
pub(crate) fn run_on(scene: &Scene, pipeline: &Path, remote: &str, more: &[&str]) -> Output {
    let lake = lake_setting(scene);
    let arguments = ["run", pipeline.to_str().unwrap(), "--engine", "spark", "--remote", remote, "--set", &lake];
    finish_slowly(scene.spawn(&[&arguments[..], more].concat(), &[]))
}

pub(crate) fn finish_slowly(child: Child) -> Output {
    finish_within(child, CLUSTER_PATIENCE)
}

pub(crate) fn audit(scene: &Scene, pipeline: &Path) {
    let audit = scene.turnstile(&["audit", pipeline.to_str().unwrap(), "--lake", spark_lake(scene).to_str().unwrap()]);
    assert!(audit.status.success() && text(&audit).contains("all is well"), "{}", text(&audit));
}

/// The dead letters in a lake: where each stood, what it was, and why it is one.
pub(crate) fn dead_letters(scene: &Scene, pipeline: &Path, lake: &Path) -> Vec<String> {
    let lake = lake.to_str().unwrap();
    let shown = scene.turnstile(&["deadletter", "show", pipeline.to_str().unwrap(), "--lake", lake, "--json"]);
    assert!(shown.status.success(), "{}", text(&shown));
    let lines = String::from_utf8(shown.stdout).unwrap();
    let mut letters: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|letter| {
            let of = |name: &str| letter[name].to_string();
            let reason = letter["reason"].as_str().unwrap();
            // The words for what is wrong with a field are each engine's own.
            let reason = if reason.starts_with("late") { reason } else { reason.split(':').next().unwrap() };
            format!("{} {} {} {} {reason}", of("partition"), of("offset"), of("value"), of("field"))
        })
        .collect();
    letters.sort();
    letters
}

/// The counters in the ledger of a lake.
pub(crate) fn counters(scene: &Scene, pipeline: &Path, lake: &Path) -> serde_json::Value {
    let status = scene.turnstile(&["status", pipeline.to_str().unwrap(), "--lake", lake.to_str().unwrap(), "--json"]);
    let slot: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    slot["counters"].clone()
}

/// A run that goes on.
pub(crate) fn spawn_on(scene: &Scene, pipeline: &Path, remote: &str, more: &[&str]) -> Child {
    let lake = lake_setting(scene);
    let arguments = ["run", pipeline.to_str().unwrap(), "--engine", "spark", "--remote", remote, "--set", &lake];
    scene.spawn(&[&arguments[..], more].concat(), &[])
}

/// Asks a run to end, and waits for it.
pub(crate) fn stop(run: Child) -> Output {
    signal(&run, "INT");
    finish_slowly(run)
}

/// Waits until exactly `messages` are in the lake of the Spark runs.
pub(crate) fn wait_for(scene: &Scene, messages: &[String], mut each: impl FnMut()) {
    let (began, expected) = (Instant::now(), expected(messages));
    loop {
        let rows = published_rows(&spark_lake(scene));
        if rows == expected {
            return;
        }
        assert!(
            began.elapsed() < CLUSTER_PATIENCE,
            "{} of {} rows after {:?}",
            rows.len(),
            expected.len(),
            began.elapsed()
        );
        each();
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What a process prints to stderr, as far as it has.
pub(crate) fn listen(run: &mut Child) -> Arc<Mutex<String>> {
    let said = Arc::new(Mutex::new(String::new()));
    let (stderr, into) = (run.stderr.take().unwrap(), Arc::clone(&said));
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            into.lock().push_str(&(line + "\n"));
        }
    });
    said
}
