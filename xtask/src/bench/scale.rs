//! The embedded engine and a Spark cluster over partitions, groups and workers: where each one's limits lie on one machine. One
//! run each.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use turnstile_testkit::servers::{SparkCluster, SparkHome, SparkServer};

use super::ground::{Ground, PARTITIONS};
use super::measure::Cost;
use super::product::SCHEMA;
use super::spark::used;
use super::table::{BenchTable, thousands};
use crate::fetch;

/// Groups of the runs over partitions and workers.
const GROUPS: u64 = 10_000;
/// The driver's heap, which holds the groups.
const HEAP_MB: u32 = 10_240;
/// Rows of one window have to fit, here and there.
const MEMORY: &str = "8 GiB";

/// What a run is given.
struct Case {
    what: String,
    topic: String,
    partitions: u32,
    groups: u64,
    messages: u64,
    /// Cores of either engine; `None`: all of the machine.
    workers: Option<usize>,
}

/// What it took.
struct Taken {
    per_second: f64,
    peak_bytes: Option<u64>,
}

pub(super) fn run(ground: &mut Ground) -> Result<()> {
    ground.product()?;
    let (python, jars) = fetch::spark()?;
    let messages = ground.messages;
    let case = |what: String, partitions: u32, groups: u64, workers: Option<usize>| {
        let messages = messages.max(groups);
        Case { what, topic: format!("city-{partitions}-{messages}"), partitions, groups, messages, workers }
    };
    let mut cases = Vec::new();
    for partitions in [1, 4, 16, 64] {
        cases.push(case(
            format!("{partitions} partitions, {} groups", thousands(GROUPS as f64)),
            partitions,
            GROUPS,
            None,
        ));
    }
    for groups in [10, 1_000, 100_000, 1_000_000, 10_000_000] {
        cases.push(case(
            format!("{PARTITIONS} partitions, {} groups", thousands(groups as f64)),
            PARTITIONS,
            groups,
            None,
        ));
    }
    for workers in [1, 2, 4] {
        cases.push(case(format!("{workers} workers of a core"), PARTITIONS, GROUPS, Some(workers)));
    }
    let home = SparkHome::at(&python).jars(&jars).heap_mb(HEAP_MB);
    let heading = ["", "messages", "embedded/s", "peak MB", "Spark/s", "peak MB", "embedded is faster by"];
    let mut table = BenchTable::new(&heading);
    let mut local: Option<SparkServer> = None;
    for case in &cases {
        println!("{} …", case.what);
        let bootstrap = ground.topic_of(&case.topic, case.partitions, case.messages)?;
        let dir = ground.scratch().join("scale");
        fs::create_dir_all(&dir)?;
        let pipeline = pipeline(&dir, case)?;
        let ours = embedded(ground, case, &pipeline, &bootstrap, &dir);
        let theirs = match case.workers {
            Some(workers) => {
                local = None;
                let folder = ground.scratch().join(format!("cluster-{workers}"));
                fs::create_dir_all(&folder)?;
                let cluster = SparkCluster::start(&home.clone().heap_mb(1_024), &folder, workers)?;
                on_spark(ground, case, &pipeline, &bootstrap, &dir, &cluster.server, false)
            }
            None => {
                let server = match &mut local {
                    Some(server) => server,
                    None => {
                        let folder = ground.scratch().join("local-server");
                        fs::create_dir_all(&folder)?;
                        let server = local.insert(SparkServer::start(&home, &folder)?);
                        // Its code is compiled.
                        on_spark(ground, case, &pipeline, &bootstrap, &dir, server, true)?;
                        server
                    }
                };
                on_spark(ground, case, &pipeline, &bootstrap, &dir, server, true)
            }
        };
        fs::remove_dir_all(&dir).with_context(|| format!("cannot clear {}", dir.display()))?;
        let rate = |taken: &Result<Taken>| match taken {
            Ok(taken) => thousands(taken.per_second),
            Err(error) => {
                eprintln!("{}: {error:#}", case.what);
                "failed".to_owned()
            }
        };
        let peak = |taken: &Result<Taken>| {
            let bytes = taken.as_ref().ok().and_then(|taken| taken.peak_bytes);
            bytes.map_or_else(|| "-".to_owned(), |bytes| thousands(bytes as f64 / 1e6))
        };
        let ratio = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => format!("{:.1}", ours.per_second / theirs.per_second),
            _ => "-".to_owned(),
        };
        table.row([
            case.what.clone(),
            thousands(case.messages as f64),
            rate(&ours),
            peak(&ours),
            rate(&theirs),
            peak(&theirs),
            ratio,
        ]);
        println!("\n{table}");
    }
    Ok(())
}

/// A pipeline with one window and the case's groups in it.
fn pipeline(dir: &Path, case: &Case) -> Result<PathBuf> {
    let file = dir.join("scale.toml");
    let text =
        PIPELINE.replace("{schema}", SCHEMA).replace("{groups}", &case.groups.to_string()).replace("{memory}", MEMORY);
    fs::write(&file, text.replace("{partitions}", &case.partitions.to_string()))?;
    Ok(file)
}

fn embedded(ground: &mut Ground, case: &Case, pipeline: &Path, bootstrap: &str, dir: &Path) -> Result<Taken> {
    let lake = dir.join("embedded");
    let mut command = ground.product()?.run(pipeline, bootstrap, &case.topic, &lake)?;
    command.arg("--drain");
    if let Some(workers) = case.workers {
        command.args(["--set", &format!("stream.workers={workers}")]);
    }
    let cost = Cost::of(&mut command, &dir.join("embedded-run"))?;
    Ok(Taken { per_second: cost.per_second(case.messages), peak_bytes: Some(cost.peak_bytes) })
}

/// One run through a server, whose process is the whole cluster if `is_local`.
fn on_spark(
    ground: &mut Ground,
    case: &Case,
    pipeline: &Path,
    bootstrap: &str,
    dir: &Path,
    server: &SparkServer,
    is_local: bool,
) -> Result<Taken> {
    let lake = dir.join("spark");
    let mut command = ground.product()?.run(pipeline, bootstrap, &case.topic, &lake)?;
    command.args(["--until-end", "--engine", "spark", "--remote", &server.remote()]);
    let began = Instant::now();
    let cost = Cost::of(&mut command, &dir.join("spark-run"))?;
    let per_second = case.messages as f64 / began.elapsed().as_secs_f64();
    let peak_bytes = match is_local {
        true => Some(cost.peak_bytes + used(server.process().id())?.peak_bytes),
        false => None,
    };
    fs::remove_dir_all(&lake)?;
    Ok(Taken { per_second, peak_bytes })
}

/// One window of all messages, closed by those that [`Ground::topic_of`] adds.
const PIPELINE: &str = r#"name = "scale"

[source]
topic  = "city"
kafka  = { "bootstrap.servers" = "127.0.0.1:9092" }
format = "csv"

[source.schema]
{schema}
AT = { metadata = "offset" }
IN = { metadata = "partition" }

[stream]
event_time = "TIMESTAMP"
watermark = "5 minutes"
future = "off"
idle = "1 second"
late = "drop"
memory = "{memory}"
dedup = "off"

[query]
sql = """
SELECT (AT * {partitions} + IN) % {groups} AS PLACE, window.end AS END, sum(ENTRIES) AS ENTRIES, sum(EXITS) AS EXITS
FROM turnstile
GROUP BY window(TIMESTAMP, '3650 days'), (AT * {partitions} + IN) % {groups}
"""

[lake]
url = "file:./lake"
format = "parquet"

[spark]
memory = "{memory}"
"#;
