//! A start: find the newest slot, claim the next one, publish what is pending.

use std::sync::Arc;

use bytes::Bytes;

use super::append::read_slot;
use super::garbage::Garbage;
use super::history::Rollup;
use super::publish::PendingFile;
use super::{Attempt, Ledger, LedgerFolder, Recovered, corrupt};
use crate::failpoint::reach;
use crate::{Counters, Hash, Lake, LedgerError, Slot, WriterId};

/// How often the newest slot is looked for while another writer goes on collecting old ones.
const ATTEMPTS: u32 = 8;

/// A ledger, open for writing.
#[derive(Debug)]
pub struct Opened {
    /// The ledger, owned by this writer.
    pub ledger: Ledger,
    /// What the writer before left; none when the pipeline is new.
    pub recovered: Option<Recovered>,
}

impl Ledger {
    /// Claims the pipeline for this writer: any other writer is fenced from here on.
    ///
    /// Whether to take a pipeline over from a writer that may be alive is the caller's decision:
    /// [`Ledger::peek`] tells who that is and whether it has let go.
    ///
    /// # Errors
    /// `Fenced`: another writer claimed the pipeline at the same moment.
    /// `PlanChanged`: open windows belong to another plan. Without open windows a new plan is taken.
    /// `NewerVersion`, `OtherPipeline`, `Corrupt`, `Name`, `Store`, `FileChanged`: as they say.
    pub async fn open(lake: &Lake, pipeline: &str, plan_hash: &str, writer: WriterId) -> Result<Opened, LedgerError> {
        let folder = LedgerFolder::of(pipeline, lake.segment())?;
        let newest = find_newest(lake, &folder).await?;
        if let Some((slot, _)) = &newest
            && slot.plan_hash != plan_hash
            && !slot.state.is_empty()
        {
            return Err(LedgerError::PlanChanged {
                pipeline: pipeline.to_owned(),
                seq: slot.seq,
                recorded: slot.plan_hash.clone(),
                given: plan_hash.to_owned(),
            });
        }
        reach("open-before-claim");
        let before = newest.as_ref().map(|(slot, bytes)| (slot, Hash::of(bytes)));
        let claim = claim(lake, pipeline, plan_hash, writer.clone(), before);
        let mut ledger = Ledger::claimed(lake, folder, writer, claim.clone());
        let bytes = claim.encode().into();
        let attempt = Attempt { slot: claim, bytes, objects: vec![], files: vec![], new_state: vec![] };
        ledger.append(&attempt).await?;
        ledger.newest_hash = Hash::of(&attempt.bytes);
        ledger.roll.committed(&attempt.slot, ledger.newest_hash);
        reach("open-after-claim");
        let published = ledger.publish_pending(None).await?;
        reach("open-after-publish");
        Ok(Opened { ledger, recovered: newest.map(|(slot, _)| Recovered { slot, published }) })
    }

    /// The newest slot of a pipeline, or `None` when it has none. Changes nothing.
    ///
    /// # Errors
    /// `NewerVersion`, `OtherPipeline`, `Corrupt`, `Name`, `Store`.
    pub async fn peek(lake: &Lake, pipeline: &str) -> Result<Option<Slot>, LedgerError> {
        let folder = LedgerFolder::of(pipeline, lake.segment())?;
        Ok(find_newest(lake, &folder).await?.map(|(slot, _)| slot))
    }

    fn claimed(lake: &Lake, folder: LedgerFolder, writer: WriterId, claim: Slot) -> Self {
        Self {
            lake: lake.clone(),
            folder,
            writer,
            newest_hash: Hash::of(b""),
            pending: claim.carried.iter().cloned().map(PendingFile::new).collect(),
            newest: Arc::new(claim),
            attempt: None,
            fenced: None,
            garbage: Garbage::default(),
            roll: Rollup::default(),
            #[cfg(test)]
            mutant: None,
        }
    }
}

/// The claim: all that the newest slot says, under a new epoch.
fn claim(lake: &Lake, pipeline: &str, plan_hash: &str, writer: WriterId, before: Option<(&Slot, Hash)>) -> Slot {
    let now = lake.clock().now_us();
    let mut claim = match before {
        Some((slot, hash)) => {
            let mut claim = slot.clone();
            claim.carried.append(&mut claim.publish);
            claim.previous = Some(hash);
            claim
        }
        None => Slot {
            pipeline: pipeline.to_owned(),
            seq: 0,
            epoch: 0,
            nonce: String::new(),
            previous: None,
            committed_at_us: now,
            claimed_at_us: now,
            writer: WriterId::default(),
            plan_hash: String::new(),
            released: false,
            topic_ids: Default::default(),
            positions: vec![],
            watermark_us: None,
            published_until_us: None,
            quiet_closed_at_us: None,
            state: vec![],
            publish: vec![],
            carried: vec![],
            counters: Counters::default(),
            history: None,
        },
    };
    claim.seq += 1;
    claim.epoch += 1;
    claim.nonce = lake.clock().nonce();
    claim.committed_at_us = now;
    claim.claimed_at_us = now;
    claim.writer = writer;
    claim.plan_hash = plan_hash.to_owned();
    claim.released = false;
    claim
}

/// The newest slot and its bytes.
pub(crate) async fn find_newest(lake: &Lake, folder: &LedgerFolder) -> Result<Option<(Slot, Bytes)>, LedgerError> {
    let (store, log) = (lake.store(), folder.log());
    for _ in 0..ATTEMPTS {
        let listed = lake.persist(|| store.list(&log, None)).await?;
        let Some((seq, path)) = listed.iter().rev().find_map(|path| Some((folder.seq_of(path)?, path))) else {
            let first = folder.history(1);
            if !lake.persist(|| store.exists(&first)).await? {
                return Ok(None);
            }
            // A log that was begun is never empty: other writers began it after it was listed, or it
            // was deleted by hand.
            continue;
        };
        // Gone already: a living writer has moved on, and rolled it up.
        let Some(bytes) = lake.persist(|| store.get(path)).await? else { continue };
        let slot = read_slot(path, &bytes)?;
        if slot.pipeline != folder.pipeline() {
            let (expected, found) = (folder.pipeline().to_owned(), slot.pipeline);
            return Err(LedgerError::OtherPipeline { object: path.to_string(), expected, found });
        }
        if slot.seq != seq {
            return Err(corrupt(path, format!("it says that it is slot {}", slot.seq)));
        }
        return Ok(Some((slot, bytes)));
    }
    Err(corrupt(&log, "there is history, and no newest slot to be read"))
}
