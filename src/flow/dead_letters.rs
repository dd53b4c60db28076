//! The dead letters of a pipeline: which files there are, and the messages in them.

use std::collections::BTreeMap;

use turnstile_lake::{DeadLetterReader, Lake, OwnedDeadLetter, Published, RowLocation};

use super::fault::ledger_failed;
use crate::exit::Exit;
use crate::report::Failure;

/// Dead-letter files that were selected, oldest first.
#[derive(Debug)]
pub(crate) struct DeadLetterFiles {
    pub(crate) files: Vec<Published>,
    /// The messages of all dead-letter files, by the reason of their rejection.
    pub(crate) reasons: BTreeMap<String, u64>,
}

/// The pipeline's dead-letter files that retention has not deleted: the one called `name`, those with messages rejected for
/// `reason`, or all.
///
/// # Errors
/// No such file; the lake or the ledger cannot be read.
pub(crate) async fn dead_letter_files(
    lake: &Lake,
    pipeline: &str,
    name: Option<&str>,
    reason: Option<&str>,
) -> anyhow::Result<DeadLetterFiles> {
    let mut files = turnstile_lake::dead_letter_files(lake, pipeline).await.map_err(ledger_failed)?;
    files.retain(|f| !matches!(f.place, RowLocation::Retired { .. }));
    let mut reasons = BTreeMap::new();
    for (reason, count) in files.iter().flat_map(|f| &f.file.counts) {
        *reasons.entry(reason.clone()).or_default() += count;
    }
    files.retain(|f| name.is_none_or(|name| name == f.file.name || name == object_of(f)));
    if let (Some(name), true) = (name, files.is_empty()) {
        return Err(Failure::new(Exit::Failed, format!("{name:?} is not a dead-letter file of {pipeline}"))
            .hint("`turnstile deadletter list` lists them")
            .into());
    }
    files.retain(|f| reason.is_none_or(|reason| f.file.counts.contains_key(reason)));
    Ok(DeadLetterFiles { files, reasons })
}

/// The file that holds the messages now.
pub(crate) fn object_of(published: &Published) -> &str {
    match &published.place {
        RowLocation::Compacted { object, .. } => object,
        _ => &published.file.name,
    }
}

/// The messages of a dead-letter file; with a `reason`, those that were rejected for it.
///
/// # Errors
/// The file is gone or damaged, or the lake cannot be read.
pub(crate) async fn dead_letters(
    reader: &mut DeadLetterReader,
    file: &Published,
    reason: Option<&str>,
) -> anyhow::Result<Vec<OwnedDeadLetter>> {
    let gone = || Failure::new(Exit::Lake, format!("{} is no longer in the lake", object_of(file)));
    let mut letters = reader.read(file).await?.ok_or_else(gone)?;
    letters.retain(|letter| reason.is_none_or(|reason| reason == reason_of(letter)));
    Ok(letters)
}

/// The label of the reason: the rest is detail.
pub(crate) fn reason_of(letter: &OwnedDeadLetter) -> &str {
    letter.reason.split(':').next().unwrap_or_default()
}
