//! Does what a plan says, one slot at a time.
//!
//! In: a [`MaintenancePlan`]. Out: objects, slots of the maintenance chain, deletions, in an order such that a crash
//! at any point makes no reader miss or double-count a row.
//! Start at [`apply`].

use std::collections::BTreeMap;

use bytes::Bytes;
use object_store::path::Path;

use super::plan::{CompactionBatch, LettersBatch, MaintenancePlan};
use super::{Compacted, CompactedLetters, MaintenanceError, MaintenanceSlot, Retired, compaction, letters, sweep};
use crate::chain::{Appended, ChainPosition};
use crate::error::LedgerError;
use crate::failpoint::reach;
use crate::format::names::{compacted_letters_name, compacted_name};
use crate::hash::Hash;
use crate::lake::Lake;
use crate::ledger::LedgerFolder;
use crate::read::Catalog;
use crate::slot::WriterId;
use crate::store::Creation;

/// Objects deleted by one call.
const DELETES_AT_ONCE: usize = 256;

/// What maintenance did.
#[derive(Debug, Default)]
pub struct Applied {
    /// Objects made.
    pub compacted: Vec<Compacted>,
    /// Objects of dead letters made.
    pub letters: Vec<CompactedLetters>,
    /// Objects retired, those that were compacted among them.
    pub retired: usize,
    /// Objects deleted.
    pub deleted: usize,
    /// Leftovers of crashed compactions that were deleted.
    pub swept: usize,
    /// Another process did maintenance at the same time: the rest of the plan was left, to be planned again.
    pub raced: bool,
    /// Parts of the plan that could not be done; the others were.
    pub failed: Vec<MaintenanceError>,
}

