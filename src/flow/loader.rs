//! Loads a pipeline's warehouse: once, or each time that its schedule says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use turnstile_delivery::{Target, TargetError};
use turnstile_pipeline::{Pipeline, Schedule};
use turnstile_warehouse::{Load, LoadOptions, Run, RunState, Warehouse, WarehouseError};

use super::now_us;
use super::targets::{list_for_bigquery, open_targets, target_failed};
use super::warehouse::{check_models, open_to_load, warehouse_failed};

/// How soon a wait notices that it is to end.
const SLICE: Duration = Duration::from_millis(100);

/// The first wait before a load that failed for now is tried again, and the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// How long a load or delivery that is under way may go on once the run is to end. Dropped in the midst, it is done again
/// by the next one.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How often a target that goes on failing in the same way is a row of `load_runs` again, so that an outage of a day does
/// not push out what is worth remembering.
const REPEAT_US: i64 = 3_600_000_000;

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
    /// Of each target that fails: how, and when that was last recorded.
    failing: HashMap<String, (String, i64)>,
}

/// A load that failed.
struct NotLoaded {
    error: anyhow::Error,
    /// The pipeline has published nothing yet, which is no fault while it runs.
    empty: bool,
}

impl From<anyhow::Error> for NotLoaded {
    fn from(error: anyhow::Error) -> Self {
        Self { error, empty: false }
    }
}

impl From<WarehouseError> for NotLoaded {
    fn from(error: WarehouseError) -> Self {
        Self { empty: matches!(error, WarehouseError::Empty { .. }), error: warehouse_failed(error) }
    }
}

impl Loader {
    /// Opens warehouse and targets. A target that cannot be reached is no error yet.
    async fn open(pipeline: &Pipeline, folder: &Path) -> anyhow::Result<Self> {
        let warehouse = open_to_load(pipeline, folder).await?;
        let targets = open_targets(pipeline)?;
        Ok(Self { pipeline: pipeline.clone(), warehouse, targets, failing: HashMap::new() })
    }

    /// Loads all that the ledger published, then brings each target to the newest load.
    ///
    /// # Errors
    /// The first failure. What was loaded before it stays; a target that fails holds no other back.
    async fn load(&mut self, options: &LoadOptions, watch: &mut (dyn FnMut(Loaded) + Send)) -> Result<(), NotLoaded> {
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
                Err(error) => return Err(error.into()),
            }
            options.full_refresh.clear();
        }
        let mut failed = None;
        if any {
            failed = list_for_bigquery(&self.pipeline, &self.warehouse).await.err();
        }
        for target in &mut self.targets {
            match deliver(&self.warehouse, target.as_mut(), &mut self.failing).await {
                Ok(Some(run)) => watch(Loaded::Delivery(run)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Brings `target` to the newest load; `None` when it was there.
async fn deliver(
    warehouse: &Warehouse,
    target: &mut dyn Target,
    failing: &mut HashMap<String, (String, i64)>,
) -> anyhow::Result<Option<Run>> {
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
    let mut from = 0;
    let applied = async {
        let at = target.position().await?;
        let Some(delivery) = warehouse.delivery(at.as_ref()).await.map_err(Undelivered::Warehouse)? else {
            return Ok(None);
        };
        from = at.map_or(0, |at| at.ledger_seq);
        let delivered = target.apply(&delivery).await?;
        Ok((!delivered.already).then_some((delivery.to.ledger_seq, delivered.rows)))
    };
    let error = match applied.await {
        Ok(done) => {
            failing.remove(&name);
            let Some((to, rows)) = done else { return Ok(None) };
            let run = record(from, to, Ok(rows));
            warehouse.record(run.clone()).await.map_err(warehouse_failed)?;
            return Ok(Some(run));
        }
        // Another process delivered at the same time.
        Err(Undelivered::Target(TargetError::Moved { .. })) => return Ok(None),
        Err(Undelivered::Warehouse(error)) => return Err(warehouse_failed(error)),
        Err(Undelivered::Target(error)) => error,
    };
    let text = super::targets::with_causes(&error);
    let known = failing.get(&name).is_some_and(|(said, at)| *said == text && now_us() - at < REPEAT_US);
    if !known {
        match warehouse.record(record(from, from, Err(text.clone()))).await {
            Ok(()) => drop(failing.insert(name, (text, now_us()))),
            Err(unrecorded) => tracing::warn!(error = %unrecorded, "a failed delivery was not recorded"),
        }
    }
    Err(target_failed(error))
}

/// Why a target has nothing new.
enum Undelivered {
    Target(TargetError),
    Warehouse(WarehouseError),
}

impl From<TargetError> for Undelivered {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

/// Loads in the background by the pipeline's schedule.
pub(crate) struct Background {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    notes: Receiver<String>,
}

impl Background {
    /// Starts to load, when the pipeline has a warehouse. What it has to say is in [`Background::notes`].
    ///
    /// # Errors
    /// A model or a target's setting is wrong: that is told before a message is read.
    pub(crate) fn start(pipeline: &Pipeline, folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(settings) = &pipeline.warehouse else { return Ok(None) };
        check_models(pipeline, folder)?;
        open_targets(pipeline)?;
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

    /// Ends after the load that is under way, if that is soon.
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
    let (mut loader, mut due_us, mut wait) = (None, 0, RETRY_FIRST);
    while !stop.load(Ordering::Relaxed) {
        let now = now_us();
        if now < due_us {
            let left = Duration::from_micros((due_us - now) as u64);
            std::thread::sleep(left.min(SLICE));
            continue;
        }
        let round = async {
            let opened = match &mut loader {
                Some(opened) => opened,
                none => {
                    let opened = none.insert(Loader::open(pipeline, folder).await?);
                    let last = opened.warehouse.runs().await?;
                    if last.last().is_some_and(|run| now < schedule.next_after(run.started_at_us)) {
                        return Ok(());
                    }
                    opened
                }
            };
            opened.load(&LoadOptions::default(), &mut |loaded| watch(Ok(loaded))).await
        };
        let loaded = runtime.block_on(async {
            tokio::select! {
                loaded = round => Some(loaded),
                () = stopped(stop) => None,
            }
        });
        due_us = schedule.next_after(now);
        match loaded {
            None => break,
            Some(Ok(())) => wait = RETRY_FIRST,
            Some(Err(failed)) if failed.empty => due_us = due_us.min(now + RETRY_FIRST.as_micros() as i64),
            Some(Err(failed)) => {
                watch(Err(format!("the warehouse was not loaded, and is tried again: {:#}", failed.error)));
                due_us = due_us.min(now_us() + wait.as_micros() as i64);
                wait = (wait * 2).min(RETRY_MOST);
            }
        }
    }
    // What a delivery that was dropped still has to say is not waited for.
    runtime.shutdown_background();
    Ok(())
}

/// Comes back a while after `stop` is set.
async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(SLICE).await;
    }
    tokio::time::sleep(STOP_GRACE).await;
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
    done.map_err(|failed: NotLoaded| failed.error)
}
