//! Loads a pipeline's warehouse: once, or on its schedule.
//!
//! In: what the ledger published. Out: tables and targets at a newer position; a [`Loaded`] event for each step. A
//! failure is an event and is retried; it never ends the stream.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use turnstile_delivery::{Target, TargetError};
use turnstile_pipeline::LoadSchedule;
use turnstile_values::{HOUR_US, RetryPolicy, human};
use turnstile_warehouse::{EMBEDDED, LoadOptions, LoadRun, LoadRunState, Warehouse, WarehouseError};

use super::bigquery_tables::list_for_bigquery;
use super::context::Context;
use super::event::Event;
use super::fault::warehouse_failed;
use super::loaded::Loaded;
use super::models::models;
use super::owner::now_us;
use super::targets::target_failed;

/// When a load that failed is tried again.
const RETRIES: RetryPolicy = RetryPolicy::new(Duration::from_secs(1), Duration::from_secs(60));

/// How long a load or delivery that is under way may go on once the run is to end. Dropped in the midst, it is done again
/// by the next one.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How often a target that keeps failing with the same error is recorded again in `load_runs`, so that an outage of a
/// day does not push out what is worth remembering.
const REPEAT_US: i64 = HOUR_US;

/// Loads a context's warehouse and brings its targets up to it.
struct Loader {
    context: Context,
    /// Of each target that fails: how, and when that was last recorded.
    failing: HashMap<String, (String, i64)>,
}

/// A load that failed.
struct NotLoaded {
    error: anyhow::Error,
    /// The pipeline has published nothing yet, which is no fault while it runs.
    empty: bool,
    /// What was loaded.
    target: String,
}

impl From<anyhow::Error> for NotLoaded {
    fn from(error: anyhow::Error) -> Self {
        Self { error, empty: false, target: EMBEDDED.to_owned() }
    }
}

impl From<WarehouseError> for NotLoaded {
    fn from(error: WarehouseError) -> Self {
        let empty = matches!(error, WarehouseError::Empty { .. });
        Self { empty, ..Self::from(warehouse_failed(error)) }
    }
}

impl Loader {
    fn new(context: &Context) -> Self {
        Self { context: context.clone(), failing: HashMap::new() }
    }

