//! The embedded broker: messages per second in and out through librdkafka, with its data on disk.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use turnstile_testkit::servers::{ServerProcess, free_port};

use super::ground::{Ground, PARTITIONS};
use super::measure::{Cost, median};
use super::room;
use super::table::{BenchTable, thousands};

const TURNS: usize = 3;
const TOPIC: &str = "city";
const READY_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn run(ground: &mut Ground) -> Result<()> {
    if ground.reference()?.is_none() {
        println!("without the reference programs `load` and `limit`: the broker's own measurement");
        return room::rates("broker", ground.messages);
    }
    let messages = ground.messages;
    let (mut starts, mut loads, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        println!("turn {} of {TURNS} …", turn + 1);
        let scratch = ground.scratch().join(format!("broker-{turn}"));
        fs::create_dir_all(&scratch)?;
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let mut command = ground.product()?.verb("broker");
        command.args(["--listen", &address, "--dir"]).arg(scratch.join("data"));
        let begin = Instant::now();
        let mut broker = ServerProcess::start("turnstile broker", &mut command, &scratch.join("broker.log"))?;
        broker.wait_ready(READY_LIMIT, || TcpStream::connect(&address).is_ok())?;
        starts.push(begin.elapsed().as_secs_f64() * 1e3);

        let reference = ground.reference()?.context("no reference programs")?;
        let mut load = reference.program("load");
        load.args([&address, TOPIC, &messages.to_string(), "city", &PARTITIONS.to_string()]);
        loads.push(Cost::of(&mut load, &scratch.join("load"))?.per_second(messages));
        let mut read = reference.program("limit");
        reads.push(Cost::of(read.args([&address, TOPIC]), &scratch.join("limit"))?.per_second(messages));
        broker.stop()?;
        fs::remove_dir_all(&scratch).with_context(|| format!("cannot clear {}", scratch.display()))?;
    }
    let mut table = BenchTable::new(&["embedded broker, on disk", "median"]);
    let mut row = |what: &str, figure: Option<String>| table.row([what.into(), figure.unwrap_or_else(|| "-".into())]);
    row("messages/s in (`load`, lz4)", median(loads).map(thousands));
    row("messages/s out (`limit`)", median(reads).map(thousands));
    // Asked every 20 ms, so this is an upper bound.
    row("start to open port, at most, ms", median(starts).map(thousands));
    println!("\n{messages} messages, medians of {TURNS}:\n\n{table}");
    Ok(())
}
