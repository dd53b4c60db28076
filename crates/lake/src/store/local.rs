//! A folder of the local file system as a store whose objects survive a power cut.
//!
//! `object_store`'s own local store does not call fsync, so a slot that it reported as written could
//! be gone after a power cut while files published because of it are still there. Here an object is
//! written to a temporary file, synced, linked to its name (which fails when the name is taken), and
//! the folder is synced before it is reported to exist.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::path::Path;
use uuid::Uuid;

use super::{Creation, LakeStore, StoreError};

/// Where unfinished writes lie, below the root. On the same file system, so that linking works.
const TEMPORARY: &str = "_turnstile/tmp";

/// A temporary file older than this belongs to no living write.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A local folder, written durably.
#[derive(Debug, Clone)]
pub(crate) struct DurableLocal {
    root: Arc<PathBuf>,
}

impl DurableLocal {
    /// A store over `root`, created if it does not exist.
    pub(crate) fn create_root(root: &FsPath) -> Result<Self, StoreError> {
        let store = Self::over(root);
        let temporary = root.join(TEMPORARY);
        make_folder(&temporary).map_err(|e| error("create the folder", &temporary, e))?;
        sweep_abandoned(&temporary);
        Ok(store)
    }

    /// A store over `root`, for reading: nothing is created.
    pub(crate) fn over(root: &FsPath) -> Self {
        Self { root: Arc::new(root.to_path_buf()) }
    }

    fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce(&FsPath, &FsPath) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let root = self.root.clone();
        let target = root.join(path.as_ref());
        Box::pin(async move {
            let named = target.clone();
            match tokio::task::spawn_blocking(move || work(&root, &target)).await {
                Ok(done) => done.map_err(|e| error(operation, &named, e)),
                Err(join) => Err(error(operation, &named, io::Error::other(join))),
            }
        })
    }
}

impl LakeStore for DurableLocal {
    fn create(&self, path: &Path, bytes: Bytes) -> BoxFuture<'static, Result<Creation, StoreError>> {
        self.run("create", path, move |root, target| create(root, target, &bytes))
    }

    fn get(&self, path: &Path) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        self.run("read", path, |_, target| absent_as_none(fs::read(target)).map(|found| found.map(Bytes::from)))
    }

    fn get_range(&self, path: &Path, range: Range<u64>) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        self.run("read", path, move |_, target| {
            let Some(mut file) = absent_as_none(File::open(target))? else { return Ok(None) };
            file.seek(SeekFrom::Start(range.start))?;
            let mut bytes = Vec::new();
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
            Ok(Some(Bytes::from(bytes)))
        })
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.run("look up", path, |_, target| target.try_exists())
    }

    fn list(&self, folder: &Path, after: Option<&Path>) -> BoxFuture<'static, Result<Vec<Path>, StoreError>> {
        let after = after.cloned();
        self.run("list", folder, move |root, target| {
            let mut found = Vec::new();
            collect(root, target, after.as_ref(), &mut found)?;
            found.sort_unstable();
            Ok(found)
        })
    }

    fn delete(&self, paths: Vec<Path>) -> BoxFuture<'static, Result<(), StoreError>> {
        let Some(first) = paths.first().cloned() else { return Box::pin(async { Ok(()) }) };
        self.run("delete", &first, move |root, _| {
            paths.iter().try_for_each(|path| absent_as_none(fs::remove_file(root.join(path.as_ref()))).map(drop))
        })
    }
}

fn create(root: &FsPath, target: &FsPath, bytes: &[u8]) -> io::Result<Creation> {
    let folder = target.parent().ok_or_else(|| io::Error::other("the object has no folder"))?;
    make_folder(folder)?;
    // Not the process id: two containers that share a volume may both be process 1.
    let temporary = root.join(TEMPORARY).join(Uuid::new_v4().simple().to_string());
    let linked = write_synced(&temporary, bytes).and_then(|()| fs::hard_link(&temporary, target));
    // What could not be removed is swept by a later start.
    let _ = fs::remove_file(&temporary);
    let creation = match linked {
        Ok(()) => Creation::Made,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Creation::Exists,
        Err(e) => return Err(e),
    };
    // Also when it exists: an earlier try of ours may have linked it and then failed to sync.
    sync_folder(folder)?;
    Ok(creation)
}

