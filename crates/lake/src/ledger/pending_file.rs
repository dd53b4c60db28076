//! A file between its commit and its final name.

use crate::slot::FileEntry;

/// A file that is committed, and whether it is known to be at its final name.
#[derive(Debug)]
pub(super) struct PendingFile {
    pub(super) entry: FileEntry,
    pub(super) confirmed: bool,
}

impl PendingFile {
    pub(super) fn new(entry: FileEntry) -> Self {
        Self { entry, confirmed: false }
    }
}
