//! Reading the maintenance chain.

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::MaintenanceSlot;
use crate::ledger::append::unreadable;
use crate::ledger::{LedgerFolder, corrupt};
use crate::{Hash, Lake, LedgerError};

/// Slots read ahead.
const READS_AHEAD: usize = 8;

/// A place in the maintenance chain: after slot `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ChainPosition {
    /// The slot; 0 before the first.
    pub(crate) seq: u64,
    /// Its hash.
    pub(crate) sha256: Option<Hash>,
}

/// The numbers of the slots after `seq` that are there now. Slots are never deleted, so each can be read.
pub(crate) async fn newer_than(lake: &Lake, folder: &LedgerFolder, seq: u64) -> Result<Vec<u64>, LedgerError> {
    let (chain, after) = (folder.maintenance(), folder.maintenance_slot(seq));
    let listed = lake.persist(|| lake.store().list(&chain, Some(&after))).await?;
    // A listing of a local folder is not one instant: it may show a slot and not the one before it.
    let newest = listed.iter().filter_map(|path| folder.seq_of(path)).max().unwrap_or(seq);
    Ok((seq + 1..=newest).collect())
}

/// Calls `visit` for the slots named, in order, and returns the place after the last one. `visit` says whether to go on:
/// where it does not, its slot is not passed.
pub(crate) async fn walk(
    lake: &Lake,
    folder: &LedgerFolder,
    from: ChainPosition,
    slots: Vec<u64>,
    mut visit: impl FnMut(MaintenanceSlot) -> Result<bool, LedgerError>,
) -> Result<ChainPosition, LedgerError> {
    let mut place = from;
    let mut read = futures::stream::iter(slots)
        .map(|seq| async move {
            let path = folder.maintenance_slot(seq);
            let bytes = lake.persist(|| lake.store().get(&path)).await?;
            Ok::<_, LedgerError>((seq, path, bytes))
        })
        .buffered(READS_AHEAD);
    while let Some(found) = read.next().await {
        let (seq, path, bytes) = found?;
        let bytes = bytes.ok_or_else(|| corrupt(&path, "it is missing"))?;
        let slot = read_slot(&path, &bytes)?;
        if slot.seq != seq || slot.pipeline != folder.pipeline() {
            return Err(corrupt(&path, "it is the slot of another place"));
        }
        if slot.previous != place.sha256 {
            return Err(corrupt(&path, "it does not follow from the slot before it"));
        }
        if !visit(slot)? {
            break;
        }
        place = ChainPosition { seq, sha256: Some(Hash::of(&bytes)) };
    }
    Ok(place)
}

/// The slot in `bytes`, or why it is none.
pub(crate) fn read_slot(path: &Path, bytes: &Bytes) -> Result<MaintenanceSlot, LedgerError> {
    MaintenanceSlot::decode(bytes).map_err(|why| unreadable(path, why))
}
