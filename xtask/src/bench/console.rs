//! What tracking and the console cost the stream, and how fast the console's pages are with many windows.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::ground::Ground;
use super::measure::{Cost, median};
use super::product;
use super::table::{BenchTable, thousands};

/// Every variant runs this often, in turns.
const TURNS: usize = 5;
/// Pages that are looked at while the stream runs.
const LIVE_PAGES: usize = 50;
/// Windows of the ledger whose pages are timed: one a minute of event time.
const WINDOWS: u64 = 100_000;
/// The beginning of 2026, UTC, in seconds since the epoch.
const FIRST_SECOND: u64 = 1_767_225_600;
/// How often each page is asked for, after a first time that is not counted.
const REQUESTS: usize = 20;
/// How long a console may take to answer its first request: it reads the ledger.
const PATIENCE: Duration = Duration::from_secs(60);
/// The topic with one message a window.
const MINUTES: &str = "minutes";

pub(super) fn run(ground: &mut Ground) -> Result<()> {
    ground.product()?;
    cost(ground)?;
    pages(ground)
}

/// The same run without tracking, with tracking and a console, and with people who look at it.
fn cost(ground: &mut Ground) -> Result<()> {
    let (bootstrap, topic) = ground.filled_topic()?;
    let pipeline = product::pipeline(ground.scratch(), "1 second")?;
    let variants = ["off", "tracking, metrics and console on", "the same, 50 live pages open"];
    let mut costs: [Vec<Cost>; 3] = Default::default();
    let mut received = 0;
    for turn in 0..TURNS {
        println!("turn {} of {TURNS} …", turn + 1);
        for (at, costs) in costs.iter_mut().enumerate() {
            let scratch = ground.scratch().join(format!("console-{turn}-{at}"));
            let mut command = ground.product()?.run(&pipeline, &bootstrap, topic, &scratch.join("lake"))?;
            command.arg("--drain");
            let port = free_port()?;
            match at {
                0 => command.args(["--set", "track.store=off"]),
                _ => {
                    let store = format!("track.store={}", scratch.join("runs.sqlite").display());
                    command.args(["--set", &store, "--set", &format!("console.listen=127.0.0.1:{port}")])
                }
            };
            let log = scratch.join("run");
            let cost = match at {
                2 => while_looked_at(port, &mut received, || Cost::of(&mut command, &log))?,
                _ => Cost::of(&mut command, &log)?,
            };
            costs.push(cost);
            fs::remove_dir_all(&scratch).with_context(|| format!("cannot clear {}", scratch.display()))?;
        }
    }
    let messages = ground.messages;
    let mut table = BenchTable::new(&["", "messages/s", "of off", "CPU s per million", "peak MB"]);
    let figure = |costs: &[Cost], figure: &dyn Fn(&Cost) -> f64| median(costs.iter().map(figure).collect());
    let rate = |costs: &[Cost]| figure(costs, &|cost| cost.per_second(messages)).unwrap_or_default();
    for (name, of) in variants.iter().zip(&costs) {
        let cpu = figure(of, &|cost| cost.cpu_per_million(messages)).unwrap_or_default();
        let peak = of.iter().map(Cost::peak_mb).fold(0.0, f64::max);
        let share = format!("{:.3}", rate(of) / rate(&costs[0]));
        table.row([(*name).into(), thousands(rate(of)), share, format!("{cpu:.2}"), thousands(peak)]);
    }
    println!(
        "\n{messages} messages, medians of {TURNS} in turns, start-up included, the broker beside them:\n\n{table}"
    );
    println!("the live pages received {} kB a run", thousands(received as f64 / 1e3 / TURNS as f64));
    Ok(())
}

