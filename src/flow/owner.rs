//! Who owns a pipeline: refuses to take it from a process that seems alive.
//!
//! Correctness does not depend on this: the ledger fences stale writers. It only prevents an accidental second start
//! from ending the first process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use turnstile_lake::{Slot, WriterId};

use crate::exit::Exit;
use crate::report::Failure;

/// A writer on another machine that committed this recently is taken to be alive.
const ALIVE: Duration = Duration::from_secs(30);

/// This process, as the ledger records it.
pub(crate) fn this_process() -> WriterId {
    WriterId { host: host(), pid: std::process::id(), started_at_us: now_us(), note: String::new() }
}

/// Microseconds since the epoch.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// Refuses when the writer of `newest` seems alive.
pub(crate) fn refuse_if_alive(newest: &Slot, lake: &str) -> anyhow::Result<()> {
    if !seems_running(newest) {
        return Ok(());
    }
    let writer = &newest.writer;
    let since = chrono::DateTime::from_timestamp_micros(newest.claimed_at_us).unwrap_or_default();
    let cause = format!(
        "another process owns this pipeline since {} (epoch {}, host {}, process {})",
        since.format("%Y-%m-%dT%H:%M:%SZ"),
        newest.epoch,
        writer.host,
        writer.pid
    );
    Err(Failure::new(Exit::Fenced, format!("pipeline {:?} in {lake} was not started", newest.pipeline))
        .cause(anyhow::anyhow!(cause))
        .hint("stop that process, or take over with `--takeover`; nothing was lost")
        .into())
}

/// Whether the writer of `newest` seems to run the pipeline still.
pub(crate) fn seems_running(newest: &Slot) -> bool {
    let age = Duration::from_micros(now_us().saturating_sub(newest.committed_at_us).max(0) as u64);
    !newest.released && seems_alive(&newest.writer, age, &this_process(), runs_turnstile)
}

/// Whether process `pid` of `host`, last seen at `seen_at_us` (microseconds since the epoch), seems to live.
pub(crate) fn process_is_alive(host: &str, pid: u32, seen_at_us: i64) -> bool {
    let age = Duration::from_micros(now_us().saturating_sub(seen_at_us).max(0) as u64);
    let writer = WriterId { host: host.to_owned(), pid, ..WriterId::default() };
    seems_alive(&writer, age, &this_process(), runs_turnstile)
}

/// Whether `writer`, who committed `age` ago, seems to live beside process `this`; `runs` tells whether a process of
/// this machine is turnstile.
fn seems_alive(writer: &WriterId, age: Duration, this: &WriterId, runs: impl Fn(u32) -> bool) -> bool {
    if writer.host != this.host {
        return age < ALIVE;
    }
    // An earlier life of this very process: in a container that was started again every one is process 1. Only on one
    // and the same host: process 1 of another container is somebody else.
    writer.pid != this.pid && runs(writer.pid)
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

/// Whether process `pid` of this machine runs the program that this process runs.
fn runs_turnstile(pid: u32) -> bool {
    let program = |pid: &str| {
        let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        // The link of a program that was replaced since ends in " (deleted)".
        Some(path.file_name()?.to_string_lossy().trim_end_matches(" (deleted)").to_owned())
    };
    program(&pid.to_string()).is_some_and(|name| Some(name) == program("self"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(host: &str, pid: u32) -> WriterId {
        WriterId { host: host.to_owned(), pid, started_at_us: 0, note: String::new() }
    }

    #[test]
    fn process_1_of_another_container_is_alive_while_it_commits() {
        let this = writer("container-b", 1);
        let alive =
            |host: &str, pid, secs, runs| seems_alive(&writer(host, pid), Duration::from_secs(secs), &this, |_| runs);
        assert!(alive("container-a", 1, 2, false), "the same number on another host is another process");
        assert!(!alive("container-a", 1, 31, false), "that has not committed for long");
        assert!(!alive("container-b", 1, 2, true), "this very process, in its life before");
        assert!(alive("container-b", 7, 3600, true));
        assert!(!alive("container-b", 7, 2, false), "it has ended");
    }
}
