//! Loads a pipeline's warehouse: once, or each time that its schedule says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use delivery::{Target, TargetError};
use pipeline::{Pipeline, Schedule};
use warehouse::{Load, LoadOptions, Run, RunState, Warehouse, WarehouseError};

use super::now_us;
use super::targets::{list_for_bigquery, open_targets, target_failed};
use super::warehouse::{open_to_load, warehouse_failed};

/// How soon a wait notices that it is to end.
const SLICE: Duration = Duration::from_millis(100);

/// The first wait before a load that failed for now is tried again, and the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// Notes that wait to be shown; later ones are dropped.
const NOTES: usize = 64;

/// What happened in one round.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// A load of the embedded warehouse.
    Load(Load),
    /// A delivery to another database.
    Delivery(Run),
}

/// A warehouse with its targets.
pub(crate) struct Loader {
    pipeline: Pipeline,
    warehouse: Warehouse,
    targets: Vec<Box<dyn Target>>,
}

impl Loader {
    /// Opens warehouse and targets. A target that cannot be reached is no error yet.
    pub(crate) async fn open(pipeline: &Pipeline, folder: &Path) -> anyhow::Result<Self> {
        let warehouse = open_to_load(pipeline, folder).await?;
        Ok(Self { pipeline: pipeline.clone(), warehouse, targets: open_targets(pipeline)? })
    }