    /// Loads all that the ledger published, then brings each target to the newest load.
    ///
    /// # Errors
    /// The first failure. What was loaded before it stays; a target that fails holds no other back.
    async fn load(&mut self, options: &LoadOptions) -> Result<(), NotLoaded> {
        let warehouse = self.context.warehouse().await?;
        tracing::debug!(full_refresh = ?options.full_refresh, "loading the warehouse");
        let (mut options, mut any) = (options.clone(), false);
        loop {
            match warehouse.load(&options).await {
                Ok(Some(load)) => {
                    let more = load.more;
                    any = true;
                    let LoadRun { load: number, from_seq, to_seq, windows, rows_out, .. } = &load.run;
                    tracing::debug!(load = number, from_seq, to_seq, windows, rows_out, more, "loaded");
                    self.context.events().emit(Event::Loaded(Loaded::Load(load)));
                    if !more {
                        break;
                    }
                }
                // Another scheduler was faster: what is left, and what was asked to be rebuilt, is ours.
                Err(WarehouseError::Moved) => continue,
                Ok(None) => break,
                Err(error) => return Err(error.into()),
            }
            options.full_refresh.clear();
        }
        let mut failed = None;
        if any {
            failed = list_for_bigquery(&self.context).await.err().map(NotLoaded::from);
        }
        for target in self.context.targets()?.iter() {
            let mut target = target.lock().await;
            match deliver(warehouse, &mut *target, &mut self.failing).await {
                Ok(Some(run)) => {
                    tracing::debug!(target_name = run.target, to_seq = run.to_seq, rows = run.rows_out, "delivered");
                    self.context.events().emit(Event::Loaded(Loaded::Delivery(run)));
                }
                Ok(None) => {}
                Err(error) => {
                    let target = target.name().to_owned();
                    failed = failed.or(Some(NotLoaded { target, ..NotLoaded::from(error) }));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Brings `target` to the newest load; `None` when it was there.
async fn deliver(
    warehouse: &Warehouse,
    target: &mut dyn Target,
    failing: &mut HashMap<String, (String, i64)>,
) -> anyhow::Result<Option<LoadRun>> {
    let started_at_us = now_us();
    let name = target.name().to_owned();
    let record = |from_seq, to_seq, ended: Result<u64, String>| LoadRun {
        load: 0,
        target: name.clone(),
        state: if ended.is_ok() { LoadRunState::Succeeded } else { LoadRunState::Failed },
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
    let text = human::error(&error);
    let known = failing.get(&name).is_some_and(|(said, at)| *said == text && now_us() - at < REPEAT_US);
    if !known {
        match warehouse.record(record(from, from, Err(text.clone()))).await {
            Ok(()) => drop(failing.insert(name, (text, now_us()))),
            Err(unrecorded) => tracing::warn!(error = human::error(&unrecorded), "a failed delivery was not recorded"),
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
pub(crate) struct BackgroundLoads {
    task: JoinHandle<()>,
}

impl BackgroundLoads {
    /// Starts to load, when the pipeline has a warehouse. What happens goes to the context's events.
    ///
    /// # Errors
    /// A model or a target's setting is wrong: that is found before a message is read.
    pub(crate) fn start(context: &Context) -> anyhow::Result<Option<Self>> {
        let Some(settings) = &context.pipeline().warehouse else { return Ok(None) };
        models(context)?;
        context.targets()?;
        let (context, schedule) = (context.clone(), settings.schedule.clone());
        let runtime = context.runtime().clone();
        let task = runtime.spawn(async move { load_on_schedule(&context, &schedule).await });
        Ok(Some(Self { task }))
    }

    /// Waits until it has ended: shortly after shutdown, a load that is under way included if that is soon.
    pub(crate) async fn stopped(self) {
        // A panic there has been printed; the pipeline itself is not its matter.
        let _ = self.task.await;
    }
}

/// Loads whenever `schedule` says, until shutdown. A time that passed while nothing was loading is caught up once, at the
/// start. Failures that may pass are tried again, others wait for the next time; each is an event.
pub(crate) async fn load_on_schedule(context: &Context, schedule: &LoadSchedule) {
    let mut loader = Loader::new(context);
    let (mut due_us, mut waits, mut first) = (0, RETRIES.waits(), true);
    loop {
        let left = Duration::from_micros((due_us - now_us()).max(0) as u64);
        tokio::select! {
            () = context.shutdown().cancelled() => return,
            () = tokio::time::sleep(left) => {}
        }
        let now = now_us();
        let round = async {
            if std::mem::take(&mut first) && !is_missed(context, schedule, now).await.inspect_err(|_| first = true)? {
                return Ok(());
            }
            loader.load(&LoadOptions::default()).await
        };
        let loaded = tokio::select! {
            loaded = round => loaded,
            () = shutdown_grace(context) => return,
        };
        due_us = schedule.next_after(now);
        match loaded {
            Ok(()) => waits.reset(),
            Err(failed) if failed.empty => due_us = due_us.min(now + RETRIES.first_wait.as_micros() as i64),
            Err(failed) => {
                let why = human::error(failed.error.as_ref());
                context.events().emit(Event::NotLoaded { target: failed.target, error: why });
                due_us = waits.next().map_or(due_us, |wait| due_us.min(now_us() + wait.as_micros() as i64));
            }
        }
    }
}

/// Whether a time of `schedule` has passed since the last load.
async fn is_missed(context: &Context, schedule: &LoadSchedule, now_us: i64) -> Result<bool, NotLoaded> {
    let runs = context.warehouse().await?.runs().await?;
    Ok(runs.last().is_none_or(|run| now_us >= schedule.next_after(run.started_at_us)))
}

/// Comes back a while after shutdown began.
async fn shutdown_grace(context: &Context) {
    context.shutdown().cancelled().await;
    tokio::time::sleep(STOP_GRACE).await;
}

/// Loads once what is there, for a verb that ends.
pub(crate) async fn load_once(context: &Context, options: &LoadOptions) -> anyhow::Result<()> {
    Loader::new(context).load(options).await.map_err(|failed| failed.error)
}
