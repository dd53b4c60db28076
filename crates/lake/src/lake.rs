//! A data lake: a place for immutable files, checked for what the ledger needs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::clock::{Clock, SystemClock};
use crate::lake_error::LakeError;
use crate::location::{Location, StoreOptions};
use crate::store::{Creation, DurableLocal, LakeStore, Remote, StoreError};

/// Slots in one file of history. Part of ledger format 1: a history file's name follows from it.
pub(crate) const SEGMENT: u64 = 1024;

/// How often a call that may succeed later is sent, in all.
const TRIES: u32 = 6;

/// The wait before a call is sent again; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A lake, open. Cloning is cheap.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<LakeInner>,
}

struct LakeInner {
    url: String,
    store: Arc<dyn LakeStore>,
    objects: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    segment: u64,
    #[cfg(feature = "simulation")]
    mutant: Option<crate::simulation::Mutant>,
}

impl Lake {
    /// Opens a lake for writing: creates a local folder that does not exist, and checks that the
    /// store honours create-if-absent by creating one object twice.
    ///
    /// # Errors
    /// All variants of [`LakeError`]. Nothing but the probe was written.
    pub async fn open(url: &str, options: &StoreOptions) -> Result<Self, LakeError> {
        let location = Location::parse(url)?;
        let (store, objects): (Arc<dyn LakeStore>, _) = match &location {
            Location::Local(folder) => {
                let folder = folder.clone();
                let made = tokio::task::spawn_blocking(move || DurableLocal::create_root(&folder));
                let store = made.await.expect("creating a folder does not panic");
                (Arc::new(store.map_err(|e| unusable(url, e))?), location.objects(url, options)?)
            }
            _ => {
                let objects = location.objects(url, options)?;
                (Arc::new(Remote::new(objects.clone(), url)), objects)
            }
        };
        let lake = Self::assemble(url, store, objects, Arc::new(SystemClock), SEGMENT);
        lake.probe().await?;
        Ok(lake)
    }

    /// Opens a lake for reading: nothing is created or written. A local folder must exist.
    ///
    /// # Errors
    /// `Url`, `Missing`, `NotBuilt`, `Settings`. That the store answers shows at the first read.
    pub async fn open_for_reading(url: &str, options: &StoreOptions) -> Result<Self, LakeError> {
        let location = Location::parse(url)?;
        if matches!(&location, Location::Local(folder) if !folder.is_dir()) {
            return Err(LakeError::Missing { url: url.to_owned() });
        }
        let objects = location.objects(url, options)?;
        let store: Arc<dyn LakeStore> = match &location {
            Location::Local(folder) => Arc::new(DurableLocal::over(folder)),
            _ => Arc::new(Remote::new(objects.clone(), url)),
        };
        Ok(Self::assemble(url, store, objects, Arc::new(SystemClock), SEGMENT))
    }

    pub(crate) fn assemble(
        url: &str,
        store: Arc<dyn LakeStore>,
        objects: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        segment: u64,
    ) -> Self {
        let inner = LakeInner {
            url: url.to_owned(),
            store,
            objects,
            clock,
            segment,
            #[cfg(feature = "simulation")]
            mutant: None,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same lake, in which a part of the protocol is left out.
    #[cfg(feature = "simulation")]
    pub(crate) fn with_mutant(mut self, mutant: Option<crate::simulation::Mutant>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.mutant = mutant;
        }
        self
    }

    /// Whether the simulation has left out this part of the protocol.
    #[cfg(feature = "simulation")]
    pub(crate) fn is_mutated(&self, mutant: crate::simulation::Mutant) -> bool {
        self.inner.mutant == Some(mutant)
    }

    /// The wall clock, microseconds since the epoch, UTC. For records that people read; no decision depends on it.
    pub fn now_us(&self) -> i64 {
        self.clock().now_us()
    }

    /// A text of `[0-9a-f]` that no other attempt has.
    pub fn nonce(&self) -> String {
        self.clock().nonce()
    }

    /// The lake's URL as it was given.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// The store of the lake's files, with paths as the ledger names them. For readers: what is
    /// written past the ledger is foreign to it.
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        self.inner.objects.clone()
    }

    /// The bytes of one file, or `None` when there is no such file.
    ///
    /// # Errors
    /// The store does not answer or refuses.
    pub async fn read(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let path = Path::from(name);
        self.persist(|| self.store().get(&path)).await
    }

