//! `turnstile explain`: from a file of the lake back to its messages.

use turnstile_lake::{FileKind, Published, RowLocation, explain};
use turnstile_message::{ExcludedMessages, FailedWindow, OffsetRange};
use turnstile_values::human;

use super::json::record_as_json;
use super::pipeline_args::PipelineArgs;
use crate::exit::Exit;
use crate::flow;
use crate::process::Process;
use crate::report::Failure;

/// Show what a file or window was computed from: messages, commit, versions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile explain 2026-08-01T08:00Z pipelines/mta-turnstile.toml
  turnstile explain mta-turnstile_20260801T080000Z_20260801T080500Z.csv.gz pipelines/mta-turnstile.toml
  turnstile explain window_date=2026-08-01/mta-turnstile_20260801_m00000000000000000007_0a1b2c3d4e5f.parquet
  turnstile explain 2026-08-01T08:00Z --lake file:./lake/turnstile --pipeline mta-turnstile --json

All versions of a window are shown; readers see the highest. For a compacted file, the windows it contains are shown.")]
pub(crate) struct ExplainArgs {
    /// A file, by its name or path; or a window, by its start or by START..END, in UTC
    #[arg(value_name = "FILE_OR_WINDOW")]
    what: String,
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: ExplainArgs, process: &Process) -> anyhow::Result<Exit> {
    let at = args.pipeline.ledger(process)?;
    let explained = process.runtime.block_on(async {
        let lake = at.open().await?;
        explain(&lake, &at.pipeline, &args.what).await.map_err(flow::ledger_failed)
    })?;
    if explained.files.is_empty() && explained.failed.is_empty() {
        return Err(Failure::new(
            Exit::Failed,
            format!("{:?} published nothing that matches {:?}", at.pipeline, args.what),
        )
        .hint("name a file below the lake's root, or a window's start in UTC, such as 2026-08-01T08:00Z")
        .into());
    }
    if args.json {
        outln!("{}", record_as_json(&explained)?);
        return Ok(Exit::Done);
    }
    for (at, published) in explained.files.iter().enumerate() {
        let (before, after) = (&explained.files[..at], &explained.files[at + 1..]);
        out!("{}", render(published, superseded(published, after), cause(published, before)));
    }
    for window in &explained.failed {
        out!("{}", render_failed(window));
    }
    for window in &explained.excluded {
        out!("{}", render_excluded(window));
    }
    Ok(Exit::Done)
}

/// Why a window was published again: the messages that the previous version does not include. A late row of a partition
/// comes after all rows of that partition in the previous version.
fn cause(published: &Published, earlier: &[Published]) -> Option<String> {
    let (bounds, _) = window(published).filter(|(_, version)| *version > 1)?;
    let before = earlier.iter().rev().find(|other| window(other).is_some_and(|(of, _)| of == bounds))?;
    let held = |range: &OffsetRange| before.file.sources.iter().find(|old| old.partition == range.partition);
    let late: Vec<OffsetRange> = published
        .file
        .sources
        .iter()
        .filter_map(|range| match held(range) {
            None => Some(range.clone()),
            Some(old) if old.last < range.last => {
                let messages = range.messages.saturating_sub(old.messages);
                // A single one is the last of the range.
                let first = if messages == 1 { range.last } else { old.last + 1 };
                Some(OffsetRange { first, messages, ..range.clone() })
            }
            Some(_) => None,
        })
        .collect();
    let ranges: Vec<String> = late.iter().map(ToString::to_string).collect();
    let messages: u64 = late.iter().map(|range| range.messages).sum();
    let rows = human::plural(messages, "late row");
    Some(format!("{rows} within {}, read after the window had closed", ranges.join(", ")))
}

/// The version that readers see instead, if there is one.
fn superseded(published: &Published, later: &[Published]) -> Option<u32> {
    let (bounds, _) = window(published)?;
    later.iter().rev().filter_map(window).find_map(|(of, version)| (of == bounds).then_some(version))
}

/// Bounds and version, if the file is a window's.
fn window(published: &Published) -> Option<((i64, i64), u32)> {
    match published.file.kind {
        FileKind::Window { start_us, end_us, version } => Some(((start_us, end_us), version)),
        FileKind::DeadLetters => None,
    }
}

