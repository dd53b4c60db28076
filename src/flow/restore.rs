//! What an engine resumes from: a slot and the state that it refers to.

use turnstile_engine::RestoredState;
use turnstile_lake::Slot;
use turnstile_message::PartitionPosition;

/// What an engine resumes from: the slot's positions and counters, and the `state` that it refers to.
pub(crate) fn restore_from(slot: &Slot, state: Vec<(Vec<u8>, i64)>) -> RestoredState {
    // Whether a partition is still idle is not known yet.
    let partitions = slot.positions.iter().map(|p| PartitionPosition { idle: false, ..p.clone() }).collect();
    let counters = slot.counters.clone();
    RestoredState { partitions, published_until_us: slot.published_until_us, counters, state }
}
