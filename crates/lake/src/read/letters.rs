//! The dead letters of published files, wherever they lie now.

use bytes::Bytes;

use super::catalog::Catalog;
use super::places::{Places, RowLocation};
use super::provenance::{Published, entries_of};
use super::recent::commit_record;
use crate::error::LedgerError;
use crate::format::letter_lines::LetterLines;
use crate::format::{FormatError, OwnedDeadLetter, decode_dead_letter};
use crate::lake::Lake;
use crate::slot::FileKind;
use crate::store::StoreError;

/// The files of dead letters that the pipeline ever published, in the order of their commits.
///
/// # Errors
/// As [`super::for_each_commit`].
pub async fn dead_letter_files(lake: &Lake, pipeline: &str) -> Result<Vec<Published>, LedgerError> {
    entries_of(lake, pipeline, |file| file.kind == FileKind::DeadLetters).await
}

/// The newest `most` files of dead letters of a catalog that retention has not deleted, oldest first. Reads their commits only,
/// however many there are.
///
/// # Errors
/// As [`commit_record`].
pub async fn recent_dead_letter_files(
    lake: &Lake,
    catalog: &Catalog,
    most: usize,
) -> Result<Vec<Published>, LedgerError> {
    let pipeline = catalog.pipeline();
    let places = Places::read(lake, pipeline).await?;
    let known = catalog.dead_letters();
    let mut recent = Vec::new();
    for letters in &known[known.len().saturating_sub(most)..] {
        let Some(commit) = commit_record(lake, pipeline, letters.seq).await? else { continue };
        let Some(file) = commit.files.into_iter().find(|file| file.kind == FileKind::DeadLetters) else { continue };
        let place = places.of(commit.seq, &file);
        if matches!(place, RowLocation::Retired { .. }) {
            continue;
        }
        let (seq, epoch, committed_at_us, host) = (commit.seq, commit.epoch, commit.committed_at_us, commit.host);
        recent.push(Published { file, seq, epoch, committed_at_us, host, confirmed: true, place });
    }
    Ok(recent)
}

/// Reads the dead letters of files, one file after the other. The object that was read last is kept: files that were
/// merged follow each other in it.
#[derive(Debug)]
pub struct DeadLetterReader {
    lake: Lake,
    open: Option<(String, LetterLines)>,
}

/// Dead letters that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The store does not answer or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object is not what was published.
    #[error("{name} cannot be read as dead letters")]
    Format {
        /// The object, below the lake's root.
        name: String,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
}

impl DeadLetterReader {
    /// Reads from `lake`.
    pub fn new(lake: &Lake) -> Self {
        Self { lake: lake.clone(), open: None }
    }

    /// The dead letters of one file; `None`: they were deleted.
    ///
    /// # Errors
    /// `Store`; `Format`: the object that holds them is damaged.
    pub async fn read(&mut self, published: &Published) -> Result<Option<Vec<OwnedDeadLetter>>, DeadLetterError> {
        let (name, first) = match &published.place {
            RowLocation::Own => (&published.file.name, 0),
            RowLocation::Compacted { object, first_row } => (object, *first_row),
            RowLocation::Retired { .. } => return Ok(None),
        };
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            let Some(bytes) = self.lake.read(name).await? else { return Ok(None) };
            self.open = Some((name.clone(), LetterLines::of(Bytes::clone(&bytes))));
        }
        let Some((_, lines)) = &mut self.open else { return Ok(None) };
        let mut letters = Vec::new();
        let taken = lines.take(first, published.file.rows, |line| {
            letters.push(decode_dead_letter(line)?);
            Ok(())
        });
        taken.map_err(|source| DeadLetterError::Format { name: name.clone(), source })?;
        Ok(Some(letters))
    }
}
