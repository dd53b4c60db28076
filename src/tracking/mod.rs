//! Tracks a flow: connects its events to the store of runs, to metrics, and to the tools that a pipeline names.
//!
//! In: a context's events. Out: a flow run in the store, metrics, reports. Nothing here slows the flow or ends it: what cannot
//! be opened is a warning. Start at [`Tracking::start`].

mod prefect;
mod recorder;
mod report;
mod reporters;
mod run_store;
mod topic_run;

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use turnstile_pipeline::Pipeline;
use turnstile_track::{AlertChange, Health, LineageEnd, Metrics, TrackEvent, TrackSender};
use turnstile_values::human;

use crate::flow::{self, Context, Event, EventStream};

pub(crate) use recorder::SIGNAL;
pub(crate) use run_store::{open_to_read, open_to_write};

use recorder::{RunRecorder, untracked};
use report::{RejectionLog, track_events};
use reporters::Reporters;
pub(crate) use topic_run::{TopicProgress, TopicRun};

/// A flow that is tracked.
pub(crate) struct Tracking {
    recorder: RunRecorder,
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
        let mut recorder = RunRecorder::start(context, None, parameters(pipeline));
        prefect::serve_deployment(context, context.shutdown().clone());
        let (reporters, alerts) = Reporters::start(context, recorder.run(), &metrics, recorder.take_previous_failure());
        let pump = EventPump {
            events: context.events().subscribe(pipeline.track.queue as usize),
            lake: pipeline.lake.url.clone(),
            sender: recorder.sender().cloned(),
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            reporters,
        };
        let pump = std::thread::Builder::new().name("tracking".to_owned()).spawn(move || pump.run());
        let pump = pump.map_err(untracked).ok();
        Self { recorder, metrics, health, alerts: Some(alerts), pump }
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
        let lineage = match result {
            Err(error) => LineageEnd::Failed(human::error(error.as_ref())),
            Ok(_) if asked => LineageEnd::Aborted,
            Ok(_) => LineageEnd::Complete,
        };
        // A panic there was printed; the flow's result is what counts.
        if let Some(Ok(reporters)) = self.pump.take().map(JoinHandle::join) {
            reporters.end(context, lineage);
        }
        self.recorder.end(result, asked.then_some(SIGNAL));
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

/// What a person may want to see of the pipeline that runs; no secret.
fn parameters(pipeline: &Pipeline) -> [(&'static str, String); 4] {
    [
        ("topic", pipeline.source.topics.to_string()),
        ("lake", pipeline.lake.url.clone()),
        ("window", human::duration(pipeline.query.window.size_us)),
        ("plan", pipeline.plan_hash.clone()),
    ]
}