fn render(published: &Published, superseded_by: Option<u32>, cause: Option<String>) -> String {
    let file = &published.file;
    let mut out = format!("{}\n", file.name);
    let mut line = |name: &str, text: String| out.push_str(&format!("  {name:<8} {text}\n"));
    match file.kind {
        FileKind::Window { start_us, end_us, version } => {
            let newer = superseded_by.map_or(String::new(), |newer| format!(", superseded by version {newer}"));
            line(
                "window",
                format!(
                    "{} .. {}, version {version}{newer}",
                    human::short_instant(start_us),
                    human::short_instant(end_us)
                ),
            );
        }
        FileKind::DeadLetters => line("holds", "messages that could not be processed".to_owned()),
    }
    if let Some(cause) = cause {
        line("cause", cause);
    }
    let (rows, bytes) = (human::plural(file.rows, "row"), human::plural(file.bytes, "byte"));
    line("content", format!("{rows}, {bytes}, SHA-256 {}", file.sha256));
    let state = match published.confirmed {
        true => "published",
        false => "not published yet: the next commit or start publishes it",
    };
    line(
        "commit",
        format!(
            "{} at {}, epoch {}, host {}; {state}",
            published.seq,
            human::short_instant(published.committed_at_us),
            published.epoch,
            published.host
        ),
    );
    match &published.place {
        RowLocation::Own => {}
        RowLocation::Compacted { object, first_row } => {
            line("now in", format!("{object}, rows {first_row} to {}", first_row + file.rows.saturating_sub(1)));
        }
        RowLocation::Retired { since_us, reason } => {
            line("retired", format!("at {}: {reason}", human::short_instant(*since_us)));
        }
    }
    for range in &file.sources {
        match file.ranges_are_coarse() {
            true => line("within", range.to_string()),
            false => line("from", format!("{range}, {}", human::plural(range.messages, "message"))),
        }
    }
    for (name, count) in &file.counts {
        line("count", format!("{name} {}", human::count(*count)));
    }
    out
}

/// Messages whose event time lies in a window and that are no part of it.
fn render_excluded(window: &ExcludedMessages) -> String {
    let span = format!("{} .. {}", human::short_instant(window.start_us), human::short_instant(window.end_us));
    let (late, duplicates) = (human::plural(window.late, "late row"), human::plural(window.duplicates, "duplicate"));
    format!("not in {span}: {late}, {duplicates}\n")
}

/// The groups that a window lacks.
fn render_failed(window: &FailedWindow) -> String {
    let (start, end) = (human::short_instant(window.start_us), human::short_instant(window.end_us));
    let mut out =
        format!("window {start} .. {end}, version {}: groups that cannot be computed, left out\n", window.version);
    for group in &window.shown {
        out.push_str(&format!("  group    {}: {}\n", group.key, group.reason));
    }
    let more = window.groups - window.shown.len() as u64;
    if more > 0 {
        out.push_str(&format!("  group    and {} more\n", human::count(more)));
    }
    for range in &window.sources {
        out.push_str(&format!("  within   {range}, {} messages\n", range.messages));
    }
    out
}

#[cfg(test)]
mod tests {
    use turnstile_lake::{FileEntry, Hash};
    use turnstile_message::TopicPartition;

    use super::*;

    fn version(version: u32) -> Published {
        let start_us = 1_785_571_200_000_000;
        Published {
            file: FileEntry {
                name: format!("date=2026-08-01/mta_v{version}.csv.gz"),
                sha256: Hash::of(b""),
                bytes: 9,
                rows: 2,
                kind: FileKind::Window { start_us, end_us: start_us + 300_000_000, version },
                sources: vec![OffsetRange { partition: TopicPartition::new("mta", 1), first: 3, last: 8, messages: 5 }],
                counts: Default::default(),
                stage: String::new(),
            },
            seq: 4,
            epoch: 1,
            committed_at_us: start_us,
            host: "batch-1".into(),
            confirmed: true,
            place: RowLocation::Compacted { object: "date=2026-08-01/mta_m7.parquet".into(), first_row: 10 },
        }
    }

    #[test]
    fn a_corrected_window_shows_its_current_version_and_its_sources() {
        let files = [version(1), version(2)];
        let text = render(&files[0], superseded(&files[0], &files[1..]), cause(&files[0], &[]));
        assert!(text.contains("2026-08-01T08:00Z .. 2026-08-01T08:05Z, version 1, superseded by version 2"), "{text}");
        assert!(text.contains("from     mta[1]@3..=8, 5 messages"), "{text}");
        assert!(text.contains("now in   date=2026-08-01/mta_m7.parquet, rows 10 to 11"), "{text}");
        assert!(!text.contains("cause"), "{text}");
        assert!(!render(&files[1], superseded(&files[1], &[]), None).contains("superseded"));
    }

    #[test]
    fn a_correction_names_the_late_rows_that_caused_it() {
        let mut files = [version(1), version(2)];
        let range = |partition, first, last, messages| OffsetRange {
            partition: TopicPartition::new("mta", partition),
            first,
            last,
            messages,
        };
        files[1].file.sources = vec![range(0, 7, 7, 1), range(1, 3, 12, 7)];
        let text = render(&files[1], None, cause(&files[1], &files[..1]));
        let said = "cause    3 late rows within mta[0]@7..=7, mta[1]@9..=12, read after the window had closed";
        assert!(text.contains(said), "{text}");
    }
}
