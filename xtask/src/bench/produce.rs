//! `turnstile produce --provider city` beside librdkafka's own `rdkafka_performance`, which comes with the sources of the
//! library that turnstile links, and beside the load generator of the reference programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};

use super::ground::{Ground, PARTITIONS};
use super::measure::{Cost, median};
use super::table::{BenchTable, thousands};
use crate::command::logged;
use crate::place;

const TURNS: usize = 3;

/// Value and key of a message of `city` together.
const MESSAGE_BYTES: &str = "148";

/// turnstile's own producer settings, so that librdkafka is asked for the same work. Nothing is compressed: its program
/// sends one payload again and again, which would shrink to nothing.
const SETTINGS: [&str; 6] = [
    "compression.codec=none",
    "enable.idempotence=true",
    "linger.ms=5",
    "batch.num.messages=100000",
    "queue.buffering.max.messages=50000",
    "queue.buffering.max.kbytes=65536",
];

/// What is measured: the program, how it compresses, and the row that it is compared with.
const PROGRAMS: [(&str, &str, Option<usize>); 4] = [
    ("rdkafka_performance", "none", None),
    ("turnstile produce", "none", Some(0)),
    ("load (librdkafka, city messages, acks=1)", "lz4", None),
    ("turnstile produce", "lz4", Some(2)),
];

pub(super) fn run(ground: &mut Ground) -> Result<()> {
    // Building turnstile builds the library that the reference is linked with.
    ground.product()?;
    let performance = performance(ground.scratch())?;
    let (bootstrap, messages) = (ground.kafka()?, ground.messages);
    let count = messages.to_string();
    let mut costs: [Vec<Cost>; PROGRAMS.len()] = Default::default();
    for turn in 0..TURNS {
        println!("turn {} of {TURNS} …", turn + 1);
        for (at, (program, codec, _)) in PROGRAMS.iter().enumerate() {
            let topic = format!("produce-{at}-{turn}");
            let mut command = match *program {
                "rdkafka_performance" => {
                    let mut command = Command::new(&performance);
                    command.args(["-P", "-q", "-b", &bootstrap, "-t", &topic, "-c", &count, "-s", MESSAGE_BYTES]);
                    command.args(["-a", "-1"]);
                    for setting in SETTINGS {
                        command.args(["-X", setting]);
                    }
                    command
                }
                "turnstile produce" => {
                    let mut command = ground.product()?.verb("produce");
                    command.args(["--topic", &topic, "--bootstrap", &bootstrap, "--provider", "city", "--rate", "max"]);
                    command.args(["--count", &count, "--compression", codec]);
                    command
                }
                _ => {
                    let Some(reference) = ground.reference()? else { continue };
                    let mut command = reference.program("load");
                    command.args([&bootstrap, &topic, &count, "city", &PARTITIONS.to_string()]);
                    command
                }
            };
            ground.make_topic(&topic)?;
            costs[at].push(Cost::of(&mut command, &ground.scratch().join(&topic))?);
            ground.delete_topic(&topic)?;
        }
    }
    let rate = |at: usize| median(costs[at].iter().map(|cost| cost.per_second(messages)).collect());
    let mut table = BenchTable::new(&["program", "codec", "messages/s", "CPU s per million", "peak MB", "ratio"]);
    for (at, (program, codec, other)) in PROGRAMS.iter().enumerate() {
        let Some(own) = rate(at) else { continue };
        let cpu = median(costs[at].iter().map(|cost| cost.cpu_per_million(messages)).collect()).unwrap_or_default();
        let peak = costs[at].iter().map(Cost::peak_mb).fold(0.0, f64::max);
        let ratio = other.and_then(rate).map_or_else(|| "-".into(), |other| format!("{:.2}", own / other));
        let figures = [thousands(own), format!("{cpu:.2}"), thousands(peak), ratio];
        table.row([(*program).into(), (*codec).into()].into_iter().chain(figures));
    }
    println!(
        "\n{messages} messages, medians of {TURNS}, start-up included, the broker beside them; ratio: of the row above"
    );
    println!("\n{table}");
    Ok(())
}

/// Compiles `rdkafka_performance` against the library that the newest build of turnstile links.
fn performance(scratch: &Path) -> Result<PathBuf> {
    let built =
        newest("rdkafka-sys-", "out/lib/librdkafka.a").context("librdkafka was not built in the target folder")?;
    let out = built.ancestors().nth(2).context("the library lies in no folder")?;
    let source = source_of(&out.join("build/CMakeCache.txt"))?;
    let program = scratch.join("rdkafka_performance");
    let mut compile = Command::new("cc");
    compile.arg("-O2").arg("-I").arg(source.join("src"));
    // Its headers include `../config.h`, which CMake makes one folder above this one.
    compile.arg("-I").arg(out.join("build/generated/dummy")).arg("-o").arg(&program);
    compile.arg(source.join("examples/rdkafka_performance.c")).arg(&built);
    // The C libraries of the crates that librdkafka was configured to use, where there are some.
    compile.args(newest("zstd-sys-", "out/libzstd.a")).args(newest("curl-sys-", "out/build/libcurl.a"));
    compile.args(["-lz", "-lssl", "-lcrypto", "-lm", "-ldl", "-lpthread"]);
    logged(&mut compile, &scratch.join("cc.log")).context("rdkafka_performance does not build")?;
    Ok(program)
}

/// The folder that CMake built from.
fn source_of(cache: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(cache).with_context(|| format!("cannot read {}", cache.display()))?;
    let home = text.lines().find_map(|line| line.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="));
    Ok(home.with_context(|| format!("{} names no source", cache.display()))?.into())
}

/// The newest `file` of the build folders of a package whose name begins so.
fn newest(package: &str, file: &str) -> Option<PathBuf> {
    let builds = ["release", "debug"].map(|profile| place::target().join(profile).join("build"));
    let folders = builds.iter().filter_map(|build| fs::read_dir(build).ok()).flatten().flatten();
    let ours = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(package));
    let files = ours.map(|folder| folder.path().join(file)).filter(|file| file.is_file());
    files.max_by_key(|file| file.metadata().and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH))
}
