//! What an engine resumes from: a slot, and the state that it refers to, which is added blob by blob.

use turnstile_engine::RestoredState;
use turnstile_lake::Slot;
use turnstile_message::PartitionPosition;

/// The slot's positions and counters.
pub(crate) fn restore_from(slot: &Slot) -> RestoredState {
    // Whether a partition is still idle is not known yet.
    let partitions = slot.positions.iter().map(|p| PartitionPosition { idle: false, ..p.clone() }).collect();
    let counters = slot.counters.clone();
    RestoredState { partitions, published_until_us: slot.published_until_us, counters, state: Vec::new() }
}
