//! Reading blobs of state that a slot refers to.

use bytes::Bytes;

use super::LedgerFolder;
use crate::error::LedgerError;
use crate::error::corrupt;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::slot::StateRef;

/// The bytes of one blob of state; `None` when the object does not exist: a newer commit no longer needs it.
///
/// # Errors
/// `Corrupt`: its bytes are not those that were committed. `Store`, `Name`.
pub async fn read_state(lake: &Lake, pipeline: &str, state: &StateRef) -> Result<Option<Bytes>, LedgerError> {
    let path = LedgerFolder::of(pipeline, lake.segment())?.object(&state.object);
    let range = state.start..state.start + state.bytes;
    match lake.persist(|| lake.store().get_range(&path, range.clone())).await? {
        Some(bytes) if Hash::of(&bytes) != state.sha256 => {
            Err(corrupt(&path, "its bytes are not those that were committed"))
        }
        found => Ok(found),
    }
}
