//! Reports a tracker's runs to Prefect: takes its changes to the spool, from where they are delivered.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use uuid::Uuid;

use super::client::PrefectClient;
use super::deliver::PrefectDelivery;
use super::error::PrefectError;
use super::reporter_state::{ReporterState, ReporterStats};
use super::send::PrefectSender;
use super::server_runs::ServerRuns;
use super::settings::PrefectSettings;
use super::spool::ReportSpool;
use crate::change::RunChange;
use crate::tracker::{CHANGE_CAPACITY, ChangeStream, TrackerBuilder};

/// Changes that go to the spool together.
const BATCH: usize = 512;

/// Reports runs until the tracker ends.
#[derive(Debug)]
pub struct PrefectReporter {
    shared: Arc<ReporterState>,
    intake: JoinHandle<()>,
    delivery: JoinHandle<()>,
}

impl PrefectReporter {
    /// Reports the run of `tracker`, after what earlier processes left in the spool. Sends nothing before the run begins.
    ///
    /// # Errors
    /// `Settings`: the address or the spool's folder cannot be used; the run goes on without Prefect.
    pub fn attach(tracker: &mut TrackerBuilder, settings: PrefectSettings) -> Result<Self, PrefectError> {
        let client = PrefectClient::new(&settings)?;
        let spool = ReportSpool::open(&settings.spool, settings.spool_bytes).map_err(|e| {
            PrefectError::Settings(format!("the spool {} cannot be used: {e}", settings.spool.display()))
        })?;
        let shared = Arc::new(ReporterState::new(spool, settings.spool.display().to_string()));
        let runs = ServerRuns::default();
        let sender = PrefectSender { client, settings, runs, current: None, cancelled_there: false };
        let delivery = PrefectDelivery::new(Arc::clone(&shared), sender, tracker.cancel_signal());
        let run = tracker.run().id;
        let intake =
            Intake { stream: tracker.listen(CHANGE_CAPACITY), shared: Arc::clone(&shared), run, begun: HashMap::new() };
        let no_thread = |e: std::io::Error| PrefectError::Settings(format!("no thread: {e}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let delivery = thread("prefect").spawn(move || runtime.block_on(delivery.run())).map_err(no_thread)?;
        let intake = thread("prefect spool").spawn(move || intake.run()).map_err(no_thread)?;
        Ok(Self { shared, intake, delivery })
    }

    /// What was done so far.
    pub fn stats(&self) -> ReporterStats {
        self.shared.stats()
    }

    /// Waits until everything is delivered, after the tracker has ended, for as long as the settings allow. What is left
    /// is delivered at the next start.
    pub fn join(self) -> ReporterStats {
        // A panic was reported by the panic hook.
        let _ = self.intake.join();
        let _ = self.delivery.join();
        self.shared.stats()
    }
}

struct Intake {
    stream: ChangeStream,
    shared: Arc<ReporterState>,
    run: Uuid,
    /// Tasks that go on, with their retries when that was last reported.
    begun: HashMap<Uuid, u32>,
}

impl Intake {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(first) = self.stream.blocking_next() {
            let mut next = Some(first);
            while let Some(change) = next {
                if self.is_news(&change) {
                    batch.push(change);
                }
                next = if batch.len() < BATCH { self.stream.try_next() } else { None };
            }
            let dropped = self.stream.take_dropped();
            self.shared.count_dropped(dropped);
            let mut spool = self.shared.spool.lock();
            spool.append(&batch);
            self.shared.set_spool_state(spool.bytes(), spool.dropped());
            drop(spool);
            batch.clear();
        }
        self.shared.end();
    }

    /// Whether Prefect should know. It does not show counts of a task that goes on.
    fn is_news(&mut self, change: &RunChange) -> bool {
        match change {
            RunChange::Flow(run) => {
                if run.id == self.run {
                    *self.shared.current.lock() = Some(run.clone());
                }
                true
            }
            RunChange::Task(task) if task.state.is_final() => {
                self.begun.remove(&task.id);
                true
            }
            RunChange::Task(task) => self.begun.insert(task.id, task.retries) != Some(task.retries),
            RunChange::Log(_) | RunChange::Window(_) => true,
            RunChange::Seen { .. } => false,
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // However it ends, the delivery must not wait for it.
        self.shared.end();
    }
}
