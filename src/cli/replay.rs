//! `turnstile replay`: rebuilds a published file from its messages.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use serde::Serialize;
use turnstile_engine::ClosedWindow;
use turnstile_lake::{FileKind, Hash, Ledger, Published};
use turnstile_message::{OffsetRange, TopicPartition};
use turnstile_values::human;

use super::pipeline_args::PipelineArgs;
use crate::exit::Exit;
use crate::flow::{self, Context, LakeAccess};
use crate::process::Process;
use crate::report::Failure;

/// Rebuild a published file from its messages, and compare them.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile replay 2026-08-01T08:00Z pipelines/mta-turnstile.toml --to /tmp/again
  turnstile replay 2026-08-01T08:00Z --to /tmp/again --json        # what `turnstile up` published
  turnstile replay mta-turnstile_20260801T080000Z_20260801T080500Z.csv.gz pipelines/mta-turnstile.toml --to /tmp/again
  turnstile replay 'mta-turnstile[0]@0..=4999' pipelines/mta-turnstile.toml --to /tmp/range

Nothing is written to the lake or its ledger. Exit code 9: the rebuilt file differs from the published one.")]
pub(crate) struct ReplayArgs {
    /// A published file, a window's start, or an offset range `TOPIC[PARTITION]@FIRST..=LAST`
    #[arg(value_name = "FILE_OR_RANGE")]
    what: String,
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Print a JSON line for each file
    #[arg(long)]
    json: bool,
}

/// One rebuilt file.
#[derive(Debug, Serialize)]
struct ReplayedFile {
    /// Its name, below the lake's root and below the folder.
    name: String,
    rows: usize,
    messages: u64,
    /// Whether its bytes equal those that were published; `None` if there is nothing to compare with.
    same: Option<bool>,
}

impl ReplayedFile {
    fn print(&self, json: bool) -> anyhow::Result<()> {
        let Self { name, rows, messages, same } = self;
        let of = || format!("{} from {}", human::plural(*rows as u64, "row"), human::plural(*messages, "message"));
        match same {
            _ if json => outln!("{}", serde_json::to_string(self)?),
            None => outln!("{name}  {}", of()),
            Some(true) => outln!("{name}  {}: the same, byte for byte", of()),
            Some(false) if *messages == 0 => outln!("{name}  differs: its messages produce no such window now"),
            Some(false) => outln!("{name}  {}: differs from what was published", of()),
        }
        Ok(())
    }
}

pub(crate) fn run(args: ReplayArgs, process: &Process) -> anyhow::Result<Exit> {
    let context = args.pipeline.open(process, LakeAccess::Read)?;
    let pipeline = context.pipeline();
    process.shutdown_on_signals()?;
    if let Some(range) = parse_range(&args.what) {
        let windows = replay(&context, &[range])?;
        let key = key(&context)?;
        for window in &windows {
            let bytes = flow::encode(pipeline, window)?;
            let format = flow::file_format(pipeline);
            let name = turnstile_lake::window_name(&key, &pipeline.name, window.start_us, window.end_us, 1, format);
            write(&args.to, &name, &bytes)?;
            let (rows, messages) = (window.rows.num_rows(), window.messages);
            ReplayedFile { name, rows, messages, same: None }.print(args.json)?;
        }
        return Ok(Exit::Done);
    }
    let files = published(&context, &args.what)?;
    let mut exit = Exit::Done;
    for published in &files {
        let file = rebuild(&context, published, &args.to)?;
        file.print(args.json)?;
        if file.same != Some(true) {
            exit = Exit::Difference;
        }
    }
    Ok(exit)
}

/// The key of the folders that the pipeline's files are in.
fn key(context: &Context) -> anyhow::Result<String> {
    let pipeline = context.pipeline();
    context.block_on(async {
        let slot = Ledger::peek(context.lake().await?, &pipeline.name).await.map_err(flow::ledger_failed)?;
        flow::partition_key(pipeline, slot.as_ref())
    })
}

/// The newest version of each window that matches `what`.
fn published(context: &Context, what: &str) -> anyhow::Result<Vec<Published>> {
    let files = context.block_on(async {
        let lake = context.lake().await?;
        turnstile_lake::explain(lake, &context.pipeline().name, what).await.map_err(flow::ledger_failed)
    })?;
    let mut newest: Vec<Published> = Vec::new();
    for file in files.files {
        let FileKind::Window { start_us, version, .. } = file.file.kind else { continue };
        let same = |other: &Published| matches!(other.file.kind, FileKind::Window { start_us: s, .. } if s == start_us);
        match newest.iter_mut().find(|other| same(other)) {
            Some(other) => {
                if matches!(other.file.kind, FileKind::Window { version: v, .. } if v < version) {
                    *other = file;
                }
            }
            None => newest.push(file),
        }
    }
    if newest.is_empty() {
        return Err(Failure::new(Exit::Failed, format!("no published window matches {what:?}"))
            .hint("name a file below the lake's root, or a window's start such as 2026-08-01T08:00Z")
            .into());
    }
    Ok(newest)
}

/// Rebuilds a published window's file.
fn rebuild(context: &Context, published: &Published, to: &Path) -> anyhow::Result<ReplayedFile> {
    let entry = &published.file;
    let windows = replay(context, &entry.sources)?;
    let window =
        windows.iter().find(|w| matches!(entry.kind, FileKind::Window { start_us, .. } if start_us == w.start_us));
    let Some(window) = window else {
        return Ok(ReplayedFile { name: entry.name.clone(), rows: 0, messages: 0, same: Some(false) });
    };
    let mut bytes = flow::encode(context.pipeline(), window)?;
    if Hash::of(&bytes) != entry.sha256
        && let Some(before) = flow::encode_as_before(context.pipeline(), window)?
        && Hash::of(&before) == entry.sha256
    {
        bytes = before;
    }
    write(to, &entry.name, &bytes)?;
    Ok(ReplayedFile {
        name: entry.name.clone(),
        rows: window.rows.num_rows(),
        messages: window.messages,
        same: Some(Hash::of(&bytes) == entry.sha256),
    })
}

fn replay(context: &Context, ranges: &[OffsetRange]) -> anyhow::Result<Vec<ClosedWindow>> {
    let on_deleted = |name: &str| {
        eprintln!(
            "{name} was deleted: this replay may include messages that were rejected as late or ahead of the clock"
        );
    };
    context.block_on(flow::replay(context, ranges, on_deleted))
}

fn write(to: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = to.join(name);
    let folder = path.parent().unwrap_or(to);
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be created", folder.display()))?;
    std::fs::write(&path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}

/// `TOPIC[PARTITION]@FIRST..=LAST`.
fn parse_range(text: &str) -> Option<OffsetRange> {
    let (topic, rest) = text.split_once('[')?;
    let (partition, rest) = rest.split_once("]@")?;
    let (first, last) = rest.split_once("..=")?;
    let partition = TopicPartition::new(topic, partition.parse().ok()?);
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(OffsetRange { partition, first, last, messages: (last - first + 1) as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_as_explain_prints_it() {
        let range = parse_range("city[3]@10..=99").unwrap();
        assert_eq!(range.to_string(), "city[3]@10..=99");
        for wrong in ["city@1..=2", "city[x]@1..=2", "city[0]@5..=2", "date=2026-08-01/x.csv.gz"] {
            assert_eq!(parse_range(wrong), None, "{wrong}");
        }
    }
}
