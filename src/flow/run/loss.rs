//! What a run does when messages or a topic are gone: it commits what is sure, and says why it ends.

use std::time::Duration;

use turnstile_kafka::LostTopic;
use turnstile_values::human;

use super::{CutKind, Flow, topic_lost};
use crate::exit::Exit;
use crate::report::Failure;

/// How long a run that ends over lost offsets waits for the observer to tell why.
const OBSERVE: Duration = Duration::from_secs(4);

impl Flow {
    /// What a worker's `error` means. When messages are gone, what was read before them is committed first.
    pub(super) async fn end_with(&mut self, error: anyhow::Error) -> anyhow::Error {
        let is_loss = |error: &anyhow::Error| {
            error.downcast_ref::<Failure>().is_some_and(|failure| failure.exit == Exit::SourceData)
        };
        if !is_loss(&error) {
            return error;
        }
        let error = self.explain_loss(error).await;
        self.cut_before_loss().await;
        error
    }

    /// Offsets that are out of range can be those of another topic under the same name, which the observer can tell.
    async fn explain_loss(&mut self, error: anyhow::Error) -> anyhow::Error {
        // The round that is under way may have begun before the fault.
        let enough = self.topics.round + 2;
        let recreated = async {
            loop {
                self.topics = self.topics_changed.borrow_and_update().clone();
                if matches!(self.topics.lost, Some(LostTopic::Recreated { .. })) {
                    return true;
                }
                if self.topics.round >= enough || self.topics_changed.changed().await.is_err() {
                    return false;
                }
            }
        };
        match tokio::time::timeout(OBSERVE, recreated).await {
            Ok(true) => self.topic_lost().unwrap_or(error),
            _ => error,
        }
    }

    /// The failure of the topic that is lost, when one is.
    fn topic_lost(&self) -> Option<anyhow::Error> {
        Some(topic_lost(self.topics.lost.as_ref()?, &self.workers.shared.progress()).into())
    }

    /// Commits what was read of topics that are lost now, unless some of it may be of another topic under the same name.
    pub(super) async fn cut_before_loss(&mut self) {
        if !self.sound.cover(self.topics.lost.as_ref(), &self.workers.shared.progress()) {
            return;
        }
        if let Err(error) = self.cut(CutKind::Last { drain: false }).await {
            let why = human::error(error.as_ref());
            self.context.events().note(format!("what was read since the last commit was not committed: {why}"));
        }
    }
}
