//! `turnstile status`: the state of a pipeline, from its ledger alone.

use turnstile_lake::{FileEntry, Ledger, Slot};
use turnstile_values::{duration, human};

use super::json::record_as_json;
use super::pipeline_args::PipelineArgs;
use crate::exit::Exit;
use crate::flow;
use crate::process::Process;
use crate::report::Failure;

/// Show the state of a pipeline: last commit, owner, positions, watermark, counts of rows
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile status pipelines/mta-turnstile.toml
  turnstile status --lake file:./lake/turnstile --pipeline mta-turnstile --json

Reads only the ledger: no broker is contacted, and a running pipeline is not disturbed.")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Exit with 1 if the pipeline has ended, or if its newest commit is older than this, such as 5m, and not all of its
    /// partitions were idle at that commit (`[stream] idle`). For health checks
    #[arg(long, value_name = "TIME", value_parser = max_age)]
    max_age: Option<i64>,
    /// Print the newest slot of the ledger as JSON: docs/command-line.md
    #[arg(long)]
    json: bool,
}

fn max_age(text: &str) -> Result<i64, String> {
    duration::parse_positive_us(text).map_err(|error| format!("{error}; {}", duration::HINT))
}

/// Why the pipeline seems to be unhealthy. One whose partitions were all idle at its last commit has nothing to commit.
fn health_problem(slot: &Slot, max_age_us: i64, now_us: i64) -> Option<String> {
    let age_us = now_us - slot.committed_at_us;
    let is_idle = !slot.positions.is_empty() && slot.positions.iter().all(|position| position.idle);
    if slot.released {
        return Some("it has ended, and no process owns it".to_owned());
    }
    (age_us > max_age_us && !is_idle).then(|| format!("its newest commit is {} s old", age_us / 1_000_000))
}

pub(crate) fn run(args: StatusArgs, process: &Process) -> anyhow::Result<Exit> {
    let at = args.pipeline.ledger(process)?;
    let newest = process.runtime.block_on(async {
        let lake = at.open().await?;
        Ledger::peek(&lake, &at.pipeline).await.map_err(flow::ledger_failed)
    })?;
    let Some(slot) = newest else { return Err(at.no_ledger()) };
    if args.json {
        outln!("{}", record_as_json(&slot)?);
    } else {
        out!("{}", render(&slot, &at.url));
    }
    match args.max_age.and_then(|most| health_problem(&slot, most, flow::now_us())) {
        Some(why) => Err(Failure::new(Exit::Failed, format!("pipeline {:?} does not commit: {why}", slot.pipeline))
            .hint("start it, or see its log for what it is waiting for")
            .into()),
        None => Ok(Exit::Done),
    }
}

/// Files of a commit that are listed; a drain can publish thousands.
const FILES: usize = 3;

fn render(slot: &Slot, url: &str) -> String {
    let mut lines = vec![("pipeline", format!("{} in {url}", slot.pipeline))];
    let instant = |us: Option<i64>| us.map_or("none yet".to_owned(), human::instant);
    let commit = format!("{} at {}, plan {}", slot.seq, human::instant(slot.committed_at_us), slot.plan_hash);
    lines.push(("commit", commit));
    let writer = &slot.writer;
    let process = format!("host {}, process {}, epoch {}", writer.host, writer.pid, slot.epoch);
    let since = human::instant(slot.claimed_at_us);
    lines.push((
        "owner",
        match slot.released {
            true => format!("none; the last was {process}, which started at {since} and has ended"),
            false => format!("{process}, since {since}"),
        },
    ));
    lines.push(("watermark", instant(slot.watermark_us)));
    lines.push(("published", format!("until {}", instant(slot.published_until_us))));
    lines.push(("rows", rows(slot)));
    if let Some(times) = irregular_times(slot) {
        lines.push(("times", times));
    }
    for position in &slot.positions {
        let idle = if position.idle { ", idle" } else { "" };
        let reached = instant(position.max_event_us);
        lines.push((
            "partition",
            format!("{} next {}, event time {reached}{idle}", position.partition, position.next_offset),
        ));
    }
    let bytes: u64 = slot.state.iter().map(|state| state.bytes).sum();
    let parts = human::plural(slot.state.len() as u64, "part");
    lines.push(("state", format!("{parts}, {}", human::plural(bytes, "byte"))));
    let mut list = |label, files: Vec<String>| {
        let more = files.len().saturating_sub(FILES);
        lines.extend(files.into_iter().take(FILES).map(|text| (label, text)));
        if more > 0 {
            lines.push((label, format!("and {} more: `turnstile lake files` lists them", human::count(more as u64))));
        }
    };
    let published = slot.publish.iter().map(|file| format!("{}, {}", file.name, human::plural(file.rows, "row")));
    list("file", published.collect());
    let pending = |file: &FileEntry| format!("{}, committed earlier, publishing not confirmed", file.name);
    list("pending", slot.carried.iter().map(pending).collect());
    lines.iter().map(|(name, text)| format!("{name:<10} {text}\n")).collect()
}

fn rows(slot: &Slot) -> String {
    let term = |(name, count): &(&str, u64)| format!("{} {name}", human::count(*count));
    let terms: Vec<String> = slot.counters.terms().iter().map(term).collect();
    format!("{} read = {}", human::count(slot.counters.read), terms.join(" + "))
}

/// Ambiguous and nonexistent local times, if there were any.
fn irregular_times(slot: &Slot) -> Option<String> {
    let (twice, never) = (slot.counters.ambiguous_times, slot.counters.nonexistent_times);
    (twice + never > 0).then(|| {
        format!("{twice} ambiguous local times (the first was used), {never} nonexistent (moved forward by the gap)")
    })
}
