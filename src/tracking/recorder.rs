//! A flow run as it is kept and reported: its tracker, the store of runs, and Prefect.

use std::collections::BTreeMap;

use turnstile_pipeline::TaskNames;
use turnstile_track::{
    EVENT_CAPACITY, FlowStart, MessageMove, PrefectReporter, StoreWriter, TrackEnd, TrackNames, TrackSender, Tracker,
    TrackerBuilder,
};
use turnstile_values::human;
use uuid::Uuid;

use super::run_store::PreviousFailure;
use super::{prefect, run_store};
use crate::flow::{self, Context};
use crate::report::warn;

/// A flow run that goes on.
pub(super) struct RunRecorder {
    run: Uuid,
    tracker: Option<Tracker>,
    store: Option<StoreWriter>,
    prefect: Option<PrefectReporter>,
    previous_failure: Option<PreviousFailure>,
}

impl RunRecorder {
    /// Begins a flow run beside `context`'s pipeline, of the pipeline itself or one that only `moves` messages. A person's wish
    /// that it ends cancels the context's shutdown token.
    pub(super) fn start(
        context: &Context,
        moves: Option<MessageMove>,
        parameters: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let mut builder = TrackerBuilder::new(flow_start(context, moves, parameters));
        let store = run_store::attach(context, &mut builder);
        // Nothing is said of it by a run that only moves messages.
        let previous_failure = if moves.is_none() { run_store::previous_failure(context) } else { None };
        let prefect = prefect::attach(context, &mut builder);
        let (cancel, run) = (builder.cancel_signal(), builder.run().id);
        let tracker = builder.start(EVENT_CAPACITY).map_err(untracked).ok();
        let (shutdown, token) = (context.shutdown().clone(), cancel.token().clone());
        context.runtime().spawn(async move {
            tokio::select! {
                () = token.cancelled() => shutdown.cancel(),
                () = shutdown.cancelled() => {}
            }
        });
        Self { run, tracker, store, prefect, previous_failure }
    }

    /// The run's id.
    pub(super) fn run(&self) -> Uuid {
        self.run
    }

    /// Where its events go; `None`: it is not tracked.
    pub(super) fn sender(&self) -> Option<&TrackSender> {
        self.tracker.as_ref().map(Tracker::sender)
    }

    /// How the pipeline's run before this one failed, if this is a run of the pipeline; once.
    pub(super) fn take_previous_failure(&mut self) -> Option<PreviousFailure> {
        self.previous_failure.take()
    }

    /// Ends it as `result` says. `asked`: what asked it to end, if no person did.
    pub(super) fn end<T>(self, result: &anyhow::Result<T>, asked: Option<&str>) {
        if let Some(tracker) = self.tracker {
            let end = match (result, asked) {
                (Err(error), _) => TrackEnd::Failed { error: human::error(error.as_ref()) },
                (Ok(_), Some(asked)) => {
                    let person = tracker.cancel_signal().cause();
                    TrackEnd::Cancelled { cause: person.unwrap_or_else(|| asked.to_owned()) }
                }
                (Ok(_), None) => TrackEnd::Completed { message: None },
            };
            tracker.end(end);
        }
        self.store.map(StoreWriter::join);
        self.prefect.map(PrefectReporter::join);
    }
}

/// What asks a run to end that no person cancelled.
pub(crate) const SIGNAL: &str = "a signal asked it to end";

/// Says that a thread of tracking did not start.
pub(super) fn untracked(error: std::io::Error) {
    warn(&format!("runs are not tracked: {}", human::error(&error)));
}

fn flow_start(
    context: &Context,
    moves: Option<MessageMove>,
    parameters: impl IntoIterator<Item = (&'static str, String)>,
) -> FlowStart {
    let (pipeline, this) = (context.pipeline(), flow::this_process());
    let track = &pipeline.track;
    let flow = if moves.is_some() { &track.topic_flow } else { &track.flow };
    FlowStart {
        pipeline: pipeline.name.clone(),
        host: this.host,
        pid: this.pid,
        parameters: parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
        moves,
        names: names(flow, &track.tasks),
    }
}

fn names(flow: &str, tasks: &TaskNames) -> TrackNames {
    let TaskNames { read, aggregate, write, load, tests, retain, produce, consume } = tasks.clone();
    TrackNames { flow: flow.to_owned(), read, aggregate, write, load, tests, retain, produce, consume }
}