fn write_synced(path: &FsPath, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Creates the folder and those above it, and makes their names durable.
fn make_folder(folder: &FsPath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above)?;
    }
    match fs::create_dir(folder) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    match folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        Some(above) => sync_folder(above),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &FsPath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Other systems have no call for it.
#[cfg(not(unix))]
fn sync_folder(_: &FsPath) -> io::Result<()> {
    Ok(())
}

fn collect(root: &FsPath, folder: &FsPath, after: Option<&Path>, found: &mut Vec<Path>) -> io::Result<()> {
    let Some(entries) = absent_as_none(fs::read_dir(folder))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !path.ends_with(TEMPORARY) {
                collect(root, &path, after, found)?;
            }
            continue;
        }
        let below = path.strip_prefix(root).unwrap_or(&path);
        let named = Path::from_iter(below.iter().map(|part| part.to_string_lossy().into_owned()));
        if after.is_none_or(|after| named > *after) {
            found.push(named);
        }
    }
    Ok(())
}

fn absent_as_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[expect(clippy::disallowed_methods, reason = "only the age of a file that no living write owns depends on it")]
fn sweep_abandoned(temporary: &FsPath) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    for entry in entries.flatten() {
        let age = entry.metadata().and_then(|m| m.modified()).map(|at| SystemTime::now().duration_since(at));
        if matches!(age, Ok(Ok(age)) if age > ABANDONED_AFTER) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn error(operation: &'static str, path: &FsPath, source: io::Error) -> StoreError {
    use ErrorKind::{Interrupted, QuotaExceeded, StorageFull, TimedOut, WouldBlock};
    // Somebody may make room on a full disk; no permission comes by waiting.
    let retriable = matches!(source.kind(), Interrupted | TimedOut | WouldBlock | StorageFull | QuotaExceeded);
    StoreError { operation, path: path.display().to_string(), retriable, source: explain(source) }
}

#[derive(Debug, thiserror::Error)]
#[error("the lake needs a file system with hard links, to write a name only if it is free")]
struct NoHardLinks(#[source] io::Error);

/// Some errors of the operating system need a word about what is missing.
fn explain(source: io::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match source.kind() {
        ErrorKind::Unsupported => NoHardLinks(source).into(),
        _ => source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::from(text)
    }

    #[tokio::test]
    async fn the_first_create_wins_and_the_second_hears_that_the_name_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableLocal::create_root(&folder.path().join("new/lake")).unwrap();
        let name = path("a/b=1/c.gz");
        assert_eq!(store.create(&name, Bytes::from_static(b"one")).await.unwrap(), Creation::Made);
        assert_eq!(store.create(&name, Bytes::from_static(b"two")).await.unwrap(), Creation::Exists);
        assert_eq!(store.get(&name).await.unwrap().unwrap(), "one");
        assert_eq!(store.get_range(&name, 1..3).await.unwrap().unwrap(), "ne");
        assert_eq!(store.list(&path("a"), None).await.unwrap(), vec![name.clone()]);
        assert_eq!(store.list(&path("a"), Some(&name)).await.unwrap(), vec![]);
        store.delete(vec![name.clone(), path("a/absent")]).await.unwrap();
        assert!(!store.exists(&name).await.unwrap());
        assert_eq!(store.get(&name).await.unwrap(), None);
    }

    #[tokio::test]
    async fn no_temporary_file_is_left_or_listed() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableLocal::create_root(folder.path()).unwrap();
        store.create(&path("x"), Bytes::from_static(b"x")).await.unwrap();
        store.create(&path("x"), Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(fs::read_dir(folder.path().join(TEMPORARY)).unwrap().count(), 0);
        fs::write(folder.path().join(TEMPORARY).join("1-1"), "torn").unwrap();
        assert_eq!(store.list(&Path::default(), None).await.unwrap(), vec![path("x")]);
    }

    #[tokio::test]
    async fn a_file_in_the_place_of_the_root_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("lake");
        fs::write(&taken, "a file").unwrap();
        let error = DurableLocal::create_root(&taken).unwrap_err();
        assert!(error.to_string().contains("lake"), "{error}");
        assert!(!error.retriable);
    }
}
