//! The currently open windows, from the state that the newest commit recorded.

use std::sync::Arc;

use futures::FutureExt;
use turnstile_engine::{ClosePolicy, Engine, SpillSpace, StreamPlan};
use turnstile_lake::{Lake, Slot, read_state};
use turnstile_warehouse::{LiveRows, LiveRowsError, LiveWindow};

use super::restore::restore_from;
use super::spark::is_of_spark;

/// Computes the open windows' rows for the warehouse. The commit's state is read into a separate engine, whose
/// windows are closed and thrown away: the running pipeline is not asked.
pub(crate) fn live_rows(lake: &Lake, plan: Arc<StreamPlan>, spill: Option<Arc<dyn SpillSpace>>) -> LiveRows {
    let lake = lake.clone();
    Arc::new(move |slot: Slot| {
        let (lake, plan, spill) = (lake.clone(), Arc::clone(&plan), spill.clone());
        async move { compute(&lake, plan, spill, &slot).await.map_err(live_failed) }.boxed()
    })
}

fn live_failed(error: anyhow::Error) -> LiveRowsError {
    error.downcast().unwrap_or_else(|error: anyhow::Error| LiveRowsError::Failed(error.into()))
}

async fn compute(
    lake: &Lake,
    plan: Arc<StreamPlan>,
    spill: Option<Arc<dyn SpillSpace>>,
    slot: &Slot,
) -> anyhow::Result<Vec<LiveWindow>> {
    if is_of_spark(slot) {
        anyhow::bail!("they are on a Spark cluster, which gives out a window when it closes");
    }
    let mut engine = Engine::new(plan, restore_from(slot), 1, spill)?;
    for reference in &slot.state {
        let bytes = read_state(lake, &slot.pipeline, reference).await?.ok_or(LiveRowsError::Replaced)?;
        let live_until_us = reference.live_until_us.unwrap_or(i64::MAX);
        engine = tokio::task::spawn_blocking(move || -> anyhow::Result<Engine> {
            engine.restore_state(&bytes, live_until_us)?;
            Ok(engine)
        })
        .await??;
    }
    tokio::task::spawn_blocking(move || close_all(engine)).await?
}

fn close_all(mut engine: Engine) -> anyhow::Result<Vec<LiveWindow>> {
    let mut open = Vec::new();
    loop {
        engine.absorb(Vec::new(), &[], ClosePolicy::All);
        let cut = engine.finish()?;
        open.extend(cut.closed.into_iter().map(|window| LiveWindow {
            start_us: window.start_us,
            end_us: window.end_us,
            closes_at_us: window.end_us,
            rows: window.rows,
        }));
        if !cut.more {
            return Ok(open);
        }
    }
}

#[cfg(test)]
mod tests {
    use turnstile_lake::{Commit, Ledger, NewState, StoreOptions, WriterId};
    use turnstile_pipeline::Pipeline;

    use super::*;

    #[tokio::test]
    async fn state_that_a_newer_commit_replaced_is_known_as_replaced() {
        let lake = Lake::open("memory:", &StoreOptions::default()).await.unwrap();
        let mut ledger = Ledger::open(&lake, "mta-turnstile", "plan", WriterId::default()).await.unwrap().ledger;
        let state =
            |bytes: &'static [u8]| NewState { kind: "replace".into(), live_until_us: None, bytes: bytes.into() };
        ledger.commit(Commit { state: vec![state(b"one")], ..Commit::default() }).await.unwrap();
        let listed = ledger.newest().clone();
        // The state is deleted between the listing of the slot and the reading of what it names.
        ledger.commit(Commit { state: vec![state(b"two")], ..Commit::default() }).await.unwrap();
        let text = std::fs::read_to_string("pipelines/mta-turnstile.toml").unwrap();
        let pipeline = Pipeline::from_str_with(&text, "mta-turnstile.toml", &[]).unwrap();
        let plan = Arc::new(StreamPlan::new(&pipeline).unwrap());
        let read = live_rows(&lake, plan, None)(listed).await;
        assert!(matches!(read, Err(LiveRowsError::Replaced)), "{read:?}");
    }
}
