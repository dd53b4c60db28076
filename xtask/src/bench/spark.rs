//! The same pipeline on the embedded engine and on Apache Spark with two cores: by itself, and as `turnstile run --engine spark`
//! uses it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use turnstile_testkit::servers::{SparkHome, SparkServer, tail};

use super::ground::{Ground, PARTITIONS};
use super::measure::{Cost, median};
use super::product;
use super::table::{BenchTable, thousands};
use crate::fetch;

/// Every variant runs this often, in turns; a first time, in which the server's code is compiled, is not counted.
const TURNS: usize = 3;
/// The driver's heap.
const HEAP_MB: u32 = 4_096;
/// How often processes and folders are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// One run.
#[derive(Debug, Clone, Default)]
struct SparkTurn {
    wall: Duration,
    /// Of turnstile.
    own_cpu: Duration,
    /// Of Spark.
    spark_cpu: Duration,
    peak_bytes: u64,
    /// Until the first file of rows was there.
    first: Duration,
}

pub(super) fn run(ground: &mut Ground) -> Result<()> {
    ground.product()?;
    let (python, jars) = fetch::spark()?;
    let (bootstrap, topic) = ground.filled_topic()?;
    let pipeline = product::pipeline(ground.scratch(), "1 second")?;
    let home = SparkHome::at(&python).jars(&jars).heap_mb(HEAP_MB);
    let server_dir = ground.scratch().join("spark-server");
    fs::create_dir_all(&server_dir)?;
    let server = SparkServer::start(&home, &server_dir)?;
    let names = ["turnstile run", "Spark local[2], a job in Python", "turnstile run --engine spark, local[2]"];
    let mut turns: [Vec<SparkTurn>; 3] = Default::default();
    for turn in 0..=TURNS {
        println!("turn {turn} of {TURNS}, the first one not counted …");
        for (at, done) in turns.iter_mut().enumerate() {
            let scratch = ground.scratch().join(format!("spark-{turn}-{at}"));
            let lake = scratch.join("lake");
            fs::create_dir_all(&lake)?;
            let one = match at {
                1 => {
                    let Some(reference) = ground.reference()? else { continue };
                    let mut job = Command::new(&python);
                    job.arg(reference.file("spark/job.py")).args([&bootstrap, topic]).arg(lake.join("rows"));
                    alone(&mut job, &jars, &lake, &scratch.join("job"))?
                }
                _ => {
                    let mut command = ground.product()?.run(&pipeline, &bootstrap, topic, &lake)?;
                    command.args(["--until-end", "--set", "stream.late=drop", "--set", "stream.dedup=off"]);
                    if at == 2 {
                        let partitions = format!(r#"spark.conf={{"spark.sql.shuffle.partitions"="{PARTITIONS}"}}"#);
                        command.args(["--engine", "spark", "--remote", &server.remote(), "--set", &partitions]);
                    }
                    with_server(&mut command, &server, &lake, &scratch.join("run"), at == 2)?
                }
            };
            if turn > 0 {
                done.push(one);
            }
            fs::remove_dir_all(&scratch).with_context(|| format!("cannot clear {}", scratch.display()))?;
        }
    }
    let messages = ground.messages;
    let mut table =
        BenchTable::new(&["", "messages/s", "CPU s per million", "of them turnstile", "peak MB", "first file after s"]);
    for (name, turns) in names.iter().zip(&turns) {
        let of = |figure: &dyn Fn(&SparkTurn) -> f64| median(turns.iter().map(figure).collect()).unwrap_or_default();
        if turns.is_empty() {
            continue;
        }
        let per_million = |time: Duration| time.as_secs_f64() * 1e6 / messages as f64;
        table.row([
            (*name).into(),
            thousands(of(&|turn| messages as f64 / turn.wall.as_secs_f64())),
            format!("{:.2}", of(&|turn| per_million(turn.own_cpu + turn.spark_cpu))),
            format!("{:.2}", of(&|turn| per_million(turn.own_cpu))),
            thousands(turns.iter().map(|turn| turn.peak_bytes as f64 / 1e6).fold(0.0, f64::max)),
            format!("{:.1}", of(&|turn| turn.first.as_secs_f64())),
        ]);
    }
    println!(
        "\n{messages} messages of {PARTITIONS} partitions, medians of {TURNS} in turns, the broker beside them:\n\n{table}"
    );
    Ok(())
}

/// A run of turnstile, with what it cost the server; `counts`: the server's memory counts.
fn with_server(
    command: &mut Command,
    server: &SparkServer,
    lake: &Path,
    log: &Path,
    counts: bool,
) -> Result<SparkTurn> {
    let pid = server.process().id();
    let before = used(pid)?;
    let began = Instant::now();
    let (cost, first) = watched(lake, || Cost::of(command, log))?;
    let after = used(pid)?;
    let peak_bytes = if counts { cost.peak_bytes + after.peak_bytes } else { cost.peak_bytes };
    let spark_cpu = if counts { after.cpu.saturating_sub(before.cpu) } else { Duration::ZERO };
    Ok(SparkTurn { wall: began.elapsed(), own_cpu: cost.cpu, spark_cpu, peak_bytes, first })
}

/// A job that starts Spark itself.
fn alone(job: &mut Command, jars: &Path, lake: &Path, log: &Path) -> Result<SparkTurn> {
    let mut names =
        fs::read_dir(jars)?.map(|file| Ok(file?.path().display().to_string())).collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.ends_with(".jar"));
    job.env("PYSPARK_SUBMIT_ARGS", format!("--jars {} --driver-memory {HEAP_MB}m pyspark-shell", names.join(",")));
    job.env("SPARK_LOCAL_IP", "127.0.0.1").env("SHUFFLE", PARTITIONS.to_string());
    let (out, err) = (log.with_extension("out"), log.with_extension("err"));
    job.stdin(Stdio::null()).stdout(fs::File::create(&out)?).stderr(fs::File::create(&err)?);
    let began = Instant::now();
    let ((status, most), first) = watched(lake, || {
        let mut child = job.spawn().context("cannot start Python")?;
        let mut most = Used::default();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok((status, most));
            }
            // It is gone before Python is: what was seen last counts.
            if let Some(java) = java_of(child.id()) {
                most = used(java).unwrap_or(most);
            }
            std::thread::sleep(LOOK);
        }
    })?;
    ensure!(status.success(), "the job failed ({status}):\n{}", tail(&err, 20));
    Ok(SparkTurn {
        wall: began.elapsed(),
        own_cpu: Duration::ZERO,
        spark_cpu: most.cpu,
        peak_bytes: most.peak_bytes,
        first,
    })
}

