//! Where the bytes of one segment are stored: a file, or memory.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

/// Bytes that grow at the end and are read anywhere. Shared: a reader keeps them alive after deletion.
#[derive(Debug)]
pub(crate) enum SegmentStorage {
    File(File),
    Memory(RwLock<Vec<u8>>, Budget),
}

/// The memory that all segments without a file share.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    used: Arc<AtomicU64>,
    limit: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// Whether `bytes` more fit. Two concurrent appends may both pass: the limit is approximate.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.used.load(Ordering::Relaxed) + bytes as u64 <= self.limit
    }
}

impl SegmentStorage {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::File(OpenOptions::new().create(true).append(true).read(true).open(path)?))
    }

    pub(crate) fn in_memory(budget: &Budget) -> Self {
        Self::Memory(RwLock::default(), budget.clone())
    }

    /// Appends `head` and `rest` as one piece at `at`, the present end. On an error nothing was appended.
    pub(crate) fn append(&self, at: u64, head: &[u8], rest: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => write_both(file, head, rest).inspect_err(|_| {
                // What follows a torn batch would never be read. If even this fails, recovery truncates it.
                let _ = file.set_len(at);
            }),
            Self::Memory(bytes, budget) => {
                let mut bytes = bytes.write();
                bytes.extend_from_slice(head);
                bytes.extend_from_slice(rest);
                budget.used.fetch_add((head.len() + rest.len()) as u64, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Fills `into` with the bytes from `at` on.
    pub(crate) fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(into, at),
            Self::Memory(bytes, _) => {
                let bytes = bytes.read();
                let from = bytes.get(at as usize..).and_then(|rest| rest.get(..into.len()));
                into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    /// Forces what was appended to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_data(),
            Self::Memory(..) => Ok(()),
        }
    }

    /// Truncates to `len` bytes.
    pub(crate) fn truncate(&self, len: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.set_len(len),
            Self::Memory(bytes, _) => {
                bytes.write().truncate(len as usize);
                Ok(())
            }
        }
    }
}

impl Drop for SegmentStorage {
    fn drop(&mut self) {
        if let Self::Memory(bytes, budget) = self {
            budget.used.fetch_sub(bytes.get_mut().len() as u64, Ordering::Relaxed);
        }
    }
}

fn write_both(mut file: &File, head: &[u8], rest: &[u8]) -> io::Result<()> {
    let written = loop {
        match file.write_vectored(&[IoSlice::new(head), IoSlice::new(rest)]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => break outcome?,
        }
    };
    if written < head.len() {
        file.write_all(&head[written..])?;
        return file.write_all(rest);
    }
    file.write_all(&rest[written - head.len()..])
}
