//! Commits cuts to the ledger, and retries while the store's errors are transient.
//!
//! In: cuts in the ledger's form. Out: what was committed and published. Holds the ledger and the state that is live in it.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use turnstile_engine::{StateChange, StreamPlan, merge_state};
use turnstile_lake::{Commit, Committed, Ledger, LedgerError, NewState, Slot, StateRef};
use turnstile_message::TopicPartition;
use turnstile_values::{RetryPolicy, human};

use super::commit::ADD;
use super::context::Context;
use super::event::Event;
use super::event_sink::EventSink;
use super::fault::{engine_failed, ledger_failed};
use super::settings::retry_for;
use super::state_merge;

/// When a commit is tried again, or a request to the schema registry; each says for how long.
pub(super) const RETRIES: RetryPolicy = RetryPolicy::new(Duration::from_millis(200), Duration::from_secs(10));

/// Says that something is tried again after `wait`, and waits; false: the run is to end meanwhile.
pub(super) async fn wait_to_retry(
    events: &EventSink,
    shutdown: &CancellationToken,
    error: &(dyn Error + 'static),
    wait: Duration,
) -> bool {
    let cause = human::error(error);
    tracing::debug!(wait_ms = wait.as_millis() as u64, error = cause, "it is tried again");
    events.emit(Event::Retried { cause, wait });
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

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

    /// The same, as the context's pipeline says.
    pub(crate) fn of(context: &Context, ledger: Ledger, live: Vec<StateRef>) -> Self {
        let retry_for = retry_for(context.pipeline());
        Self::new(ledger, live, retry_for, context.events().clone(), context.shutdown().clone())
    }

    /// State that is still needed, oldest first.
    pub(crate) fn live(&self) -> &[StateRef] {
        &self.live
    }

    /// The newest commit.
    pub(crate) fn newest(&self) -> &Slot {
        self.ledger.newest()
    }

    /// The newest commit, shared.
    pub(crate) fn newest_shared(&self) -> Arc<Slot> {
        self.ledger.newest_shared()
    }

    /// The next offset of each partition, as of the newest commit.
    pub(crate) fn positions(&self) -> Vec<(TopicPartition, i64)> {
        self.ledger.newest().positions.iter().map(|p| (p.partition.clone(), p.next_offset)).collect()
    }

    /// Merges small increments of the state into one for the next commit, if there are many: it is to be part of that, and they
    /// are live no longer. `change` is what the commit does to the state besides.
    ///
    /// # Errors
    /// The store does not give them, or the engine cannot read them.
    pub(crate) async fn merge_state(
        &mut self,
        plan: Arc<StreamPlan>,
        change: &StateChange,
        closed_until_us: i64,
    ) -> anyhow::Result<Option<NewState>> {
        let due = match change {
            // Nothing of before stays live.
            StateChange::Replace { .. } | StateChange::Clear => return Ok(None),
            StateChange::None | StateChange::Add { .. } => state_merge::due(&self.live),
        };
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
                    if !wait_to_retry(&self.events, &self.shutdown, &error, wait).await {
                        return Err(ledger_failed(LedgerError::Store(error)));
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

#[cfg(test)]
mod tests {
    use turnstile_lake::{Lake, StoreOptions, WriterId};
    use turnstile_pipeline::Pipeline;

    use super::*;

    fn plan() -> Arc<StreamPlan> {
        let file = "name = \"p\"\n[source]\ntopic = \"t\"\nformat = \"csv\"\n[source.schema]\n\
                    AT = { metadata = \"timestamp\" }\nN = \"int\"\n[stream]\nevent_time = \"AT\"\nwatermark = \"0 seconds\"\n\
                    [query]\nsql = \"SELECT sum(N) AS N FROM turnstile GROUP BY window(AT, '5 minutes')\"\n\
                    [lake]\nurl = \"file:./lake\"\n";
        Arc::new(StreamPlan::new(&Pipeline::from_str(file, "p.toml").unwrap()).unwrap())
    }

    #[tokio::test]
    async fn a_slot_refers_to_few_increments_however_many_were_committed() {
        let lake = Lake::open("memory:", &StoreOptions::default()).await.unwrap();
        let ledger = Ledger::open(&lake, "p", "plan", WriterId::default()).await.unwrap().ledger;
        let shutdown = CancellationToken::new();
        let mut committer = Committer::new(ledger, Vec::new(), Duration::ZERO, EventSink::default(), shutdown);
        let plan = plan();
        let empty = merge_state(&plan, &[], i64::MIN).unwrap();
        for number in 1..=600 {
            let merged = committer.merge_state(Arc::clone(&plan), &StateChange::None, i64::MIN).await.unwrap();
            let new = NewState { kind: ADD.to_owned(), live_until_us: Some(number), bytes: empty.clone().into() };
            let state = std::iter::once(new).chain(merged).collect();
            committer.commit(Commit { kept: committer.live().to_vec(), state, ..Commit::default() }).await.unwrap();
            let slot = committer.ledger.newest();
            assert!(slot.state.len() <= 302, "commit {number}: {}", slot.state.len());
            assert_eq!(slot.state, committer.live(), "commit {number}");
            let newest = slot.state.iter().filter_map(|state| state.live_until_us).max();
            assert_eq!(newest, Some(number), "what is needed longest is kept as long");
        }
        let mut engine = turnstile_engine::Engine::new(plan, Default::default(), 1, None).unwrap();
        for reference in committer.live() {
            engine.restore_state(&committer.ledger.read_state(reference).await.unwrap(), i64::MAX).unwrap();
        }
    }
}
