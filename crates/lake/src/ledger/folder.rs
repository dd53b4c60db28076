//! Names of the ledger's own objects: `_turnstile/<pipeline>/…` beside the data.

use object_store::path::Path;

use crate::chain::Chain;
use crate::error::LedgerError;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::maintenance_slot::MaintenanceSlot;
use crate::slot::Slot;

/// The ledger folder of one pipeline.
#[derive(Debug, Clone)]
pub(crate) struct LedgerFolder {
    pipeline: String,
    segment: u64,
}

impl LedgerFolder {
    /// The folder of `pipeline`, whose name becomes part of file names.
    pub(crate) fn of(pipeline: &str, segment: u64) -> Result<Self, LedgerError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // `probe` and `tmp` are folders of the lake itself.
        let reserved = matches!(pipeline, "probe" | "tmp");
        if pipeline.is_empty()
            || pipeline.len() > 128
            || pipeline.starts_with('.')
            || reserved
            || !pipeline.chars().all(fits)
        {
            return Err(LedgerError::Name { name: pipeline.to_owned() });
        }
        Ok(Self { pipeline: pipeline.to_owned(), segment })
    }

    pub(crate) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    fn below(&self, name: impl AsRef<str>) -> Path {
        Path::from(format!("_turnstile/{}/{}", self.pipeline, name.as_ref()))
    }

    /// The log: the chain of commits.
    pub(crate) fn log_chain(&self, lake: &Lake) -> Chain<Slot> {
        Chain::new(lake, &self.pipeline, self.log().as_ref())
    }

    /// The chain of maintenance.
    pub(crate) fn maintenance_chain(&self, lake: &Lake) -> Chain<MaintenanceSlot> {
        Chain::new(lake, &self.pipeline, self.below("maintenance").as_ref())
    }

    pub(crate) fn log(&self) -> Path {
        self.below("log")
    }

    pub(crate) fn slot(&self, seq: u64) -> Path {
        self.below(format!("log/{seq:020}"))
    }

    pub(crate) fn state(&self) -> Path {
        self.below("state")
    }

    pub(crate) fn stage(&self) -> Path {
        self.below("stage")
    }

    /// A slot of the maintenance chain.
    pub(crate) fn maintenance_slot(&self, seq: u64) -> Path {
        self.below(format!("maintenance/{seq:020}"))
    }

    /// Where checkpoints of the catalog lie, each named by its place in both chains.
    pub(crate) fn checkpoints(&self) -> Path {
        self.below("catalog")
    }

    /// An object that a slot names relative to this folder.
    pub(crate) fn object(&self, name: &str) -> Path {
        self.below(name)
    }

    /// Name of the `number`th object of state of one attempt at slot `seq`.
    pub(crate) fn state_name(seq: u64, nonce: &str, number: usize) -> String {
        format!("state/{seq:020}-{nonce}-{number}")
    }

    /// Name of a staged file of one attempt at slot `seq`.
    ///
    /// Not the hash alone: a writer that was fenced may still be collecting garbage, and must not be
    /// able to delete the bytes that its successor staged, even when they are the same.
    pub(crate) fn stage_name(seq: u64, nonce: &str, sha256: Hash) -> String {
        format!("stage/{seq:020}-{nonce}-{sha256}")
    }

    /// First and last slot of the file of history that slot `seq` belongs to.
    pub(crate) fn segment_of(&self, seq: u64) -> (u64, u64) {
        let first = (seq - 1) / self.segment * self.segment + 1;
        (first, first + self.segment - 1)
    }

    /// The file of history that slot `seq` belongs to. It follows from the number alone, so that two
    /// writers cannot cut history differently, and no listing is needed to find it.
    pub(crate) fn history(&self, seq: u64) -> Path {
        let (first, last) = self.segment_of(seq);
        self.below(format!("history/{first:020}-{last:020}.jsonl.gz"))
    }

    /// The slot that a path in the log folder names.
    pub(crate) fn seq_of(&self, path: &Path) -> Option<u64> {
        path.filename().filter(|name| name.len() == 20)?.parse().ok()
    }

    /// The slot for which a path in the state or stage folder was written.
    pub(crate) fn written_for(&self, path: &Path) -> Option<u64> {
        path.filename()?.get(..20)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_its_folder_is_refused() {
        for name in ["", ".", "..", "a/b", "a b", "ü", ".hidden", "probe"] {
            assert!(matches!(LedgerFolder::of(name, 8), Err(LedgerError::Name { .. })), "{name}");
        }
        assert!(LedgerFolder::of("mta-turnstile_2.1", 8).is_ok());
    }

    #[test]
    fn every_slot_belongs_to_one_file_of_history() {
        let folder = LedgerFolder::of("p", 4).unwrap();
        assert_eq!([1, 4, 5, 8].map(|seq| folder.segment_of(seq)), [(1, 4), (1, 4), (5, 8), (5, 8)]);
        assert_eq!(folder.seq_of(&folder.slot(17)), Some(17));
        let staged = folder.object(&LedgerFolder::stage_name(9, "n", Hash::of(b"")));
        assert_eq!(folder.written_for(&staged), Some(9));
    }
}
