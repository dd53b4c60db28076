//! What listens to a pipeline that runs: tracking, and the console.

use std::sync::Arc;
use std::thread::JoinHandle;

use turnstile_console::{ConsoleProbes, ConsoleServer};
use turnstile_track::METRICS_CONTENT_TYPE;
use turnstile_values::human;

use crate::console::{LiveView, PipelineConsole, PipelineFileText, PipelineSource, serve};
use crate::flow::{self, Context, PortChoice};
use crate::tracking::Tracking;

/// Events that wait for the console at most.
const EVENTS: usize = 8_192;

/// Listeners of one run.
pub(super) struct Listeners {
    tracking: Tracking,
    live: Arc<LiveView>,
    follower: Option<JoinHandle<()>>,
    console: Option<ConsoleServer>,
}

impl Listeners {
    /// Starts them, before the flow. `file` is what the pipeline was read from.
    ///
    /// # Errors
    /// The console cannot be served as its settings say.
    pub(super) fn start(context: &Context, choice: PortChoice, file: Option<PipelineFileText>) -> anyhow::Result<Self> {
        let mut tracking = Tracking::start(context);
        let live = LiveView::starting();
        let (events, following) = (context.events().subscribe(EVENTS), Arc::clone(&live));
        let follower =
            std::thread::Builder::new().name("console".to_owned()).spawn(move || following.follow(events))?;
        if let Some(mut alerts) = tracking.take_alerts() {
            let live = Arc::clone(&live);
            context.runtime().spawn(async move {
                while let Some(change) = alerts.recv().await {
                    live.alert(&change);
                }
            });
        }
        let data = PipelineConsole::new(PipelineSource::Whole(context.clone()), Some(Arc::clone(&live)), file);
        let served = context.block_on(serve(&context.pipeline().console, data, probes(&tracking), choice));
        let mut listeners = Self { tracking, live, follower: Some(follower), console: None };
        match served {
            Ok(console) => listeners.console = console,
            Err(error) => {
                // The run that was begun has failed.
                context.events().close();
                let failed = Err(error);
                listeners.end(context, &failed, false);
                return failed;
            }
        }
        Ok(listeners)
    }

    /// Where browsers find the console.
    pub(super) fn url(&self) -> Option<String> {
        self.console.as_ref().map(ConsoleServer::url)
    }

    /// Ends them, once the context's events are closed. `asked`: the run was asked to end.
    pub(super) fn end<T>(mut self, context: &Context, result: &anyhow::Result<T>, asked: bool) {
        let shown = result.as_ref().map(drop).map_err(|error| human::error(error.as_ref()));
        if let Some(follower) = self.follower.take() {
            // A panic there was printed; the flow's result is what counts.
            let _ = follower.join();
        }
        self.live.end(shown);
        self.tracking.end(context, result, asked);
        if let Some(console) = self.console.take() {
            context.block_on(console.stop());
        }
    }
}

fn probes(tracking: &Tracking) -> ConsoleProbes {
    let (metrics, live, ready) = (tracking.metrics().clone(), tracking.health().clone(), tracking.health().clone());
    ConsoleProbes {
        metrics: Arc::new(move || metrics.encode(flow::now_us()).unwrap_or_default()),
        metrics_content_type: METRICS_CONTENT_TYPE,
        health: Arc::new(move || live.lock().liveness(flow::now_us()).problem()),
        ready: Arc::new(move || ready.lock().readiness(flow::now_us()).problem()),
    }
}