/// What is going on, for people who wait.
#[derive(Debug, Clone, Copy)]
pub enum MaintenanceStep<'a> {
    /// An object is being made; how many are.
    Compacting(&'a CompactionBatch, usize, usize),
    /// An object was made and committed.
    Compacted(&'a Compacted),
    /// An object of dead letters was made and committed.
    CompactedLetters(&'a CompactedLetters),
    /// An object is retired.
    Retired(&'a Retired),
    /// An object was deleted.
    Deleted(&'a Retired),
}

/// Does what the plan says. Safe beside a running writer and beside other maintenance; safe to repeat after a crash.
///
/// # Errors
/// `Ledger`: the store or the chain of maintenance failed; what was done stays. What concerns one day alone is in
/// [`Applied::failed`].
pub async fn apply(
    lake: &Lake,
    catalog: &Catalog,
    plan: &MaintenancePlan,
    writer: &WriterId,
    mut on_step: impl FnMut(MaintenanceStep<'_>),
) -> Result<Applied, MaintenanceError> {
    let folder = LedgerFolder::of(catalog.pipeline(), lake.segment())?;
    let mut act = MaintenanceRun {
        lake,
        folder,
        writer,
        ledger_seq: plan.at.seq,
        place: catalog.maintained(),
        applied: Applied::default(),
    };
    act.retire_and_delete(plan, &mut on_step).await?;
    for (at, batch) in plan.compact.iter().enumerate() {
        if act.applied.raced {
            break;
        }
        on_step(MaintenanceStep::Compacting(batch, at + 1, plan.compact.len()));
        match act.compact(batch, &mut on_step).await {
            Ok(()) => {}
            Err(error @ MaintenanceError::Ledger(_)) => return Err(error),
            Err(of_one_day) => act.applied.failed.push(of_one_day),
        }
    }
    for batch in &plan.letters {
        if act.applied.raced {
            break;
        }
        match act.compact_letters(batch, &mut on_step).await {
            Ok(()) => {}
            Err(error @ MaintenanceError::Ledger(_)) => return Err(error),
            Err(of_one_day) => act.applied.failed.push(of_one_day),
        }
    }
    // By the catalog that the plan was made from: what was compacted since is not yet to be looked for.
    act.applied.swept = sweep::sweep(lake, catalog, act.place.seq, &plan.sweep, plan.sweep_letters).await?;
    Ok(act.applied)
}

struct MaintenanceRun<'a> {
    lake: &'a Lake,
    folder: LedgerFolder,
    writer: &'a WriterId,
    ledger_seq: u64,
    place: ChainPosition,
    applied: Applied,
}

impl MaintenanceRun<'_> {
    /// Deletes what was retired long ago, and retires what is due, in one slot. A crash between deleting and the slot
    /// leaves objects that are deleted once more.
    async fn retire_and_delete(
        &mut self,
        plan: &MaintenancePlan,
        on_step: &mut impl FnMut(MaintenanceStep<'_>),
    ) -> Result<(), MaintenanceError> {
        if plan.retire.is_empty() && plan.delete.is_empty() {
            return Ok(());
        }
        for some in plan.delete.chunks(DELETES_AT_ONCE) {
            let names: Vec<String> = some.iter().map(|object| object.name.clone()).collect();
            reach("maintain-before-delete");
            self.lake.delete(&names).await?;
            reach("maintain-after-delete");
            some.iter().for_each(|object| on_step(MaintenanceStep::Deleted(object)));
        }
        let deleted = plan.delete.iter().map(|object| object.name.clone()).collect();
        let slot = self.slot(vec![], plan.retire.clone(), deleted);
        if self.append(slot).await? {
            self.applied.deleted += plan.delete.len();
            self.applied.retired += plan.retire.len();
            plan.retire.iter().for_each(|object| on_step(MaintenanceStep::Retired(object)));
        }
        reach("maintain-after-retire");
        Ok(())
    }

    /// Makes one object: first the object, then the slot that makes it part of the lake and retires what it replaces.
    async fn compact(
        &mut self,
        batch: &CompactionBatch,
        on_step: &mut impl FnMut(MaintenanceStep<'_>),
    ) -> Result<(), MaintenanceError> {
        let bytes = compaction::gather(self.lake, batch).await?;
        let first = batch.parts.first().map_or(0, |source| source.part.start_us);
        let mut slot = self.slot(vec![], batch.replaces.clone(), vec![]);
        let name = compacted_name(&batch.key, self.folder.pipeline(), first, slot.seq, &slot.nonce, batch.format);
        slot.compacted = vec![Compacted {
            name: name.clone(),
            sha256: Hash::of(&bytes),
            bytes: bytes.len() as u64,
            rows: batch.rows(),
            parts: batch.parts.iter().map(|source| source.part.clone()).collect(),
        }];
        let compacted = slot.compacted.clone();
        if self.commit_object(&name, &bytes, slot).await? {
            self.applied.retired += batch.replaces.len();
            compacted.iter().for_each(|object| on_step(MaintenanceStep::Compacted(object)));
            batch.replaces.iter().for_each(|object| on_step(MaintenanceStep::Retired(object)));
            self.applied.compacted.extend(compacted);
        }
        reach("maintain-after-compact");
        Ok(())
    }

    /// The same for dead letters.
    async fn compact_letters(
        &mut self,
        batch: &LettersBatch,
        on_step: &mut impl FnMut(MaintenanceStep<'_>),
    ) -> Result<(), MaintenanceError> {
        let bytes = letters::gather(self.lake, batch).await?;
        let mut slot = self.slot(vec![], batch.replaces.clone(), vec![]);
        let name = compacted_letters_name(self.folder.pipeline(), batch.until_us, slot.seq, &slot.nonce);
        let made = CompactedLetters {
            name: name.clone(),
            sha256: Hash::of(&bytes),
            bytes: bytes.len() as u64,
            rows: batch.rows(),
            until_us: batch.until_us,
            parts: batch.parts.iter().map(|source| source.part.clone()).collect(),
        };
        slot.letters = vec![made.clone()];
        if self.commit_object(&name, &bytes, slot).await? {
            self.applied.retired += batch.replaces.len();
            on_step(MaintenanceStep::CompactedLetters(&made));
            batch.replaces.iter().for_each(|object| on_step(MaintenanceStep::Retired(object)));
            self.applied.letters.push(made);
        }
        reach("maintain-after-compact");
        Ok(())
    }

    /// Creates the object, then the slot that makes it part of the lake; `false` when another process was first.
    async fn commit_object(
        &mut self,
        name: &str,
        bytes: &Bytes,
        slot: MaintenanceSlot,
    ) -> Result<bool, MaintenanceError> {
        reach("maintain-before-object");
        self.create_object(name, bytes).await?;
        reach("maintain-after-object");
        if self.append(slot).await? {
            return Ok(true);
        }
        // The slot of this number is another's, so nothing will ever name the object, unless that slot does.
        let made = BTreeMap::from([(self.place.seq + 1, vec![name.to_owned()])]);
        let leftovers = sweep::leftovers(self.lake, &self.folder, &made).await?;
        self.lake.delete(&leftovers).await?;
        Ok(false)
    }

    /// The name holds a nonce, so an object of that name is an earlier try of this one, or somebody put it there.
    async fn create_object(&self, name: &str, bytes: &Bytes) -> Result<(), MaintenanceError> {
        let path = Path::from(name);
        if self.lake.persist(|| self.lake.store().create(&path, bytes.clone())).await? == Creation::Made {
            return Ok(());
        }
        let (expected, found) = (Hash::of(bytes), self.lake.read(name).await?.map(|found| Hash::of(&found)));
        if found == Some(expected) {
            return Ok(());
        }
        Err(MaintenanceError::Changed { name: name.to_owned(), expected, found })
    }

    fn slot(&self, compacted: Vec<Compacted>, retired: Vec<Retired>, deleted: Vec<String>) -> MaintenanceSlot {
        MaintenanceSlot {
            pipeline: self.folder.pipeline().to_owned(),
            seq: self.place.seq + 1,
            nonce: self.lake.clock().nonce(),
            previous: self.place.sha256,
            committed_at_us: self.lake.clock().now_us(),
            writer: self.writer.clone(),
            ledger_seq: self.ledger_seq,
            compacted,
            letters: vec![],
            retired,
            deleted,
        }
    }

    /// Commits a slot; `false` when another process was first.
    async fn append(&mut self, slot: MaintenanceSlot) -> Result<bool, MaintenanceError> {
        match self.folder.maintenance_chain(self.lake).append(&slot).await.map_err(LedgerError::from)? {
            Appended::Committed(place) => self.place = place,
            Appended::Raced(_) => self.applied.raced = true,
        }
        Ok(!self.applied.raced)
    }
}
