//! Room outside memory, given to the engine by its caller: the engine itself opens no file.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Creates files for state that does not fit `[stream] memory`.
pub trait SpillSpace: Send + Sync + fmt::Debug {
    /// A new file, empty. It is gone when the last reference to it is, and after a crash.
    ///
    /// # Errors
    /// The file cannot be created.
    fn create(&self) -> io::Result<Arc<dyn SpillFile>>;
}

/// A file of a [`SpillSpace`].
pub trait SpillFile: Send + Sync + fmt::Debug {
    /// Appends `bytes`; gives where they begin.
    ///
    /// # Errors
    /// The space is used up, or the file cannot be written.
    fn append(&self, bytes: &[u8]) -> io::Result<u64>;

    /// Reads what begins at `at`, as many bytes as `into` holds.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}
