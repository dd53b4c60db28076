//! The chain of commits, from the first to the newest: history, then the log.

use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use turnstile_values::{BoxError, human};

use crate::chain::{ChainEntry, ChainError, ChainRecord};
use crate::error::LedgerError;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::ledger::LedgerFolder;
use crate::ledger::history::{CommitRecord, HistorySegment};
use crate::ledger::open::find_newest;
use crate::slot::{HistoryRef, Slot};
use crate::store::StoreError;

/// Objects read ahead while the chain is walked.
const READS_AHEAD: usize = 8;

/// Calls `visit` for every commit and claim of the pipeline, oldest first, and returns the newest
/// slot; `None` when the pipeline has no ledger. Memory does not grow with the ledger's length.
///
/// # Errors
/// `Corrupt`: a slot or file of history is missing, damaged, or not the one that its successor
/// names. `Store`, `NewerVersion`, `OtherPipeline`, `Name`.
pub async fn for_each_commit(
    lake: &Lake,
    pipeline: &str,
    mut visit: impl FnMut(CommitRecord),
) -> Result<Option<Slot>, LedgerError> {
    let mut broken = None;
    let newest = walk(lake, pipeline, |step| match step {
        WalkStep::Commit(line, _) => visit(*line),
        WalkStep::Break(object, reason) => {
            broken.get_or_insert(LedgerError::Corrupt { object, reason });
        }
    })
    .await?;
    broken.map_or(Ok(newest), Err)
}

/// What a walk along the chain meets.
pub(super) enum WalkStep {
    /// A commit, in order, and the hash of its slot where the walk comes past it.
    Commit(Box<CommitRecord>, Option<Hash>),
    /// A link that does not hold: object and reason.
    Break(String, BoxError),
}

/// A place in the chain at which a walk begins: after slot `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Anchor {
    /// The last slot that is known; 0 before the first.
    pub(super) seq: u64,
    /// Its hash, where it is known.
    pub(super) slot: Option<Hash>,
    /// The newest file of history that ends there or before, where it is known.
    pub(super) history: Option<HistoryRef>,
}

impl Anchor {
    /// After slot `seq`, of which nothing is known.
    pub(super) fn after(seq: u64) -> Self {
        Self { seq, slot: None, history: None }
    }

    /// The slot after which history is read, when `rolled_up` slots are in it: with the file that follows the one that
    /// is known, its link shows that the anchor belongs to this chain.
    fn first_history(&self, rolled_up: u64) -> u64 {
        match self.history {
            _ if self.seq >= rolled_up => rolled_up,
            Some(known) => known.last,
            None => self.seq,
        }
    }
}

/// Walks the whole chain, past broken links too.
pub(super) async fn walk(
    lake: &Lake,
    pipeline: &str,
    on_step: impl FnMut(WalkStep),
) -> Result<Option<Slot>, LedgerError> {
    let folder = LedgerFolder::of(pipeline, lake.segment())?;
    let Some(newest) = find_newest(lake, &folder).await? else { return Ok(None) };
    walk_from(lake, &folder, Anchor::after(0), &newest, on_step).await?;
    Ok(Some(newest.record))
}

/// Walks the chain from an anchor to the newest slot. Files of history and slots that lie wholly before the anchor are
/// not read, but for the file that shows that the anchor belongs to this chain.
pub(super) async fn walk_from(
    lake: &Lake,
    folder: &LedgerFolder,
    anchor: Anchor,
    ChainEntry { record: newest, position }: &ChainEntry<Slot>,
    on_step: impl FnMut(WalkStep),
) -> Result<(), LedgerError> {
    let rolled_up = newest.history.map_or(0, |history| history.last);
    if newest.seq < anchor.seq {
        let (object, mut on_step) = (folder.slot(newest.seq).to_string(), on_step);
        on_step(WalkStep::Break(
            object,
            format!("it is the newest slot, but commit {} was read before", anchor.seq).into(),
        ));
        return Ok(());
    }
    let mut chain = LinkCheck::beginning(folder, anchor, newest, on_step);
    let first_segment = anchor.first_history(rolled_up) / lake.segment();
    let segments = (first_segment..rolled_up / lake.segment()).map(|number| Unit::Segment(number * lake.segment() + 1));
    // The newest slot is here already: reading it again could find what a writer that was fenced put in its place.
    let units = segments.chain((rolled_up.max(anchor.seq) + 1..newest.seq).map(Unit::Slot));
    let mut read = futures::stream::iter(units)
        .map(|unit| async move { (unit, unit.read(lake, folder).await) })
        .buffered(READS_AHEAD);
    while let Some((unit, bytes)) = read.next().await {
        match (unit, bytes?) {
            (Unit::Segment(first), Some(bytes)) => chain.segment(first, &bytes),
            (Unit::Segment(first), None) => chain.missing(Unit::Segment(first)),
            (Unit::Slot(seq), _) if seq < chain.next => {}
            (Unit::Slot(seq), Some(bytes)) => {
                let slot = Slot::decode(&bytes).map_err(|why| ChainError::unreadable(folder.slot(seq), why));
                chain.slot(seq, slot.as_ref(), Some(Hash::of(&bytes)));
            }
            // Rolled up while we read.
            (Unit::Slot(seq), None) => match Unit::Segment(seq).read(lake, folder).await? {
                Some(bytes) => chain.segment(seq, &bytes),
                None => chain.missing(unit),
            },
        }
        let last_segment = matches!(unit, Unit::Segment(first) if folder.segment_of(first).1 == rolled_up);
        if last_segment && !chain.previous_history.holds(newest.history.map(|history| history.sha256)) {
            let object = folder.history(rolled_up).to_string();
            (chain.on_step)(WalkStep::Break(object, "it is not the one that the newest slot names".into()));
        }
    }
    if chain.next == newest.seq {
        chain.slot(newest.seq, Ok(newest), position.sha256);
    } else if chain.next == newest.seq + 1 && !chain.previous_slot.holds(position.sha256) {
        let object = folder.slot(newest.seq).to_string();
        (chain.on_step)(WalkStep::Break(object, "it is not the slot that was read before".into()));
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    /// The file of history that holds this slot.
    Segment(u64),
    Slot(u64),
}

impl Unit {
    async fn read(self, lake: &Lake, folder: &LedgerFolder) -> Result<Option<Bytes>, StoreError> {
        let path = match self {
            Self::Segment(seq) => folder.history(seq),
            Self::Slot(seq) => folder.slot(seq),
        };
        lake.persist(|| lake.store().get(&path)).await
    }
}

/// What the next object must name, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpectedLink {
    Unknown,
    Is(Option<Hash>),
}