    /// Creates an object that belongs to no pipeline's ledger, such as one of a warehouse over the lake, unless the
    /// name is taken. `false`: something of that name is there, or a race for it is being decided. Never overwrites.
    ///
    /// # Errors
    /// The store does not answer or refuses; the object may exist anyway.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<bool, StoreError> {
        let path = Path::from(name);
        Ok(self.persist(|| self.store().create(&path, bytes.clone())).await? == Creation::Made)
    }

    /// The names below `folder` that sort after `after`, sorted.
    ///
    /// # Errors
    /// The store does not answer or refuses.
    pub async fn list(&self, folder: &str, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let (folder, after) = (Path::from(folder), after.map(Path::from));
        let found = self.persist(|| self.store().list(&folder, after.as_ref())).await?;
        Ok(found.into_iter().map(String::from).collect())
    }

    /// The folders right below `folder`, sorted: none where it is not there.
    ///
    /// # Errors
    /// The store does not answer or refuses.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = Path::from(folder);
        let listed = self.persist(|| async {
            match self.inner.objects.list_with_delimiter(Some(&path)).await {
                Ok(listed) => Ok(listed.common_prefixes),
                Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
                Err(source) => Err(StoreError {
                    operation: "list",
                    path: format!("{}/{path}", self.inner.url),
                    retriable: matches!(
                        source,
                        object_store::Error::Generic { .. } | object_store::Error::JoinError { .. }
                    ),
                    source: source.into(),
                }),
            }
        });
        let mut folders: Vec<String> = listed.await?.into_iter().map(String::from).collect();
        folders.sort_unstable();
        Ok(folders)
    }

    /// Deletes objects that belong to no pipeline's ledger; those that do not exist are no error.
    ///
    /// # Errors
    /// The store does not answer or refuses; some may be deleted.
    pub async fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        let paths: Vec<Path> = names.iter().map(|name| Path::from(name.as_str())).collect();
        self.persist(|| self.store().delete(paths.clone())).await
    }

    pub(crate) fn store(&self) -> &dyn LakeStore {
        self.inner.store.as_ref()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.inner.clock.as_ref()
    }

    pub(crate) fn segment(&self) -> u64 {
        self.inner.segment
    }

    /// Sends a call until it succeeds, fails for good, or was sent often enough.
    pub(crate) async fn persist<T, F>(&self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            match call().await {
                Err(e) if e.retriable => {
                    // Many calls may meet the same trouble at once; the caller gets an error when retrying did not help.
                    tracing::debug!(operation = e.operation, path = e.path, error = %e.source, "sent again in {wait:?}");
                }
                done => return done,
            }
            self.clock().sleep(wait).await;
            wait *= 2;
        }
        call().await
    }

    /// Creates one object twice. Some stores and many emulators accept the second in silence.
    async fn probe(&self) -> Result<(), LakeError> {
        let path = Path::from(format!("_turnstile/probe/{}", self.clock().nonce()));
        let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
        let unusable = |e| unusable(self.url(), e);
        // The first result may be unknown and sent again, so only the second one tells.
        self.persist(|| self.store().create(&path, first.clone())).await.map_err(unusable)?;
        let again = self.persist(|| self.store().create(&path, second.clone())).await.map_err(unusable)?;
        let found = self.persist(|| self.store().get(&path)).await.map_err(unusable)?;
        let seen = match (again, found) {
            (Creation::Exists, Some(found)) if found == first => None,
            (Creation::Made, _) => Some("both succeeded"),
            (Creation::Exists, Some(_)) => Some("left the second one's bytes"),
            (Creation::Exists, None) => Some("left nothing"),
        };
        self.persist(|| self.store().delete(vec![path.clone()])).await.map_err(unusable)?;
        match seen {
            None => Ok(()),
            Some(seen) => {
                let probe = path.to_string();
                Err(LakeError::NotConditional { url: self.url().to_owned(), probe, seen })
            }
        }
    }
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").field("url", &self.inner.url).finish_non_exhaustive()
    }
}

fn unusable(url: &str, source: StoreError) -> LakeError {
    LakeError::Store { url: url.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use futures::FutureExt;
    use futures::future::BoxFuture;
    use object_store::memory::InMemory;

    use super::*;

    /// A store that overwrites in silence, as some emulators do.
    #[derive(Debug)]
    struct Overwriting(Remote);

    impl LakeStore for Overwriting {
        fn create(&self, path: &Path, bytes: Bytes) -> BoxFuture<'static, Result<Creation, StoreError>> {
            let (remote, path) = (self.0.clone(), path.clone());
            async move {
                remote.delete(vec![path.clone()]).await?;
                remote.create(&path, bytes).await
            }
            .boxed()
        }
        fn get(&self, path: &Path) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
            self.0.get(path)
        }
        fn get_range(&self, path: &Path, range: Range<u64>) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
            self.0.get_range(path, range)
        }
        fn exists(&self, path: &Path) -> BoxFuture<'static, Result<bool, StoreError>> {
            self.0.exists(path)
        }
        fn list(&self, folder: &Path, after: Option<&Path>) -> BoxFuture<'static, Result<Vec<Path>, StoreError>> {
            self.0.list(folder, after)
        }
        fn delete(&self, paths: Vec<Path>) -> BoxFuture<'static, Result<(), StoreError>> {
            self.0.delete(paths)
        }
    }

    #[tokio::test]
    async fn a_store_that_overwrites_in_silence_is_refused() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let store = Arc::new(Overwriting(Remote::new(objects.clone(), "memory:")));
        let lake = Lake::assemble("memory:", store, objects, Arc::new(SystemClock), SEGMENT);
        let error = lake.probe().await.unwrap_err();
        assert!(matches!(error, LakeError::NotConditional { seen: "both succeeded", .. }), "{error}");
    }

    #[tokio::test]
    async fn opening_leaves_no_probe_behind() {
        let lake = Lake::open("memory:", &StoreOptions::default()).await.unwrap();
        assert_eq!(lake.store().list(&Path::default(), None).await.unwrap(), vec![]);
    }

    #[tokio::test]
    async fn reading_creates_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}/absent", folder.path().display());
        assert!(matches!(Lake::open_for_reading(&url, &StoreOptions::default()).await, Err(LakeError::Missing { .. })));
        assert!(!folder.path().join("absent").exists());
    }
}
