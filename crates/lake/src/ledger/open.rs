//! A start: find the newest slot, claim the next one, publish what is pending.

use std::sync::Arc;

use super::garbage::Garbage;
use super::pending_file::PendingFile;
use super::rollup::Rollup;
use super::{Attempt, Ledger, LedgerFolder, Recovered};
use crate::chain::{ChainEntry, ChainRecord};
use crate::error::LedgerError;
use crate::failpoint::reach;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::slot::{Slot, WriterId};
use turnstile_message::Counters;

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
        if let Some(ChainEntry { record: slot, .. }) = &newest
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
        let claim = claim(lake, pipeline, plan_hash, writer.clone(), newest.as_ref());
        let mut ledger = Ledger::claimed(lake, folder, writer, claim.clone());
        let bytes = claim.encode().into();
        let attempt = Attempt { slot: claim, bytes, objects: vec![], files: vec![], new_state: vec![] };
        ledger.append(&attempt).await?;
        ledger.newest_hash = Hash::of(&attempt.bytes);
        ledger.roll.committed(&attempt.slot, ledger.newest_hash);
        reach("open-after-claim");
        let published = ledger.publish_pending(None).await?;
        reach("open-after-publish");
        Ok(Opened { ledger, recovered: newest.map(|newest| Recovered { slot: newest.record, published }) })
    }

    /// The newest slot of a pipeline, or `None` when it has none. Changes nothing.
    ///
    /// # Errors
    /// `NewerVersion`, `OtherPipeline`, `Corrupt`, `Name`, `Store`.
    pub async fn peek(lake: &Lake, pipeline: &str) -> Result<Option<Slot>, LedgerError> {
        let folder = LedgerFolder::of(pipeline, lake.segment())?;
        Ok(find_newest(lake, &folder).await?.map(|newest| newest.record))
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
        }
    }
}

/// The claim: all that the newest slot says, under a new epoch.
fn claim(lake: &Lake, pipeline: &str, plan_hash: &str, writer: WriterId, before: Option<&ChainEntry<Slot>>) -> Slot {
    let now = lake.clock().now_us();
    let mut claim = match before {
        Some(before) => {
            let mut claim = before.record.clone();
            claim.carried.append(&mut claim.publish);
            claim.failed.clear();
            claim.excluded.iter_mut().for_each(Vec::clear);
            claim.previous = before.position.sha256;
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
            failed: vec![],
            excluded: None,
            counters: Counters::default(),
            recorded_partition_key: None,
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

/// The newest slot.
pub(crate) async fn find_newest(lake: &Lake, folder: &LedgerFolder) -> Result<Option<ChainEntry<Slot>>, LedgerError> {
    let first = folder.history(1);
    Ok(folder.log_chain(lake).newest_unless(Some(&first)).await?)
}