impl ExpectedLink {
    fn holds(self, named: Option<Hash>) -> bool {
        self == Self::Unknown || self == Self::Is(named)
    }
}

/// The links so far.
struct LinkCheck<'a, F> {
    folder: &'a LedgerFolder,
    next: u64,
    previous_slot: ExpectedLink,
    previous_history: ExpectedLink,
    on_step: F,
}

impl<'a, F: FnMut(WalkStep)> LinkCheck<'a, F> {
    fn beginning(folder: &'a LedgerFolder, anchor: Anchor, newest: &Slot, on_step: F) -> Self {
        let known = |hash: Option<Hash>| hash.map_or(ExpectedLink::Unknown, |hash| ExpectedLink::Is(Some(hash)));
        let rolled_up = newest.history.map_or(0, |history| history.last);
        let previous_slot = if anchor.seq == 0 { ExpectedLink::Is(None) } else { known(anchor.slot) };
        let first = folder.segment_of(anchor.seq + 1).0;
        let previous_history = if first == 1 {
            ExpectedLink::Is(None)
        } else if anchor.seq >= rolled_up {
            // What is read of history from here on was rolled up after the newest slot was written, perhaps with a
            // file before it that is not read.
            known(newest.history.filter(|history| history.last + 1 == first).map(|history| history.sha256))
        } else {
            known(anchor.history.map(|history| history.sha256))
        };
        Self { folder, next: anchor.seq + 1, previous_slot, previous_history, on_step }
    }

    fn segment(&mut self, seq: u64, bytes: &[u8]) {
        let object = self.folder.history(seq).to_string();
        let (first, last) = self.folder.segment_of(seq);
        match HistorySegment::decode(bytes) {
            Ok(segment) if (segment.header.first, segment.header.last) == (first, last) => {
                if !self.links(&segment, first, last) {
                    self.break_at(object, "it does not follow from the previous one");
                }
                for line in segment.lines.into_iter().filter(|line| line.seq >= self.next) {
                    let hash = (line.seq == last).then_some(segment.header.last_slot);
                    (self.on_step)(WalkStep::Commit(Box::new(line), hash));
                }
                if last + 1 >= self.next {
                    self.previous_slot = ExpectedLink::Is(Some(segment.header.last_slot));
                }
            }
            Ok(_) => self.break_at(object, "its slots differ from its name"),
            Err(reason) => self.break_at(object, reason),
        }
        self.previous_history = ExpectedLink::Is(Some(Hash::of(bytes)));
        self.next = self.next.max(last + 1);
    }

    /// Whether a file of history names what was met before it. Entered midway, its first slot's link is not in it.
    fn links(&self, segment: &HistorySegment, first: u64, last: u64) -> bool {
        let slot = match self.next {
            next if next == first => self.previous_slot.holds(segment.header.previous_slot),
            next if next == last + 1 => self.previous_slot.holds(Some(segment.header.last_slot)),
            _ => true,
        };
        slot && self.previous_history.holds(segment.header.previous_history)
    }

    fn slot(&mut self, seq: u64, slot: Result<&Slot, &ChainError>, hash: Option<Hash>) {
        let path = self.folder.slot(seq);
        match slot {
            Ok(slot) => {
                if slot.seq != seq || slot.pipeline != self.folder.pipeline() {
                    self.break_at(path.to_string(), "its number does not match its name");
                } else if !self.previous_slot.holds(slot.previous) {
                    self.break_at(path.to_string(), "it does not follow from the slot before it");
                }
                (self.on_step)(WalkStep::Commit(Box::new(CommitRecord::of(slot)), hash));
            }
            Err(error) => self.break_at(path.to_string(), human::error(error)),
        }
        self.previous_slot = ExpectedLink::Is(hash);
        if self.folder.segment_of(seq).1 == seq {
            // The file of history that this slot is going to be in was not read.
            self.previous_history = ExpectedLink::Unknown;
        }
        self.next = seq + 1;
    }

    fn missing(&mut self, unit: Unit) {
        let (path, next) = match unit {
            Unit::Segment(seq) => (self.folder.history(seq), self.folder.segment_of(seq).1 + 1),
            Unit::Slot(seq) => (self.folder.slot(seq), seq + 1),
        };
        self.break_at(path.to_string(), "it is missing");
        self.next = next;
    }

    fn break_at(&mut self, object: String, reason: impl Into<BoxError>) {
        (self.on_step)(WalkStep::Break(object, reason.into()));
    }
}
