//! Tracks a flow: connects its events to the store of runs, to metrics, and to the tools that a pipeline names.
//!
//! In: a context's events. Out: a flow run in the store, metrics, reports. Nothing here slows the flow or ends it: what cannot
//! be opened is a warning. Start at [`Tracking::start`].

mod prefect;
mod report;
mod reporters;
mod run_store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use turnstile_pipeline::{TaskNames, TrackSettings};
use turnstile_track::{
    AlertChange, EVENT_CAPACITY, FlowStart, Health, LineageEnd, Metrics, PrefectReporter, StoreWriter, TrackEnd,
    TrackEvent, TrackNames, TrackSender, Tracker, TrackerBuilder,
};
use turnstile_values::human;

use crate::flow::{self, Context, Event, EventStream};
use crate::report::warn;

pub(crate) use run_store::{open_to_read, open_to_write};

use report::{RejectionLog, track_events};
use reporters::Reporters;

/// A flow that is tracked.
pub(crate) struct Tracking {
    tracker: Option<Tracker>,
    store: Option<StoreWriter>,
    prefect: Option<PrefectReporter>,
    metrics: Arc<Metrics>,
    health: Arc<Mutex<Health>>,
    alerts: Option<mpsc::Receiver<AlertChange>>,
    pump: Option<JoinHandle<Reporters>>,
}

impl Tracking {
    /// Begins a flow run of `context`'s pipeline. A person's wish that it ends cancels the context's shutdown token.
    pub(crate) fn start(context: &Context) -> Self {
        let (pipeline, started_at_us) = (context.pipeline(), flow::now_us());
        let metrics = Arc::new(Metrics::new(&pipeline.name, env!("CARGO_PKG_VERSION"), started_at_us));
        let health = Arc::new(Mutex::new(Health::new(started_at_us)));
        let mut builder = TrackerBuilder::new(flow_start(context));
        let store = run_store::attach(context, &mut builder);
        let prefect = prefect::attach(context, &mut builder);
        let (cancel, run) = (builder.cancel_signal(), builder.run().id);
        let untracked = |error| warn(&format!("runs are not tracked: {}", human::error(&error)));
        let tracker = builder.start(EVENT_CAPACITY).map_err(untracked).ok();
        let (shutdown, token) = (context.shutdown().clone(), cancel.token().clone());
        context.runtime().spawn(async move {
            tokio::select! {
                () = token.cancelled() => shutdown.cancel(),
                () = shutdown.cancelled() => {}
            }
        });
        prefect::serve_deployment(context, context.shutdown().clone());
        let (reporters, alerts) = Reporters::start(context, run, &metrics);
        let pump = EventPump {
            events: context.events().subscribe(pipeline.track.queue as usize),
            lake: pipeline.lake.url.clone(),
            sender: tracker.as_ref().map(|tracker| tracker.sender().clone()),
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            reporters,
        };
        let pump = std::thread::Builder::new().name("tracking".to_owned()).spawn(move || pump.run());
        let pump = pump.map_err(untracked).ok();
        Self { tracker, store, prefect, metrics, health, alerts: Some(alerts), pump }
    }

    /// The metrics of this run.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether this run is alive and ready.
    pub(crate) fn health(&self) -> &Arc<Mutex<Health>> {
        &self.health
    }

    /// The changes of this run's alerts, once.
    pub(crate) fn take_alerts(&mut self) -> Option<mpsc::Receiver<AlertChange>> {
        self.alerts.take()
    }

    /// Ends the flow run as `result` says, once the context's events are closed. `asked`: it was asked to end, by a signal or by
    /// a person.
    pub(crate) fn end<T>(mut self, context: &Context, result: &anyhow::Result<T>, asked: bool) {
        let (end, lineage) = match result {
            Err(error) => {
                let error = human::error(error.as_ref());
                (TrackEnd::Failed { error: error.clone() }, LineageEnd::Failed(error))
            }
            Ok(_) if asked => (TrackEnd::Cancelled { cause: self.cause() }, LineageEnd::Aborted),
            Ok(_) => (TrackEnd::Completed { message: None }, LineageEnd::Complete),
        };
        // A panic there was printed; the flow's result is what counts.
        if let Some(Ok(reporters)) = self.pump.take().map(JoinHandle::join) {
            reporters.end(context, lineage);
        }
        if let Some(tracker) = self.tracker {
            tracker.end(end);
        }
        self.store.map(StoreWriter::join);
        self.prefect.map(PrefectReporter::join);
    }

    /// Why it was asked to end.
    fn cause(&self) -> String {
        let asked = self.tracker.as_ref().and_then(|tracker| tracker.cancel_signal().cause());
        asked.unwrap_or_else(|| "a signal asked it to end".to_owned())
    }
}

/// Passes a flow's events on.
struct EventPump {
    events: EventStream,
    lake: String,
    sender: Option<TrackSender>,
    metrics: Arc<Metrics>,
    health: Arc<Mutex<Health>>,
    reporters: Reporters,
}

impl EventPump {
    fn run(mut self) -> Reporters {
        let (mut dropped, mut rejections) = (0, RejectionLog::default());
        while let Some((at_us, event)) = self.events.blocking_next_with_time() {
            dropped += self.events.take_left_out();
            self.metrics.set_dropped("tracking", dropped);
            let line = match &event {
                Event::DeadLetters { count, first, .. } => rejections.record(at_us, *count, first),
                _ => None,
            };
            for event in track_events(at_us, &event, &self.lake).into_iter().chain(line) {
                if let TrackEvent::Ready { counters, resumed_at: Some(_), .. } = &event {
                    self.metrics.resume(counters, at_us);
                }
                self.metrics.observe(at_us, &event);
                self.health.lock().observe(at_us, &event);
                self.reporters.observe(at_us, &event);
                if let Some(sender) = &self.sender {
                    sender.emit(at_us, event);
                    self.metrics.set_dropped("runs", sender.dropped());
                }
            }
        }
        self.reporters
    }
}

fn flow_start(context: &Context) -> FlowStart {
    let (pipeline, this) = (context.pipeline(), flow::this_process());
    let parameters = BTreeMap::from([
        ("topic".to_owned(), pipeline.source.topics.to_string()),
        ("lake".to_owned(), pipeline.lake.url.clone()),
        ("window".to_owned(), human::duration(pipeline.query.window.size_us)),
        ("plan".to_owned(), pipeline.plan_hash.clone()),
    ]);
    FlowStart {
        pipeline: pipeline.name.clone(),
        host: this.host,
        pid: this.pid,
        parameters,
        produces: false,
        names: names(&pipeline.track),
    }
}

fn names(track: &TrackSettings) -> TrackNames {
    let TaskNames { read, aggregate, write, load, tests, retain } = track.tasks.clone();
    TrackNames { flow: track.flow.clone(), read, aggregate, write, load, tests, retain, ..TrackNames::default() }
}
