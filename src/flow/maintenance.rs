//! Maintains the lake beside a running flow: merges the files of past days, deletes old files.
//!
//! In: a pipeline's `[lake]` settings. Out: events that say what was done. It runs as a task beside the flow, so no commit
//! waits for it; an error in it is an event and never ends the stream.

use std::time::Duration;

use tokio::task::JoinHandle;
use turnstile_lake::maintenance::{Applied, Compact, LoadedBound, MaintenancePolicy, maintain};
use turnstile_pipeline::Pipeline;
use turnstile_values::human;

use super::context::Context;
use super::event::{Event, MaintenanceRound};
use super::owner::{now_us, this_process};

/// Maintenance in the background.
pub(crate) struct Maintenance {
    task: JoinHandle<()>,
}

impl Maintenance {
    /// Starts it, unless the pipeline leaves maintenance to `turnstile lake`. The first round is one interval away.
    pub(crate) fn start(context: &Context) -> Option<Self> {
        let every_us = context.pipeline().lake.maintain_us?;
        let every = Duration::from_micros(every_us.max(0) as u64);
        let context = context.clone();
        let runtime = context.runtime().clone();
        let task = runtime.spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                round(&context).await;
            }
        });
        Some(Self { task })
    }

    /// Ends it at its next wait for the store. Dropping a round midway is like a crash: the next one continues.
    pub(crate) async fn stop(self) {
        self.task.abort();
        // It holds nothing that its panic could have left half done.
        let _ = self.task.await;
    }
}

/// One round, and what it did or met, as events.
async fn round(context: &Context) {
    let (events, started_at_us) = (context.events(), now_us());
    match once(context).await {
        Ok(applied) => {
            let windows = applied.compacted.iter().map(|object| object.parts.len() as u64).sum();
            let files = (applied.retired + applied.deleted + applied.swept) as u64;
            let round = |summary| MaintenanceRound { summary, started_at_us, ended_at_us: now_us(), windows, files };
            summary(&applied).into_iter().for_each(|text| events.emit(Event::Maintained(round(text))));
            applied.failed.iter().for_each(|error| events.note(human::error(error)));
        }
        Err(error) => {
            events.note(format!("{}; maintenance of the lake is retried later", human::error(error.as_ref())))
        }
    }
}

async fn once(context: &Context) -> anyhow::Result<Applied> {
    tracing::debug!("maintaining the lake");
    let (lake, pipeline) = (context.lake().await?, context.pipeline());
    let loaded = loaded_bounds(context).await?;
    let applied =
        maintain(lake, &pipeline.name, &maintenance_policy(pipeline), &loaded, &this_process(), |_| {}).await?;
    Ok(applied.unwrap_or_default())
}

/// What a pipeline wants of maintenance.
pub(crate) fn maintenance_policy(pipeline: &Pipeline) -> MaintenancePolicy {
    let lake = &pipeline.lake;
    MaintenancePolicy {
        compact: if lake.compact { Compact::ClosedDays } else { Compact::Off },
        // No external table reads dead letters by the names in their folder.
        letters: Compact::ClosedDays,
        retain_us: lake.retain_us,
        grace_us: Some(lake.grace_us),
        sweep_all: false,
    }
}

/// The commit up to which each configured warehouse has loaded: nothing newer is retired. A warehouse whose position
/// is not known keeps everything. An external table alone loads nothing, and so holds nothing back.
pub(crate) async fn loaded_bounds(context: &Context) -> anyhow::Result<Vec<LoadedBound>> {
    let pipeline = context.pipeline();
    if pipeline.warehouse.as_ref().is_none_or(|warehouse| warehouse.models.is_none()) {
        return Ok(Vec::new());
    }
    let embedded = turnstile_warehouse::loaded_until(context.lake().await?, &pipeline.name).await.ok();
    let mut bounds = vec![LoadedBound { target: "the embedded warehouse".to_owned(), seq: embedded }];
    match context.targets() {
        Ok(targets) => {
            for target in targets.iter() {
                let mut target = target.lock().await;
                let seq = target.position().await.ok().map(|at| at.map_or(0, |at| at.ledger_seq));
                bounds.push(LoadedBound { target: target.name().to_owned(), seq });
            }
        }
        Err(_) => bounds.push(LoadedBound { target: "a database that cannot be opened".to_owned(), seq: None }),
    }
    Ok(bounds)
}

/// One line that says what was done; none when nothing was.
pub(crate) fn summary(applied: &Applied) -> Option<String> {
    let counted = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let windows: usize = applied.compacted.iter().map(|object| object.parts.len()).sum();
    let compacted = counted(applied.compacted.len(), "compacted")
        .map(|text| format!("{text} from {}", human::plural(windows as u64, "window")));
    let commits: usize = applied.letters.iter().map(|object| object.parts.len()).sum();
    let letters = counted(applied.letters.len(), "compacted");
    let done = [
        compacted,
        letters.map(|text| format!("{text} from {commits} files of dead letters")),
        counted(applied.retired, "retired"),
        counted(applied.deleted, "deleted"),
        counted(applied.swept, "leftovers removed"),
    ];
    let done: Vec<String> = done.into_iter().flatten().collect();
    (!done.is_empty()).then(|| format!("lake: {} (files)", done.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use turnstile_lake::maintenance::{CompactedLetters, LettersPart};

    use super::*;
    use crate::flow::context::LakeAccess;
    use crate::process::Process;

    #[test]
    fn a_round_that_did_nothing_says_nothing_and_one_that_did_counts_windows_and_dead_letters_apart() {
        assert_eq!(summary(&Applied::default()), None);
        let part = LettersPart { seq: 1, rows: 2, sha256: turnstile_lake::Hash::of(b"x") };
        let (name, sha256, parts) = ("l".to_owned(), part.sha256, vec![part.clone(), part]);
        let object = CompactedLetters { name, sha256, bytes: 9, rows: 4, until_us: 0, parts };
        let applied = Applied { letters: vec![object], retired: 2, ..Applied::default() };
        assert_eq!(summary(&applied).unwrap(), "lake: 1 compacted from 2 files of dead letters, 2 retired (files)");
        let applied = Applied { retired: 12, deleted: 3, ..Applied::default() };
        assert_eq!(summary(&applied).unwrap(), "lake: 12 retired, 3 deleted (files)");
    }

    #[test]
    fn what_a_warehouse_has_not_loaded_stays() {
        let text = std::fs::read_to_string("pipelines/mta-turnstile.toml").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let set = [("lake.url".to_owned(), format!("file:{}", dir.path().display()))];
        let pipeline = Pipeline::from_str_with(&text, "mta-turnstile.toml", &set).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let process = Process::new(runtime.handle().clone());
        let context = Context::new(&process, pipeline, Path::new(""), LakeAccess::Write);
        let bounds = runtime.block_on(loaded_bounds(&context)).unwrap();
        assert_eq!(bounds, [LoadedBound { target: "the embedded warehouse".into(), seq: Some(0) }]);
        let policy = maintenance_policy(context.pipeline());
        assert_eq!(
            (policy.compact, policy.grace_us),
            (Compact::Off, Some(600_000_000)),
            "csv.gz is not compacted unasked"
        );
    }
}
