//! Tracks what only moves messages to or from a topic: `produce`, `consume`, and the city of `up`.

use std::sync::Arc;

use parking_lot::Mutex;
use turnstile_track::{MessageMove, MoveReport, TrackEvent, TrackSender};
use turnstile_values::SECOND_US;

use super::recorder::RunRecorder;
use crate::flow::{self, Context};

/// A run that moves messages and is kept with a pipeline's runs.
pub(crate) struct TopicRun {
    recorder: RunRecorder,
    progress: TopicProgress,
}

/// Takes how far a [`TopicRun`] is. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct TopicProgress {
    sender: Option<TrackSender>,
    last: Arc<Mutex<LastReport>>,
}

#[derive(Default)]
struct LastReport {
    report: MoveReport,
    /// When the run received it last, microseconds since the epoch, UTC.
    at_us: i64,
}

impl TopicRun {
    /// Begins a run beside `context`'s pipeline. A person's wish that it ends cancels the context's shutdown token.
    pub(crate) fn start(context: &Context, moves: MessageMove, topic: &str) -> Self {
        let recorder = RunRecorder::start(context, Some(moves), [("topic", topic.to_owned())]);
        let progress = TopicProgress { sender: recorder.sender().cloned(), last: Arc::default() };
        progress.send(&MoveReport::default());
        Self { recorder, progress }
    }

    /// Where its progress is reported.
    pub(crate) fn progress(&self) -> TopicProgress {
        self.progress.clone()
    }

    /// Ends it as `result` says. `asked`: what asked it to end, if no person did.
    pub(crate) fn end<T>(self, result: &anyhow::Result<T>, asked: Option<&str>) {
        let report = self.progress.last.lock().report.clone();
        self.progress.send(&report);
        // The run ends once nothing can tell of it any more.
        drop(self.progress);
        self.recorder.end(result, asked);
    }
}

impl TopicProgress {
    /// Since the run began, `messages` were moved and `failed` ones were not. May be called often: the run is changed once a
    /// second.
    pub(crate) fn tell(&self, messages: u64, failed: u64) {
        let mut last = self.last.lock();
        last.report = MoveReport { messages, failed };
        let now_us = flow::now_us();
        if now_us - last.at_us >= SECOND_US {
            last.at_us = now_us;
            self.send(&last.report);
        }
    }

    fn send(&self, report: &MoveReport) {
        if let Some(sender) = &self.sender {
            sender.emit(flow::now_us(), TrackEvent::Moved(report.clone()));
        }
    }
}
