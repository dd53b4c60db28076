//! Files for state that exceeds `[stream] memory`: without a name, so that they are gone with the process, however it ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use turnstile_engine::{SpillFile, SpillSpace};
use turnstile_pipeline::StreamSettings;
use turnstile_values::human;

/// A folder for spilled state, and how much of it may be used.
#[derive(Debug)]
pub(crate) struct SpillFolder {
    folder: PathBuf,
    budget: Arc<SpillBudget>,
}

/// Bytes that all files hold together.
#[derive(Debug)]
struct SpillBudget {
    limit: u64,
    used: AtomicU64,
}

#[derive(Debug)]
struct UnnamedFile {
    file: File,
    len: AtomicU64,
    budget: Arc<SpillBudget>,
}

/// What a pipeline's settings allow; `None`: nothing.
pub(crate) fn spill_space(stream: &StreamSettings) -> Option<Arc<dyn SpillSpace>> {
    let limit = stream.spill_bytes?;
    let folder = stream.spill_dir.clone().unwrap_or_else(temporary_folder);
    Some(Arc::new(SpillFolder::new(&folder, limit)))
}

/// The folder for large temporary files: `/tmp` is in memory on many systems.
fn temporary_folder() -> PathBuf {
    let on_disk = Path::new("/var/tmp");
    if std::env::var_os("TMPDIR").is_none() && on_disk.is_dir() { on_disk.to_owned() } else { std::env::temp_dir() }
}

impl SpillFolder {
    fn new(folder: &Path, limit: u64) -> Self {
        Self { folder: folder.to_owned(), budget: Arc::new(SpillBudget { limit, used: AtomicU64::new(0) }) }
    }
}

impl SpillSpace for SpillFolder {
    fn create(&self) -> io::Result<Arc<dyn SpillFile>> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("no file can be created in {}: {error}", self.folder.display()))
        };
        let file = tempfile::tempfile_in(&self.folder).map_err(named)?;
        Ok(Arc::new(UnnamedFile { file, len: AtomicU64::new(0), budget: Arc::clone(&self.budget) }))
    }
}

impl SpillFile for UnnamedFile {
    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let more = bytes.len() as u64;
        if self.budget.used.fetch_add(more, Ordering::Relaxed) + more > self.budget.limit {
            self.budget.used.fetch_sub(more, Ordering::Relaxed);
            let limit = human::size(self.budget.limit);
            return Err(io::Error::new(io::ErrorKind::StorageFull, format!("`[stream] spill` allows {limit}")));
        }
        let at = self.len.fetch_add(more, Ordering::Relaxed);
        self.file.write_all_at(bytes, at)?;
        Ok(at)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }
}

impl Drop for UnnamedFile {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.len.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_what_is_appended_within_the_limit_of_all_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let space = SpillFolder::new(folder.path(), 10);
        let (one, two) = (space.create().unwrap(), space.create().unwrap());
        assert_eq!((one.append(b"abcd").unwrap(), one.append(b"ef").unwrap(), two.append(b"gh").unwrap()), (0, 4, 0));
        let mut read = [0; 3];
        one.read_at(3, &mut read).unwrap();
        assert_eq!(&read, b"def");
        let error = two.append(b"ijk").unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (io::ErrorKind::StorageFull, "`[stream] spill` allows 10 bytes".to_owned())
        );
        drop(one);
        two.append(b"ijk").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file has a name");
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        let error = SpillFolder::new(Path::new("/nowhere/at/all"), 10).create().unwrap_err();
        assert!(error.to_string().starts_with("no file can be created in /nowhere/at/all: "), "{error}");
    }
}
