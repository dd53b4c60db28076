//! The chain of commits, from the first to the newest: history, then the log.

use bytes::Bytes;
use futures::StreamExt;

use crate::ledger::Folder;
use crate::ledger::history::{Line, Segment};
use crate::ledger::open::find_newest;
use crate::{Hash, Lake, LedgerError, Slot, StoreError};

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
    mut visit: impl FnMut(Line),
) -> Result<Option<Slot>, LedgerError> {
    let mut broken = None;
    let newest = walk(lake, pipeline, |step| match step {
        Step::Commit(line) => visit(line),
        Step::Break(object, reason) => {
            broken.get_or_insert(LedgerError::Corrupt { object, reason });
        }
    })
    .await?;
    broken.map_or(Ok(newest), Err)
}

/// What a walk along the chain meets.
pub(super) enum Step {
    /// A commit, in order.
    Commit(Line),
    /// A link that does not hold: object and reason.
    Break(String, String),
}

/// Walks the whole chain, past broken links too.
pub(super) async fn walk(lake: &Lake, pipeline: &str, on_step: impl FnMut(Step)) -> Result<Option<Slot>, LedgerError> {
    let folder = Folder::of(pipeline, lake.segment())?;
    let Some((newest, newest_bytes)) = find_newest(lake, &folder).await? else { return Ok(None) };
    let rolled_up = newest.history.map_or(0, |history| history.last);
    let segments = (0..rolled_up / lake.segment()).map(|number| Unit::Segment(number * lake.segment() + 1));
    let units = segments.chain((rolled_up + 1..=newest.seq).map(Unit::Slot));
    let mut read = futures::stream::iter(units)
        .map(|unit| {
            let folder = &folder;
            async move { (unit, unit.read(lake, folder).await) }
        })
        .buffered(READS_AHEAD);

    let mut chain = Chain { folder: &folder, next: 1, previous_slot: None, previous_history: None, on_step };
    while let Some((unit, bytes)) = read.next().await {
        match (unit, bytes?) {
            (Unit::Segment(first), Some(bytes)) => chain.segment(first, &bytes),
            (Unit::Segment(first), None) => chain.missing(Unit::Segment(first)),
            (Unit::Slot(seq), _) if seq < chain.next => {}
            (Unit::Slot(seq), Some(bytes)) => chain.slot(seq, &bytes),
            // Rolled up while we read.
            (Unit::Slot(seq), None) => match Unit::Segment(seq).read(lake, &folder).await? {
                Some(bytes) => chain.segment(seq, &bytes),
                None => chain.missing(unit),
            },
        }
        let last_segment = matches!(unit, Unit::Segment(first) if folder.segment_of(first).1 == rolled_up);
        if last_segment && chain.previous_history != newest.history.map(|history| history.sha256) {
            let object = folder.history(rolled_up).to_string();
            (chain.on_step)(Step::Break(object, "it is not the one that the newest slot names".to_owned()));
        }
    }
    if chain.next == newest.seq + 1 && chain.previous_slot != Some(Hash::of(&newest_bytes)) {
        let object = folder.slot(newest.seq).to_string();
        (chain.on_step)(Step::Break(object, "it changed while it was read".to_owned()));
    }
    Ok(Some(newest))
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    /// The file of history that holds this slot.
    Segment(u64),
    Slot(u64),
}

impl Unit {
    async fn read(self, lake: &Lake, folder: &Folder) -> Result<Option<Bytes>, StoreError> {
        let path = match self {
            Self::Segment(seq) => folder.history(seq),
            Self::Slot(seq) => folder.slot(seq),
        };
        lake.persist(|| lake.store().get(&path)).await
    }
}

/// The links so far.
struct Chain<'a, F> {
    folder: &'a Folder,
    next: u64,
    previous_slot: Option<Hash>,
    previous_history: Option<Hash>,
    on_step: F,
}

impl<F: FnMut(Step)> Chain<'_, F> {
    fn segment(&mut self, seq: u64, bytes: &[u8]) {
        let object = self.folder.history(seq).to_string();
        let (first, last) = self.folder.segment_of(seq);
        let hash = Hash::of(bytes);
        match Segment::decode(bytes) {
            Ok(segment) if (segment.header.first, segment.header.last) == (first, last) => {
                // Entered midway, the first link cannot be compared.
                let linked = self.next > first || segment.header.previous_slot == self.previous_slot;
                if !linked || segment.header.previous_history != self.previous_history {
                    self.break_at(object, "it does not follow from what is before it");
                }
                for line in segment.lines.into_iter().filter(|line| line.seq >= self.next) {
                    (self.on_step)(Step::Commit(line));
                }
                self.previous_slot = Some(segment.header.last_slot);
            }
            Ok(_) => self.break_at(object, "it holds other slots than its name says"),
            Err(reason) => self.break_at(object, &reason),
        }
        self.previous_history = Some(hash);
        self.next = last + 1;
    }

    fn slot(&mut self, seq: u64, bytes: &[u8]) {
        let path = self.folder.slot(seq);
        match crate::ledger::append::read_slot(&path, bytes) {
            Ok(slot) => {
                if slot.seq != seq || slot.pipeline != self.folder.pipeline() {
                    self.break_at(path.to_string(), "it is the slot of another place");
                } else if slot.previous != self.previous_slot {
                    self.break_at(path.to_string(), "it does not follow from the slot before it");
                }
                (self.on_step)(Step::Commit(Line::of(&slot)));
            }
            Err(error) => self.break_at(path.to_string(), &error.to_string()),
        }
        self.previous_slot = Some(Hash::of(bytes));
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

    fn break_at(&mut self, object: String, reason: &str) {
        (self.on_step)(Step::Break(object, reason.to_owned()));
    }
}
