//! The commit protocol: commit, then publish.
//!
//! In: commits, each with offsets, state and files. Out: slots in the log, and each file at its final
//! name exactly once.
//! Refuses to know what the state contains and how the files were made. Timestamps are informational: no decision
//! depends on a clock.
//! Start at [`Ledger::commit`]; the steps are numbered as in docs/ledger.md.

pub(crate) mod append;
mod collect;
mod commit;
mod folder;
mod garbage;
pub(crate) mod history;
pub(crate) mod open;
mod pending_file;
mod publish;
mod rollup;
#[cfg(test)]
mod simulation;
mod state;
#[cfg(test)]
mod tests;
mod write_history;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

pub use commit::{Commit, Committed, NewFile, NewState, Recovered};
pub(crate) use folder::LedgerFolder;
pub use open::Opened;
pub use state::read_state;

use crate::chain::ChainRecord;
use crate::error::corrupt;
use crate::error::{LedgerError, Owner};
use crate::failpoint::reach;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::slot::{FileEntry, Slot, StateRef, WriterId};
use garbage::Garbage;
use pending_file::PendingFile;
use rollup::Rollup;

/// Objects of one commit that are written to the store at the same time.
const WRITES_AT_ONCE: usize = 8;

/// Small blobs of state share an object up to this size: a store charges and syncs by the object.
const STATE_OBJECT_BYTES: usize = 8 << 20;

/// Files committed but not published. Past this, commits are refused until the store takes files.
const PENDING_LIMIT: usize = 65_536;

/// The ledger of one pipeline, owned by this writer until another one claims it.
#[derive(Debug)]
pub struct Ledger {
    lake: Lake,
    folder: LedgerFolder,
    writer: WriterId,
    newest: Arc<Slot>,
    newest_hash: Hash,
    pending: Vec<PendingFile>,
    attempt: Option<Arc<Attempt>>,
    fenced: Option<Owner>,
    garbage: Garbage,
    roll: Rollup,
}

/// A slot on its way to the log, with the objects that it refers to.
#[derive(Debug)]
struct Attempt {
    slot: Slot,
    bytes: Bytes,
    objects: Vec<(Path, Bytes)>,
    /// Bytes of the files in `slot.publish`, in that order.
    files: Vec<Bytes>,
    new_state: Vec<StateRef>,
}

impl Ledger {
    /// Makes one commit: the offsets read, the state kept, the files to publish.
    ///
    /// Returns once the slot is in the log and every file is at its final name, or, when the store
    /// fails after the slot was written, with the files that are still pending.
    ///
    /// A future that is dropped midway, or an error that is retriable, leaves the commit unfinished:
    /// call [`Ledger::retry`] before the next commit.
    ///
    /// # Errors
    /// `Fenced`: another writer owns the pipeline; stop.
    /// `Store`: the store refused or did not answer; `retry`, or stop and open again.
    /// `Unbalanced`: the commit contradicts itself or the commit before; nothing was written.
    /// `FileChanged`: committed, but a foreign file holds a final name.
    /// `Corrupt`, `NewerVersion`: what another writer put in the log cannot be read.
    /// `Unfinished`: an earlier commit must be retried first.
    ///
    /// Source: docs/ledger.md, "A commit".
    pub async fn commit(&mut self, cut: Commit) -> Result<Committed, LedgerError> {
        if let Some(attempt) = &self.attempt {
            return Err(LedgerError::Unfinished { pipeline: self.pipeline().to_owned(), seq: attempt.slot.seq });
        }
        if let Some(owner) = &self.fenced {
            return Err(self.fenced_by(owner.clone(), first_window(cut.publish.iter().map(|file| &file.kind))));
        }
        self.check(&cut)?;
        self.attempt = Some(Arc::new(self.prepare(cut)));
        self.retry().await
    }

    /// Goes on with a commit that was left unfinished, sending the same bytes again.
    ///
    /// # Errors
    /// As [`Ledger::commit`]. Without an unfinished commit: `Unbalanced`.
    pub async fn retry(&mut self) -> Result<Committed, LedgerError> {
        let Some(attempt) = self.attempt.clone() else {
            return Err(self.unbalanced("there is no unfinished commit to retry".to_owned()));
        };
        reach("commit-before-stage");
        self.write_objects(&attempt).await?;
        reach("commit-after-stage");
        #[cfg(feature = "simulation")]
        if self.lake.is_mutated(crate::simulation::Mutant::ActFirst) {
            self.publish_unchecked(&attempt).await?;
        }
        self.append(&attempt).await?;

        // From here the commit is a fact. No await lies between these lines, so a dropped future
        // leaves either an unfinished commit or a finished one.
        self.advance(&attempt);
        self.attempt = None;

        let published = self.publish_pending(Some(&attempt)).await?;
        reach("commit-after-publish");
        self.collect_garbage().await?;
        reach("commit-after-garbage");
        Ok(Committed {
            seq: attempt.slot.seq,
            committed_at_us: attempt.slot.committed_at_us,
            state: attempt.new_state.clone(),
            published,
            pending: self.pending.iter().filter(|file| !file.confirmed).map(|file| file.entry.name.clone()).collect(),
        })
    }

