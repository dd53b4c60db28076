//! `turnstile replay`: rebuilds a published file from its messages.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use serde::Serialize;
use turnstile_engine::ClosedWindow;
use turnstile_lake::{FileKind, Hash, Ledger, Published};
use turnstile_message::{FailedWindow, OffsetRange, TopicPartition};
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
    let windows = recorded(&context, &args.what)?;
    let mut exit = Exit::Done;
    for window in &windows {
        let file = rebuild(&context, window, &args.to)?;
        file.print(args.json)?;
        if file.same == Some(false) {
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

/// A window as the ledger records it.
#[derive(Debug, Clone, PartialEq)]
struct RecordedWindow {
    start_us: i64,
    version: u32,
    /// Its file, below the lake's root.
    name: String,
    /// The file's hash; none if no group could be computed, so that nothing was published.
    sha256: Option<Hash>,
    sources: Vec<OffsetRange>,
}

/// The newest version of each window that matches `what`.
fn recorded(context: &Context, what: &str) -> anyhow::Result<Vec<RecordedWindow>> {
    let pipeline = context.pipeline();
    let explained = context.block_on(async {
        let lake = context.lake().await?;
        turnstile_lake::explain(lake, &pipeline.name, what).await.map_err(flow::ledger_failed)
    })?;
    let published = explained.files.into_iter().filter_map(|Published { file, .. }| match file.kind {
        FileKind::Window { start_us, version, .. } => Some(RecordedWindow {
            start_us,
            version,
            name: file.name,
            sha256: Some(file.sha256),
            sources: file.sources,
        }),
        FileKind::DeadLetters => None,
    });
    let (key, format) = (key(context)?, flow::file_format(pipeline));
    let without_file = explained.failed.into_iter().map(|failed| {
        let FailedWindow { start_us, end_us, version, sources, .. } = failed;
        let name = turnstile_lake::window_name(&key, &pipeline.name, start_us, end_us, version, format);
        RecordedWindow { start_us, version, name, sha256: None, sources }
    });
    let newest = newest(published.chain(without_file));
    if newest.is_empty() {
        return Err(Failure::new(Exit::Failed, format!("no published window matches {what:?}"))
            .hint("name a file below the lake's root, or a window's start such as 2026-08-01T08:00Z")
            .into());
    }
    Ok(newest)
}

/// One of each window: the highest version, and of one version the first.
fn newest(windows: impl Iterator<Item = RecordedWindow>) -> Vec<RecordedWindow> {
    let mut newest: Vec<RecordedWindow> = Vec::new();
    for window in windows {
        match newest.iter_mut().find(|other| other.start_us == window.start_us) {
            Some(other) if other.version < window.version => *other = window,
            Some(_) => {}
            None => newest.push(window),
        }
    }
    newest
}

/// Rebuilds a window's file.
fn rebuild(context: &Context, recorded: &RecordedWindow, to: &Path) -> anyhow::Result<ReplayedFile> {
    let windows = replay(context, &recorded.sources)?;
    let name = recorded.name.clone();
    let Some(window) = windows.iter().find(|window| window.start_us == recorded.start_us) else {
        return Ok(ReplayedFile { name, rows: 0, messages: 0, same: Some(false) });
    };
    let mut bytes = flow::encode(context.pipeline(), window)?;
    let is_same = |bytes: &[u8]| recorded.sha256.map(|sha256| Hash::of(bytes) == sha256);
    if is_same(&bytes) == Some(false)
        && let Some(before) = flow::encode_as_before(context.pipeline(), window)?
        && is_same(&before) == Some(true)
    {
        bytes = before;
    }
    write(to, &name, &bytes)?;
    let same = is_same(&bytes);
    Ok(ReplayedFile { name, rows: window.rows.num_rows(), messages: window.messages, same })
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
    fn the_newest_version_of_a_window_is_rebuilt_and_its_file_before_what_it_lacks() {
        let window = |start_us, version, published: bool| RecordedWindow {
            start_us,
            version,
            name: String::new(),
            sha256: published.then(|| Hash::of(b"")),
            sources: Vec::new(),
        };
        let all = [window(0, 1, true), window(0, 2, true), window(0, 2, false), window(5, 1, false)];
        assert_eq!(newest(all.into_iter()), [window(0, 2, true), window(5, 1, false)]);
    }

    #[test]
    fn a_range_is_written_as_explain_prints_it() {
        let range = parse_range("city[3]@10..=99").unwrap();
        assert_eq!(range.to_string(), "city[3]@10..=99");
        for wrong in ["city@1..=2", "city[x]@1..=2", "city[0]@5..=2", "date=2026-08-01/x.csv.gz"] {
            assert_eq!(parse_range(wrong), None, "{wrong}");
        }
    }
}