/// Does `work`, and says when the first file of rows was in `lake`.
fn watched<T>(lake: &Path, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let (ended, began) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                if has_rows(lake) {
                    break;
                }
                std::thread::sleep(LOOK);
            }
            began.elapsed()
        });
        let done = work();
        ended.store(true, Ordering::Relaxed);
        let first = watch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((done?, first))
    })
}

/// Whether a file of rows is below `folder`, outside of folders that are not for readers.
fn has_rows(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).any(|(name, path)| {
        let hidden = name.starts_with('_') || name.starts_with('.');
        !hidden && (name.ends_with(".csv.gz") || (path.is_dir() && !name.ends_with(".ckpt") && has_rows(&path)))
    })
}

/// What a running process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    cpu: Duration,
    pub(super) peak_bytes: u64,
}

pub(super) fn used(pid: u32) -> Result<Used> {
    /// The kernel's clock ticks in a second, as every Linux reports them.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold anything; after it the state is the first field.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    Ok(Used {
        cpu: Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS),
        peak_bytes: peak.unwrap_or_default() * 1024,
    })
}

/// The Java process among the descendants of `ancestor`.
fn java_of(ancestor: u32) -> Option<u32> {
    let children: Vec<PathBuf> = fs::read_dir(format!("/proc/{ancestor}/task"))
        .ok()?
        .flatten()
        .map(|task| task.path().join("children"))
        .collect();
    let text = children.iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect::<Vec<_>>().join(" ");
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).find_map(|pid: u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.trim() == "java" { Some(pid) } else { java_of(pid) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(50) {}
        let used = used(std::process::id()).unwrap();
        assert!(used.peak_bytes > 1_000_000, "{used:?}");
        assert_eq!(java_of(std::process::id()), None);
    }

    #[test]
    fn rows_are_files_outside_of_hidden_folders() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("_turnstile/x")).unwrap();
        fs::write(dir.path().join("_turnstile/x/a.csv.gz"), "").unwrap();
        assert!(!has_rows(dir.path()));
        fs::create_dir_all(dir.path().join("window_date=2026-08-01")).unwrap();
        fs::write(dir.path().join("window_date=2026-08-01/a.csv.gz"), "").unwrap();
        assert!(has_rows(dir.path()));
    }
}