    /// The bytes of one blob of state.
    ///
    /// # Errors
    /// `Corrupt`: it is missing or not what was written. `Fenced`: another writer has taken over and
    /// no longer needs it. `Store`.
    pub async fn read_state(&self, state: &StateRef) -> Result<Bytes, LedgerError> {
        match read_state(&self.lake, self.pipeline(), state).await? {
            Some(bytes) => Ok(bytes),
            None => {
                // Another writer that has taken over in the meantime has also collected the garbage.
                self.ensure_newest(self.newest.seq, self.newest_hash, None).await?;
                let path = self.folder.object(&state.object);
                Err(corrupt(&path, "it is missing, and the newest slot refers to it"))
            }
        }
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        self.folder.pipeline()
    }

    /// The newest slot of this writer.
    pub fn newest(&self) -> &Slot {
        &self.newest
    }

    /// The same, to be kept.
    pub fn newest_shared(&self) -> Arc<Slot> {
        Arc::clone(&self.newest)
    }

    /// The number that the next commit will have: it names that commit's dead letters.
    pub fn next_seq(&self) -> u64 {
        self.newest.seq + 1
    }

    /// Whether a commit was left unfinished and must be retried.
    pub fn is_unfinished(&self) -> bool {
        self.attempt.is_some()
    }

    /// Refuses a commit that contradicts itself or the commit before: a fault of the program must not
    /// become part of the record.
    fn check(&self, cut: &Commit) -> Result<(), LedgerError> {
        let counters = cut.counters.imbalance(&self.newest.counters);
        let wrong = counters.or_else(|| self.wrong_positions(cut)).or_else(|| self.wrong_files(cut));
        wrong.map_or(Ok(()), |reason| Err(self.unbalanced(reason)))
    }

    fn wrong_positions(&self, cut: &Commit) -> Option<String> {
        let now: HashMap<_, _> = cut.positions.iter().map(|now| (&now.partition, now.next_offset)).collect();
        self.newest.positions.iter().find_map(|before| {
            let (partition, then) = (&before.partition, before.next_offset);
            // A topic that was recreated, and that a person chose to continue with, starts again.
            let ids = (self.newest.topic_ids.get(&*partition.topic), cut.topic_ids.get(&*partition.topic));
            if matches!(ids, (Some(then), Some(now)) if then != now) {
                return None;
            }
            // One that was deleted is no longer read, and the commit no longer has its id.
            if matches!(ids, (Some(_), None)) && !now.contains_key(partition) {
                return None;
            }
            match now.get(partition) {
                Some(now) if *now >= then => None,
                Some(now) => Some(format!("{partition} went back from offset {then} to {now}")),
                None => Some(format!("the position of {partition} is missing")),
            }
        })
    }

    fn wrong_files(&self, cut: &Commit) -> Option<String> {
        let mut names = HashSet::new();
        for file in &cut.publish {
            if file.bytes.is_empty() || file.rows == 0 {
                return Some(format!("{} would be empty", file.name));
            }
            if !names.insert(&file.name) {
                return Some(format!("{} is to be published twice", file.name));
            }
        }
        if let Some(foreign) = cut.kept.iter().find(|state| !self.newest.state.contains(state)) {
            return Some(format!("{} is kept but is not in the previous commit", foreign.object));
        }
        let waiting = self.pending.len() + cut.publish.len();
        (waiting > PENDING_LIMIT).then(|| format!("{waiting} files wait to be published, more than {PENDING_LIMIT}"))
    }

