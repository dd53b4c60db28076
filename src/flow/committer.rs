//! Commits cuts to the ledger, and retries while the store's errors are transient.
//!
//! In: cuts in the ledger's form. Out: what was committed and published. Holds the ledger and the state that is live in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use turnstile_engine::{StreamPlan, merge_state};
use turnstile_lake::{Commit, Committed, Ledger, LedgerError, NewState, StateRef};
use turnstile_message::TopicPartition;
use turnstile_values::{RetryPolicy, human};

use super::commit::ADD;
use super::event_sink::EventSink;
use super::fault::{engine_failed, ledger_failed};
use super::state_merge;

/// When a commit is tried again, or a request to the schema registry; each says for how long.
pub(super) const RETRIES: RetryPolicy = RetryPolicy::new(Duration::from_millis(200), Duration::from_secs(10));

/// The ledger of a running flow.
pub(crate) struct Committer {
    ledger: Ledger,
    /// State of earlier commits that is still needed, oldest first.
    live: Vec<StateRef>,
    retry_for: Duration,
    events: EventSink,
    shutdown: CancellationToken,
}

impl Committer {
    /// Commits to `ledger`, whose newest slot keeps `live`; a store that refuses for now is tried again for `retry_for`,
    /// unless the run is to end.
    pub(crate) fn new(
        ledger: Ledger,
        live: Vec<StateRef>,
        retry_for: Duration,
        events: EventSink,
        shutdown: CancellationToken,
    ) -> Self {
        Self { ledger, live, retry_for, events, shutdown }
    }

    /// State that is still needed, oldest first.
    pub(crate) fn live(&self) -> &[StateRef] {
        &self.live
    }

    /// The number that the next commit gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.ledger.next_seq()
    }

    /// The next offset of each partition, as of the newest commit.
    pub(crate) fn positions(&self) -> Vec<(TopicPartition, i64)> {
        self.ledger.newest().positions.iter().map(|p| (p.partition.clone(), p.next_offset)).collect()
    }

    /// Merges small increments of the state into one for the next commit, if there are many: it is to be part of that, and they
    /// are live no longer.
    ///
    /// # Errors
    /// The store does not give them, or the engine cannot read them.
    pub(crate) async fn merge_state(
        &mut self,
        plan: Arc<StreamPlan>,
        closed_until_us: i64,
    ) -> anyhow::Result<Option<NewState>> {
        let due = state_merge::due(&self.live);
        let Some(longest) = due.iter().map(|at| self.live[*at].live_until_us.unwrap_or(i64::MAX)).max() else {
            return Ok(None);
        };
        let mut blobs = Vec::with_capacity(due.len());
        for at in &due {
            blobs.push(self.ledger.read_state(&self.live[*at]).await.map_err(ledger_failed)?.to_vec());
        }
        let merged = tokio::task::spawn_blocking(move || merge_state(&plan, &blobs, closed_until_us));
        let bytes = merged.await?.map_err(engine_failed)?.into();
        let mut at = 0..;
        self.live.retain(|_| at.next().is_some_and(|at| due.binary_search(&at).is_err()));
        let live_until_us = (longest != i64::MAX).then_some(longest);
        Ok(Some(NewState { kind: ADD.to_owned(), live_until_us, bytes }))
    }

    /// Commits `cut`.
    ///
    /// # Errors
    /// Another writer owns the pipeline, or the store refused for longer than it is tried again.
    pub(crate) async fn commit(&mut self, cut: Commit) -> anyhow::Result<Committed> {
        let began = Instant::now();
        let mut live = cut.kept.clone();
        let mut waits = RETRIES.give_up_after(self.retry_for).waits();
        let mut result = self.ledger.commit(cut).await;
        let committed = loop {
            match result {
                Err(LedgerError::Store(error)) if error.retriable && self.ledger.is_unfinished() => {
                    let Some(wait) = waits.next_after(began.elapsed()) else {
                        return Err(ledger_failed(LedgerError::Store(error)));
                    };
                    let seconds = wait.as_secs_f32();
                    self.events.note(format!("{}; trying again in {seconds} s", human::error(&error)));
                    tokio::select! {
                        () = self.shutdown.cancelled() => return Err(ledger_failed(LedgerError::Store(error))),
                        () = tokio::time::sleep(wait) => {}
                    }
                    result = self.ledger.retry().await;
                }
                other => break other.map_err(ledger_failed)?,
            }
        };
        live.extend(committed.state.iter().cloned());
        self.live = live;
        Ok(committed)
    }
}