    /// Loads all that the ledger published, then brings each target to the newest load.
    ///
    /// # Errors
    /// The first failure. What was loaded before it stays; a target that fails holds no other back.
    pub(crate) async fn load(
        &mut self,
        options: &LoadOptions,
        watch: &mut (dyn FnMut(Loaded) + Send),
    ) -> anyhow::Result<()> {
        let (mut options, mut any) = (options.clone(), false);
        loop {
            match self.warehouse.load(&options).await {
                Ok(Some(load)) => {
                    let more = load.more;
                    any = true;
                    watch(Loaded::Load(load));
                    if !more {
                        break;
                    }
                }
                // Another scheduler was faster: what is left, and what was asked to be made anew, is ours.
                Err(WarehouseError::Moved) => continue,
                Ok(None) => break,
                Err(error) => return Err(warehouse_failed(error)),
            }
            options.full_refresh.clear();
        }
        let mut failed = None;
        if any {
            failed = list_for_bigquery(&self.pipeline, &self.warehouse).await.err();
        }
        for target in &mut self.targets {
            match deliver(&self.warehouse, target.as_mut()).await {
                Ok(Some(run)) => watch(Loaded::Delivery(run)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Brings `target` to the newest load; `None` when it was there.
async fn deliver(warehouse: &Warehouse, target: &mut dyn Target) -> anyhow::Result<Option<Run>> {
    let started_at_us = now_us();
    let name = target.name().to_owned();
    let record = |from_seq, to_seq, ended: Result<u64, String>| Run {
        load: 0,
        target: name.clone(),
        state: if ended.is_ok() { RunState::Succeeded } else { RunState::Failed },
        started_at_us,
        ended_at_us: now_us(),
        from_seq,
        to_seq,
        windows: 0,
        rows_in: 0,
        rows_out: *ended.as_ref().unwrap_or(&0),
        tests_passed: 0,
        tests_failed: 0,
        error: ended.err(),
    };
    let at = target.position().await.map_err(target_failed)?;
    let Some(delivery) = warehouse.delivery(at.as_ref()).await.map_err(warehouse_failed)? else { return Ok(None) };
    let (from, to) = (at.map_or(0, |at| at.ledger_seq), delivery.to.ledger_seq);
    let run = match target.apply(&delivery).await {
        Ok(delivered) if delivered.already => return Ok(None),
        Ok(delivered) => record(from, to, Ok(delivered.rows)),
        // Another process delivered at the same time.
        Err(TargetError::Moved { .. }) => return Ok(None),
        Err(error) => {
            let text = super::targets::with_causes(&error);
            // A target that is away for an hour is one row a minute in load_runs, and no stream stands still.
            if let Err(unrecorded) = warehouse.record(record(from, from, Err(text))).await {
                tracing::warn!(error = %unrecorded, "a failed delivery was not recorded");
            }
            return Err(target_failed(error));
        }
    };
    warehouse.record(run.clone()).await.map_err(warehouse_failed)?;
    Ok(Some(run))
}

/// Loads in the background by the pipeline's schedule.
pub(crate) struct Background {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    notes: Receiver<String>,
}

impl Background {
    /// Starts to load, when the pipeline has a warehouse. What it has to say is in [`Background::notes`].
    pub(crate) fn start(pipeline: &Pipeline, folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(settings) = &pipeline.warehouse else { return Ok(None) };
        let stop = Arc::new(AtomicBool::new(false));
        let (send, notes) = sync_channel(NOTES);
        let (pipeline, schedule) = (pipeline.clone(), settings.schedule.clone());
        let (folder, stopped): (PathBuf, _) = (folder.to_owned(), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("warehouse".to_owned()).spawn(move || {
            let say = |note: String| {
                // Nobody reads fast enough: the runs are in load_runs.
                let _ = send.try_send(note);
            };
            if let Err(error) = watch(&pipeline, &folder, &schedule, &stopped, &mut |loaded| say(describe(&loaded))) {
                say(format!("the warehouse is not loaded: {error:#}"));
            }
        })?;
        Ok(Some(Self { thread, stop, notes }))
    }

    /// What happened since the last call.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.try_iter().collect()
    }

    /// Ends after the load that is under way.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic there has been printed; the pipeline itself is not its matter.
        let _ = self.thread.join();
    }
}

/// Loads whenever `schedule` says, until `stop`. A time that passed while nobody loaded is caught up once, at the
/// start. Failures that may pass are tried again, others are told and wait for the next time.
pub(crate) fn watch(
    pipeline: &Pipeline,
    folder: &Path,
    schedule: &Schedule,
    stop: &AtomicBool,
    watch: &mut (dyn FnMut(Result<Loaded, String>) + Send),
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut loader = runtime.block_on(Loader::open(pipeline, folder))?;
    let last = runtime.block_on(loader.warehouse.runs()).map_err(warehouse_failed)?;
    let mut due_us = last.last().map_or(0, |run| schedule.next_after(run.started_at_us));
    let mut wait = RETRY_FIRST;
    while !stop.load(Ordering::Relaxed) {
        let now = now_us();
        if now < due_us {
            let left = Duration::from_micros((due_us - now) as u64);
            std::thread::sleep(left.min(SLICE));
            continue;
        }
        due_us = schedule.next_after(now);
        let loaded = runtime.block_on(loader.load(&LoadOptions::default(), &mut |loaded| watch(Ok(loaded))));
        match loaded {
            Ok(()) => wait = RETRY_FIRST,
            Err(error) if is_empty(&error) => due_us = due_us.min(now + RETRY_FIRST.as_micros() as i64),
            Err(error) => {
                watch(Err(format!("the warehouse was not loaded, and is tried again: {error:#}")));
                due_us = due_us.min(now_us() + wait.as_micros() as i64).max(now_us() + 1);
                wait = (wait * 2).min(RETRY_MOST);
            }
        }
    }
    Ok(())
}

/// A pipeline that has published nothing yet is no fault.
fn is_empty(error: &anyhow::Error) -> bool {
    error.to_string().contains("holds nothing of pipeline")
}

fn describe(loaded: &Result<Loaded, String>) -> String {
    match loaded {
        Ok(Loaded::Load(load)) => format!(
            "loaded {} windows, {} rows, up to commit {}, {} tests passed",
            load.run.windows, load.run.rows_out, load.run.to_seq, load.run.tests_passed
        ),
        Ok(Loaded::Delivery(run)) => {
            format!("delivered {} rows to {}, up to commit {}", run.rows_out, run.target, run.to_seq)
        }
        Err(error) => error.clone(),
    }
}

/// Loads once what is there, for a run that ends.
pub(crate) fn load_once(
    pipeline: &Pipeline,
    folder: &Path,
    options: &LoadOptions,
    watch: &mut (dyn FnMut(Loaded) + Send),
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let began = Instant::now();
    let done = runtime.block_on(async { Loader::open(pipeline, folder).await?.load(options, watch).await });
    tracing::debug!(took = ?began.elapsed(), "loaded");
    done
}
