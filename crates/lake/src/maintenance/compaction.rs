//! Writes one object from the rows of several, each verified before its rows are read.

use std::collections::HashMap;

use bytes::Bytes;

use super::MaintenanceError;
use super::plan::CompactionBatch;
use crate::format::gather::{FileRows, Gather};
use crate::format::{FormatError, count_rows};
use crate::hash::Hash;
use crate::lake::Lake;

/// The bytes of the object that a batch plans.
///
/// # Errors
/// `Changed`: an object is not what was published. `Rows`: they cannot be put into one object. `Ledger`: the store.
pub(super) async fn gather(lake: &Lake, batch: &CompactionBatch) -> Result<Bytes, MaintenanceError> {
    let mut gather = Gather::new(batch.format);
    let mut left: HashMap<&str, usize> = HashMap::new();
    for source in &batch.parts {
        *left.entry(&source.object).or_default() += 1;
    }
    let mut open: HashMap<&str, FileRows> = HashMap::new();
    for source in &batch.parts {
        let name = source.object.as_str();
        let rows = |source| MaintenanceError::Rows { date: batch.date.clone(), name: name.to_owned(), source };
        if !open.contains_key(name) {
            let bytes = verified(lake, name, source.object_sha256).await?;
            open.insert(name, FileRows::open(batch.format, bytes).map_err(rows)?);
        }
        let from = open.get_mut(name).expect("it was just opened");
        gather.take(from, source.first_row, source.part.rows).map_err(rows)?;
        // An object whose last rows were taken is let go: most give their rows once.
        let windows = left.get_mut(name).expect("all were counted");
        *windows -= 1;
        if *windows == 0 {
            open.remove(name);
        }
    }
    let whole = |source| MaintenanceError::Rows { date: batch.date.clone(), name: "all of them".to_owned(), source };
    let bytes = Bytes::from(gather.finish().map_err(whole)?);
    let name = format!("x.{}", batch.format.extension());
    match count_rows(&name, &bytes).map_err(whole)? {
        rows if rows == batch.rows() => Ok(bytes),
        rows => {
            let reason = format!("{rows} rows were written, but {} were read", batch.rows());
            Err(whole(FormatError::decode(reason)))
        }
    }
}

/// The bytes of an object, which must be those that were published.
pub(super) async fn verified(lake: &Lake, name: &str, expected: Hash) -> Result<Bytes, MaintenanceError> {
    let found = lake.read(name).await?;
    match found {
        Some(bytes) if Hash::of(&bytes) == expected => Ok(bytes),
        other => {
            let found = other.map(|bytes| Hash::of(&bytes));
            Err(MaintenanceError::Changed { name: name.to_owned(), expected, found })
        }
    }
}