    fn prepare(&self, cut: Commit) -> Attempt {
        let (seq, nonce) = (self.next_seq(), self.lake.clock().nonce());
        let mut objects = Vec::new();
        let new_state = self.pack_state(&cut, seq, &nonce, &mut objects);
        let mut files = Vec::with_capacity(cut.publish.len());
        let mut publish = Vec::with_capacity(cut.publish.len());
        for file in cut.publish {
            let sha256 = Hash::of(&file.bytes);
            let stage = LedgerFolder::stage_name(seq, &nonce, sha256);
            objects.push((self.folder.object(&stage), file.bytes.clone()));
            publish.push(FileEntry {
                name: file.name,
                sha256,
                bytes: file.bytes.len() as u64,
                rows: file.rows,
                kind: file.kind,
                sources: file.sources,
                counts: file.counts,
                stage,
            });
            files.push(file.bytes);
        }
        let slot = Slot {
            seq,
            nonce,
            previous: Some(self.newest_hash),
            committed_at_us: self.lake.clock().now_us(),
            writer: self.writer.clone(),
            released: cut.released,
            topic_ids: cut.topic_ids,
            positions: cut.positions,
            watermark_us: cut.watermark_us,
            published_until_us: cut.published_until_us,
            quiet_closed_at_us: cut.quiet_closed_at_us,
            state: cut.kept.into_iter().chain(new_state.iter().cloned()).collect(),
            publish,
            carried: self.pending.iter().filter(|file| !file.confirmed).map(|file| file.entry.clone()).collect(),
            failed: cut.failed,
            excluded: cut.excluded,
            counters: cut.counters,
            recorded_partition_key: cut.partition_key.or_else(|| self.newest.recorded_partition_key.clone()),
            history: self.roll.written().or(self.newest.history),
            pipeline: self.pipeline().to_owned(),
            epoch: self.newest.epoch,
            claimed_at_us: self.newest.claimed_at_us,
            plan_hash: self.newest.plan_hash.clone(),
        };
        let bytes = slot.encode().into();
        Attempt { slot, bytes, objects, files, new_state }
    }

    /// Puts the new blobs into objects, several small ones into one.
    fn pack_state(&self, cut: &Commit, seq: u64, nonce: &str, objects: &mut Vec<(Path, Bytes)>) -> Vec<StateRef> {
        let mut references = Vec::with_capacity(cut.state.len());
        let mut packed: Vec<Vec<&Bytes>> = Vec::new();
        let mut filled = usize::MAX;
        for state in &cut.state {
            if filled.saturating_add(state.bytes.len()) > STATE_OBJECT_BYTES {
                packed.push(Vec::new());
                filled = 0;
            }
            let number = packed.len() - 1;
            packed[number].push(&state.bytes);
            references.push(StateRef {
                object: LedgerFolder::state_name(seq, nonce, number),
                start: filled as u64,
                bytes: state.bytes.len() as u64,
                sha256: Hash::of(&state.bytes),
                kind: state.kind.clone(),
                live_until_us: state.live_until_us,
            });
            filled += state.bytes.len();
        }
        for (number, blobs) in packed.into_iter().enumerate() {
            let bytes = match blobs.as_slice() {
                [one] => (*one).clone(),
                several => several.iter().map(|blob| blob.as_ref()).collect::<Vec<&[u8]>>().concat().into(),
            };
            objects.push((self.folder.object(&LedgerFolder::state_name(seq, nonce, number)), bytes));
        }
        references
    }

    /// Step 2. An object that already exists is this attempt's own: its name holds the nonce.
    async fn write_objects(&self, attempt: &Attempt) -> Result<(), LedgerError> {
        let lake = &self.lake;
        futures::stream::iter(&attempt.objects)
            .map(|(path, bytes)| async move {
                lake.persist(|| lake.store().create(path, bytes.clone())).await?;
                reach("commit-in-stage");
                Ok(())
            })
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect()
            .await
    }

    /// Takes the attempt's slot as the newest one.
    fn advance(&mut self, attempt: &Attempt) {
        let before = std::mem::replace(&mut self.newest, Arc::new(attempt.slot.clone()));
        self.newest_hash = Hash::of(&attempt.bytes);
        let dropped: Vec<PendingFile> = self.pending.extract_if(.., |file| file.confirmed).collect();
        self.pending.extend(attempt.slot.publish.iter().cloned().map(PendingFile::new));
        self.garbage.superseded(&self.folder, &before, &self.newest, &dropped);
        self.roll.committed(&attempt.slot, self.newest_hash);
    }

    fn unbalanced(&self, reason: String) -> LedgerError {
        LedgerError::Unbalanced { pipeline: self.pipeline().to_owned(), seq: self.next_seq(), reason }
    }

    fn fenced_by(&self, owner: Owner, window_start_us: Option<i64>) -> LedgerError {
        let (pipeline, lake) = (self.pipeline().to_owned(), self.lake.url().to_owned());
        LedgerError::Fenced { pipeline, lake, window_start_us, owner }
    }
}

fn first_window<'a>(kinds: impl Iterator<Item = &'a crate::slot::FileKind>) -> Option<i64> {
    kinds
        .filter_map(|kind| match kind {
            crate::slot::FileKind::Window { start_us, .. } => Some(*start_us),
            crate::slot::FileKind::DeadLetters => None,
        })
        .min()
}
