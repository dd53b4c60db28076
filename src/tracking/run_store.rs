//! The store of a pipeline's runs: where it is, and how it is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use turnstile_track::{RetentionLimits, RunFilter, RunState, RunStore, RunStoreError, StoreWriter, TrackerBuilder};
use turnstile_values::human;

use crate::exit::Exit;
use crate::flow::{self, Context};
use crate::report::{Failure, warn};

/// The folder beside the pipeline file.
const DATA: &str = "turnstile-data";

/// Among how many of the newest runs the one before is looked for.
const PREVIOUS_RUNS: u64 = 50;

/// Where the runs of a context's pipeline are kept; `None`: nowhere.
pub(crate) fn store_path(context: &Context) -> Option<PathBuf> {
    context.pipeline().track.store.as_ref().map(|store| context.folder().join(store))
}

/// Where what belongs to the pipeline's runs is kept: beside the store, or where that would be.
pub(super) fn data_folder(context: &Context) -> PathBuf {
    let store = store_path(context).unwrap_or_else(|| context.folder().join(DATA).join("runs"));
    store.parent().map(Path::to_owned).unwrap_or_default()
}

/// Keeps the run of `builder` in the store, if the pipeline has one and it can be opened.
pub(super) fn attach(context: &Context, builder: &mut TrackerBuilder) -> Option<StoreWriter> {
    let path = store_path(context)?;
    let track = &context.pipeline().track;
    let limits = RetentionLimits {
        max_age: Duration::from_micros(track.retain_us.max(0) as u64),
        max_runs: track.runs,
        max_log_lines_per_run: track.log_lines,
        ..RetentionLimits::default()
    };
    let attached = StoreWriter::attach(builder, &path, &limits, flow::process_is_alive);
    attached.map_err(|error| warn(&format!("runs are not kept: {}", human::error(&error)))).ok()
}

/// The store, to read it.
///
/// # Errors
/// There is none yet, or it cannot be read.
pub(crate) fn open_to_read(context: &Context) -> anyhow::Result<RunStore> {
    RunStore::open_read_only(&path_of(context)?).map_err(failed)
}

/// The store, to ask a run to end.
///
/// # Errors
/// There is none yet, or it cannot be written.
pub(crate) fn open_to_write(context: &Context) -> anyhow::Result<RunStore> {
    let path = path_of(context)?;
    if !path.exists() {
        return Err(failed(RunStoreError::Missing { path }));
    }
    RunStore::open(&path, &RetentionLimits::default()).map_err(failed)
}

/// How the run before this one failed.
pub(super) struct PreviousFailure {
    /// When it ended, or was seen last, microseconds since the epoch, UTC.
    pub(super) at_us: i64,
    /// Why, in one line.
    pub(super) error: String,
    /// Whether it could still tell so itself.
    pub(super) reported: bool,
}

/// How the pipeline's newest run in the store failed, if it did: to be asked once crashed runs are marked, and before the run
/// that begins is stored.
pub(super) fn previous_failure(context: &Context) -> Option<PreviousFailure> {
    let store = RunStore::open_read_only(&store_path(context)?).ok()?;
    let pipeline = context.pipeline();
    let filter = RunFilter { pipeline: Some(pipeline.name.clone()), ..RunFilter::default() };
    // Runs that only move messages are kept with the pipeline's.
    let runs = store.runs(&filter, PREVIOUS_RUNS).ok()?;
    let before = runs.into_iter().find(|run| run.flow == pipeline.track.flow)?;
    if !matches!(before.state, RunState::Failed | RunState::Crashed) {
        return None;
    }
    Some(PreviousFailure {
        at_us: before.ended_at_us.unwrap_or(before.seen_at_us),
        error: before.message.unwrap_or_else(|| "its process ended without a word".to_owned()),
        reported: before.state == RunState::Failed,
    })
}

fn path_of(context: &Context) -> anyhow::Result<PathBuf> {
    store_path(context).ok_or_else(|| {
        let fact = format!("runs of {} are not kept: `[track] store` is \"off\"", context.pipeline().name);
        Failure::new(Exit::Config, fact).into()
    })
}

fn failed(error: RunStoreError) -> anyhow::Error {
    let hint = match &error {
        RunStoreError::Missing { .. } => "`turnstile run` and `turnstile up` keep their runs there",
        _ => "",
    };
    Failure::of(Exit::Failed, error).hint(hint).into()
}