/// Does `work` while pages are open at the console of `port`; adds the bytes that they were sent to `received`.
fn while_looked_at<T>(port: u16, received: &mut u64, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (ended, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    let done = std::thread::scope(|scope| {
        for _ in 0..LIVE_PAGES {
            scope.spawn(|| {
                // The console is there before the stream begins.
                while !ended.load(Ordering::Relaxed) {
                    if let Ok(answer) = get(port, "/live/p/bench") {
                        bytes.fetch_add(answer.body.len() as u64, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let done = work();
        ended.store(true, Ordering::Relaxed);
        done
    })?;
    let bytes = bytes.load(Ordering::Relaxed);
    ensure!(bytes > 0, "no live page received anything");
    *received += bytes;
    Ok(done)
}

/// The pages of a pipeline with very many windows, which runs no more.
fn pages(ground: &mut Ground) -> Result<()> {
    let bootstrap = ground.kafka()?;
    ground.make_topic(MINUTES)?;
    let (rows, text) = (ground.scratch().join("minutes.csv"), product::pipeline_text("1 second"));
    fs::write(&rows, one_row_a_minute()?)?;
    println!("producing {WINDOWS} messages, a minute of event time apart …");
    let mut produce = ground.product()?.verb("produce");
    produce.args(["--topic", MINUTES, "--bootstrap", &bootstrap, "--rate", "max", "--from"]).arg(&rows);
    Cost::of(&mut produce, &ground.scratch().join("minutes"))?;
    let pipeline = ground.scratch().join("minutes.toml");
    let text = text.replace("'5 minutes', '5 minutes'", "'1 minute', '1 minute'");
    fs::write(&pipeline, text.replace("yyyy-MM-dd HH:mm:ss", "epoch-s"))?;
    println!("publishing a file for each of {WINDOWS} windows …");
    let lake = ground.scratch().join("minutes-lake");
    let mut command = ground.product()?.run(&pipeline, &bootstrap, MINUTES, &lake)?;
    let drained = Cost::of(command.arg("--drain"), &ground.scratch().join("minutes-run"))?;
    println!("done in {:.0} s", drained.wall.as_secs_f64());

    let port = free_port()?;
    let mut console = ground.product()?.verb("console");
    console.arg(&pipeline).args(["--set", &format!("lake.url=file:{}", lake.display())]);
    let _console = Running::start(console.args(["--listen", &format!("127.0.0.1:{port}")]))?;
    let began = Instant::now();
    while get(port, "/p/bench").map_or(true, |answer| answer.status != 200) {
        ensure!(began.elapsed() < PATIENCE, "the console does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("the first page came after {:.1} s\n", began.elapsed().as_secs_f64());
    let window = "/p/bench/windows/2026-02-01T00:00:00Z";
    let paths = [
        "/p/bench",
        "/p/bench/windows",
        "/p/bench/windows?after=50000",
        "/p/bench/windows?show=closed&after=99950",
        window,
        "/p/bench/partitions",
        "/p/bench/dead-letters",
        "/p/bench/stations",
        "/p/bench/stations?chart=total",
        "/p/bench/runs",
        "/p/bench/pipeline",
        "/p/bench/sql",
    ];
    let mut table = BenchTable::new(&["page", "median ms", "worst ms", "kB"]);
    for path in paths {
        let mut times = Vec::with_capacity(REQUESTS);
        let mut size = 0;
        for _ in 0..=REQUESTS {
            let began = Instant::now();
            let answer = get(port, path)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(answer.status == 200, "{path} is answered with {}", answer.status);
            size = answer.body.len();
        }
        times.remove(0);
        let worst = times.iter().copied().fold(0.0, f64::max);
        let median = median(times).unwrap_or_default();
        table.row([path.into(), format!("{median:.1}"), format!("{worst:.1}"), format!("{:.1}", size as f64 / 1e3)]);
    }
    println!("{WINDOWS} windows, {REQUESTS} requests each, each on its own connection:\n\n{table}");
    println!("first paint of the overview, uncompressed: {:.1} kB", first_paint(port)? as f64 / 1e3);
    Ok(())
}

/// Rows of one turnstile, a minute apart from the beginning of 2026; times are seconds since the epoch.
fn one_row_a_minute() -> Result<String> {
    let mut text = String::new();
    for minute in 0..WINDOWS {
        let seconds = FIRST_SECOND + minute * 60;
        writeln!(text, "A001,R001,00-00-00,Test-Station,456NQR,BMT,01-01-26,00:00:00,REGULAR,1,2,{minute},{seconds}")?;
    }
    Ok(text)
}

/// Bytes of the overview with all that it loads.
fn first_paint(port: u16) -> Result<usize> {
    let page = get(port, "/p/bench")?.body;
    let text = String::from_utf8_lossy(&page);
    let mut assets: Vec<&str> = text.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assets.sort_unstable();
    assets.dedup();
    let mut bytes = page.len();
    for asset in assets {
        bytes += get(port, asset)?.body.len();
    }
    Ok(bytes)
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().context("the console does not start")?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// Asks for a path on a separate connection, and reads until the server ends it.
fn get(port: u16, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // What a process that ends has sent until then counts.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !bytes.is_empty() => {}
        Err(error) => return Err(error.into()),
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { bail!("{path}: no answer") };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("{path}: {head}"))?;
    Ok(Answer { status, body: bytes.split_off(end + 4) })
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_minute_has_a_separate_window() {
        let rows = one_row_a_minute().unwrap();
        assert!(rows.starts_with("A001,R001,00-00-00,Test-Station,456NQR,BMT,01-01-26,00:00:00,"), "{}", &rows[..60]);
        let times: std::collections::BTreeSet<&str> = rows.lines().map(|row| row.rsplit(',').next().unwrap()).collect();
        assert_eq!(times.len() as u64, WINDOWS);
    }
}
