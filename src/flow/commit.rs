//! Converts a cut for the ledger: windows to files, dead letters to a file, state to blobs.

use std::collections::BTreeMap;

use turnstile_engine::{ClosedWindow, Cut, DeadLetter, StateChange};
use turnstile_lake::{
    EncodeOptions, FileEncoding, FileKind, NewFile, NewState, Slot, StateRef, describe_failed_window,
};
use turnstile_message::OffsetRange;
use turnstile_pipeline::Pipeline;

use super::event::Event;
use super::partition_key::partition_key;
use super::settings::file_format;

/// State that comes on top of what was there.
pub(super) const ADD: &str = "add";
/// State that replaces what was there.
const REPLACE: &str = "replace";

/// What else a commit holds beside the cut.
pub(crate) struct CommitContext<'a> {
    pub(crate) pipeline: &'a Pipeline,
    /// State of earlier commits, oldest first.
    pub(crate) live: &'a [StateRef],
    /// Ids of the topics, where the cluster gives them.
    pub(crate) topic_ids: &'a BTreeMap<String, String>,
    /// The commit before: the number of this one, which names its dead letters, and the key of the folders follow from it.
    pub(crate) newest: &'a Slot,
    /// The wall clock closed the windows of a quiet stream, at this time.
    pub(crate) quiet_closed_at_us: Option<i64>,
    /// The last commit of this process.
    pub(crate) released: bool,
}

/// The ledger's form of `cut`. What it keeps of `context.live` is in its `kept`.
pub(crate) fn lake_cut(cut: Cut, context: &CommitContext<'_>) -> anyhow::Result<turnstile_lake::Commit> {
    let key = partition_key(context.pipeline, Some(context.newest))?;
    let mut publish = Vec::with_capacity(cut.closed.len() + 1);
    for window in &cut.closed {
        // A window that HAVING left empty has no file. (HAVING and corrections do not go together.)
        if window.rows.num_rows() > 0 {
            publish.push(window_file(context.pipeline, &key, window)?);
        }
    }
    if !cut.dead_letters.is_empty() {
        publish.push(dead_letter_file(context, &cut.dead_letters));
    }
    let (kept, state) = match cut.state {
        StateChange::Replace { bytes } => {
            (Vec::new(), vec![NewState { kind: REPLACE.to_owned(), live_until_us: None, bytes: bytes.into() }])
        }
        StateChange::Add { bytes, live_until_us } => {
            let live_until_us = (live_until_us != i64::MAX).then_some(live_until_us);
            let new = NewState { kind: ADD.to_owned(), live_until_us, bytes: bytes.into() };
            (still_live(context.live, cut.closed_until_us), vec![new])
        }
        StateChange::Clear => (Vec::new(), Vec::new()),
        StateChange::None => (still_live(context.live, cut.closed_until_us), Vec::new()),
    };
    Ok(turnstile_lake::Commit {
        positions: cut.partitions,
        topic_ids: context.topic_ids.clone(),
        watermark_us: cut.watermark_us,
        published_until_us: (cut.published_until_us != i64::MIN).then_some(cut.published_until_us),
        quiet_closed_at_us: context.quiet_closed_at_us,
        kept,
        state,
        publish,
        failed: cut.failed,
        excluded: Some(cut.excluded),
        counters: cut.counters,
        partition_key: Some(key),
        released: context.released,
    })
}

/// What a commit means to listeners: its files, and windows that lack groups. `first_dead_letter` describes the first one.
pub(crate) fn commit_events(commit: &turnstile_lake::Commit, first_dead_letter: &str) -> Vec<Event> {
    let files = commit.publish.iter().map(|file| Event::of_file(file, first_dead_letter));
    let failed =
        commit.failed.iter().map(|window| Event::Note(format!("left out: {}", describe_failed_window(window))));
    files.chain(failed).collect()
}

/// A window's rows as the bytes of its file.
pub(crate) fn encode(pipeline: &Pipeline, window: &ClosedWindow) -> anyhow::Result<Vec<u8>> {
    encode_with(pipeline, window, EncodeOptions::default())
}

/// The bytes of a window's file as an earlier release wrote them, which stored text in Parquet as views; `None` where the
/// format was the same.
pub(crate) fn encode_as_before(pipeline: &Pipeline, window: &ClosedWindow) -> anyhow::Result<Option<Vec<u8>>> {
    let options = EncodeOptions { text_views: true, ..EncodeOptions::default() };
    let differs = file_format(pipeline) == FileEncoding::Parquet;
    differs.then(|| encode_with(pipeline, window, options)).transpose()
}

fn encode_with(pipeline: &Pipeline, window: &ClosedWindow, options: EncodeOptions) -> anyhow::Result<Vec<u8>> {
    let options = EncodeOptions { index_column: pipeline.lake.index_column, ..options };
    Ok(turnstile_lake::encode_window(file_format(pipeline), &window.rows, &options)?)
}

pub(super) fn window_file(pipeline: &Pipeline, key: &str, window: &ClosedWindow) -> anyhow::Result<NewFile> {
    let (start_us, end_us, version) = (window.start_us, window.end_us, window.version);
    Ok(NewFile {
        name: turnstile_lake::window_name(key, &pipeline.name, start_us, end_us, version, file_format(pipeline)),
        bytes: encode(pipeline, window)?.into(),
        rows: window.rows.num_rows() as u64,
        kind: FileKind::Window { start_us, end_us, version },
        sources: window.sources.clone(),
        counts: BTreeMap::from([("messages".to_owned(), window.messages)]),
    })
}

fn dead_letter_file(context: &CommitContext<'_>, letters: &[DeadLetter]) -> NewFile {
    let reasons: Vec<String> =
        letters.iter().map(|l| format!("{}: {}", l.rejection.reason, l.rejection.detail)).collect();
    let bytes = turnstile_lake::encode_dead_letters(letters.iter().zip(&reasons).map(|(letter, reason)| {
        turnstile_lake::DeadLetterRecord {
            position: letter.position.clone(),
            timestamp_ms: letter.timestamp_ms,
            reason,
            field: letter.rejection.field.as_deref(),
            key: letter.key.as_deref(),
            value: letter.value.as_deref(),
        }
    }));
    let mut sources: Vec<OffsetRange> = Vec::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for letter in letters {
        *counts.entry(letter.rejection.reason.as_str().to_owned()).or_default() += 1;
        let (partition, offset) = (&letter.position.partition, letter.position.offset);
        OffsetRange { partition: partition.clone(), first: offset, last: offset, messages: 1 }.merge_into(&mut sources);
    }
    NewFile {
        name: turnstile_lake::dead_letters_name(&context.pipeline.name, context.newest.seq + 1),
        bytes: bytes.into(),
        rows: letters.len() as u64,
        kind: FileKind::DeadLetters,
        sources,
        counts,
    }
}

fn still_live(live: &[StateRef], closed_until_us: i64) -> Vec<StateRef> {
    live.iter().filter(|state| state.live_until_us.is_none_or(|until| until > closed_until_us)).cloned().collect()
}
