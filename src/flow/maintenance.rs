//! Maintains the lake beside a running flow: days that are over into one file, old files away.
//!
//! In: a pipeline's `[lake]` settings. Out: notes for whoever watches. It has a thread and a runtime of its own, so no
//! commit waits for it; a fault in it is a note, never the stream's end.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use turnstile_lake::Lake;
use turnstile_lake::maintenance::{Applied, Compact, LoadedBound, MaintenanceError, Wishes, maintain};
use turnstile_pipeline::Pipeline;

use super::fault::ledger_failed;
use super::owner::this_process;
use super::start::store_options;
use super::targets::open_targets;
use crate::exit::Exit;
use crate::report::Failure;

/// Notes that wait to be taken, at most: what does not fit is left out.
const NOTES: usize = 64;

/// Maintenance in the background.
pub(crate) struct Maintenance {
    stop: watch::Sender<bool>,
    notes: Receiver<String>,
    thread: JoinHandle<()>,
}

impl Maintenance {
    /// Starts it, unless the pipeline leaves maintenance to `turnstile lake`. The first round is one interval away.
    pub(crate) fn start(pipeline: &Pipeline) -> anyhow::Result<Option<Self>> {
        let Some(every_us) = pipeline.lake.maintain_us else { return Ok(None) };
        let every = Duration::from_micros(every_us.max(0) as u64);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, mut stopped) = watch::channel(false);
        let (say, notes) = sync_channel(NOTES);
        let pipeline = pipeline.clone();
        let work = move || {
            runtime.block_on(async {
                loop {
                    // A round that is dropped midway is one that crashed: the next one goes on.
                    tokio::select! {
                        _ = stopped.changed() => return,
                        () = async {
                            tokio::time::sleep(every).await;
                            round(&pipeline, &say).await;
                        } => {}
                    }
                }
            });
        };
        let thread = std::thread::Builder::new().name("maintenance".to_owned()).spawn(work)?;
        Ok(Some(Self { stop, notes, thread }))
    }

    /// What there is to say since the last time.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.notes.try_iter()
    }

    /// Ends it at its next wait for the store.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(true);
        // It holds nothing that its panic could have left half done.
        let _ = self.thread.join();
    }
}

/// One round, and what it did or met, as notes.
async fn round(pipeline: &Pipeline, say: &SyncSender<String>) {
    let notes = match once(pipeline).await {
        Ok(applied) => summary(&applied).into_iter().chain(applied.failed.iter().map(note)).collect(),
        Err(error) => vec![format!("{error:#}; maintenance of the lake is tried again later")],
    };
    for text in notes {
        // Nobody has listened for many rounds; the next ones will tell.
        let _ = say.try_send(text);
    }
}

async fn once(pipeline: &Pipeline) -> anyhow::Result<Applied> {
    // The flow has opened the lake for writing, and has found that it honours create-if-absent.
    let lake = Lake::open_for_reading(&pipeline.lake.url, &store_options(pipeline)).await?;
    let loaded = loaded_bounds(pipeline, &lake).await;
    let applied = maintain(&lake, &pipeline.name, &wishes(pipeline), &loaded, &this_process(), |_| {}).await?;
    Ok(applied.unwrap_or_default())
}

/// What a pipeline wants of maintenance.
pub(crate) fn wishes(pipeline: &Pipeline) -> Wishes {
    let lake = &pipeline.lake;
    Wishes {
        compact: if lake.compact { Compact::Settled } else { Compact::Off },
        retain_us: lake.retain_us,
        grace_us: Some(lake.grace_us),
        sweep_all: false,
    }
}

/// The commit up to which each configured warehouse has loaded: nothing newer is retired. A warehouse whose position
/// is not known keeps everything. An external table alone loads nothing, and so holds nothing back.
pub(crate) async fn loaded_bounds(pipeline: &Pipeline, lake: &Lake) -> Vec<LoadedBound> {
    if pipeline.warehouse.as_ref().is_none_or(|warehouse| warehouse.models.is_none()) {
        return Vec::new();
    }
    let embedded = turnstile_warehouse::loaded_until(lake, &pipeline.name).await.ok();
    let mut bounds = vec![LoadedBound { target: "the embedded warehouse".to_owned(), seq: embedded }];
    match open_targets(pipeline) {
        Ok(targets) => {
            for mut target in targets {
                let at = target.position().await;
                let seq = at.ok().map(|at| at.map_or(0, |at| at.ledger_seq));
                bounds.push(LoadedBound { target: target.name().to_owned(), seq });
            }
        }
        Err(_) => bounds.push(LoadedBound { target: "a database that cannot be opened".to_owned(), seq: None }),
    }
    bounds
}

/// One line that says what was done; none when nothing was.
pub(crate) fn summary(applied: &Applied) -> Option<String> {
    let counted = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let windows: usize = applied.compacted.iter().map(|object| object.parts.len()).sum();
    let compacted = counted(applied.compacted.len(), "compacted").map(|text| format!("{text} from {windows} windows"));
    let done = [
        compacted,
        counted(applied.retired, "retired"),
        counted(applied.deleted, "deleted"),
        counted(applied.swept, "leftovers removed"),
    ];
    let done: Vec<String> = done.into_iter().flatten().collect();
    (!done.is_empty()).then(|| format!("lake: {} (files)", done.join(", ")))
}

fn note(error: &MaintenanceError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Maintenance did not come to its end.
pub(crate) fn maintenance_failed(error: MaintenanceError) -> anyhow::Error {
    let hint = error.hint();
    let exit = match error {
        MaintenanceError::Ledger(error) => return ledger_failed(error),
        MaintenanceError::Changed { .. } => Exit::Difference,
        MaintenanceError::Rows { .. } => Exit::Failed,
    };
    let mut failure = Failure::new(exit, error.to_string());
    if let Some(cause) = std::error::Error::source(&error) {
        failure = failure.cause(anyhow::anyhow!(cause.to_string()));
    }
    match hint {
        Some(hint) => failure.hint(hint).into(),
        None => failure.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_did_nothing_says_nothing() {
        assert_eq!(summary(&Applied::default()), None);
        let applied = Applied { retired: 12, deleted: 3, ..Applied::default() };
        assert_eq!(summary(&applied).unwrap(), "lake: 12 retired, 3 deleted (files)");
    }

    #[test]
    fn what_a_warehouse_has_not_loaded_stays() {
        let text = std::fs::read_to_string("pipelines/mta-turnstile.toml").unwrap();
        let pipeline = Pipeline::from_str_with(&text, "mta-turnstile.toml", &[]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bounds = runtime.block_on(async {
            let lake = Lake::open("memory:", &Default::default()).await.unwrap();
            loaded_bounds(&pipeline, &lake).await
        });
        assert_eq!(bounds, [LoadedBound { target: "the embedded warehouse".into(), seq: Some(0) }]);
        let wishes = wishes(&pipeline);
        assert_eq!(
            (wishes.compact, wishes.grace_us),
            (Compact::Off, Some(600_000_000)),
            "csv.gz is not compacted unasked"
        );
    }
}
