//! What an engine resumes from: a slot, and the state that it refers to, which is added blob by blob.

use turnstile_engine::{Engine, RestoredState};
use turnstile_lake::{Ledger, Slot};
use turnstile_message::PartitionPosition;

use super::fault::{engine_failed, ledger_failed};

/// The slot's positions and counters.
pub(crate) fn restore_from(slot: &Slot) -> RestoredState {
    // Whether a partition is still idle is not known yet.
    let partitions = slot.positions.iter().map(|p| PartitionPosition { idle: false, ..p.clone() }).collect();
    let counters = slot.counters.clone();
    RestoredState { partitions, published_until_us: slot.published_until_us, counters, state: Vec::new() }
}

/// Adds the state that `slot` keeps to `engine`.
///
/// # Errors
/// The ledger or the engine cannot read it.
pub(crate) async fn restore_state(engine: &mut Engine, ledger: &Ledger, slot: &Slot) -> anyhow::Result<()> {
    for reference in &slot.state {
        let bytes = ledger.read_state(reference).await.map_err(ledger_failed)?;
        tracing::debug!(object = reference.object, bytes = bytes.len(), "restoring state");
        engine.restore_state(&bytes, reference.live_until_us.unwrap_or(i64::MAX)).map_err(engine_failed)?;
    }
    Ok(())
}
