//! Any store that `object_store` speaks to: S3, Google Cloud Storage, Azure, and memory for tests.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::{Creation, LakeStore, StoreError};

/// An object store, with paths below the lake's root.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    objects: Arc<dyn ObjectStore>,
    /// The lake's address, for errors.
    url: Arc<str>,
}

impl Remote {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, url: &str) -> Self {
        Self { objects, url: url.trim_end_matches('/').into() }
    }

    fn error(&self, operation: &'static str, path: &Path, source: Error) -> StoreError {
        // What only a person can change is not retried; all else may be the network.
        let retriable = matches!(source, Error::Generic { .. } | Error::JoinError { .. });
        StoreError { operation, path: format!("{}/{path}", self.url), retriable, source: source.into() }
    }
}

impl LakeStore for Remote {
    fn create(&self, path: &Path, bytes: Bytes) -> BoxFuture<'static, Result<Creation, StoreError>> {
        let (this, path) = (self.clone(), path.clone());
        async move {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match this.objects.put_opts(&path, PutPayload::from_bytes(bytes), options).await {
                Ok(_) => Ok(Creation::Made),
                // Azure's answer, passed on as it is by object_store up to 0.14.1, is Precondition.
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Creation::Exists),
                Err(e) => Err(this.error("create", &path, e)),
            }
        }
        .boxed()
    }

    fn get(&self, path: &Path) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        let (this, path) = (self.clone(), path.clone());
        async move {
            let read = match this.objects.get_opts(&path, GetOptions::default()).await {
                Ok(found) => found.bytes().await,
                Err(e) => Err(e),
            };
            this.absent_as_none("read", &path, read)
        }
        .boxed()
    }

    fn get_range(&self, path: &Path, range: Range<u64>) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        let (this, path) = (self.clone(), path.clone());
        async move {
            let read = this.objects.get_range(&path, range).await;
            this.absent_as_none("read", &path, read)
        }
        .boxed()
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, Result<bool, StoreError>> {
        let (this, path) = (self.clone(), path.clone());
        async move {
            let found = this.objects.head(&path).await;
            this.absent_as_none("look up", &path, found).map(|found| found.is_some())
        }
        .boxed()
    }

    fn list(&self, folder: &Path, after: Option<&Path>) -> BoxFuture<'static, Result<Vec<Path>, StoreError>> {
        let (this, folder, after) = (self.clone(), folder.clone(), after.cloned());
        async move {
            let listing = match &after {
                Some(after) => this.objects.list_with_offset(Some(&folder), after),
                None => this.objects.list(Some(&folder)),
            };
            let mut found: Vec<Path> = listing
                .map_ok(|object| object.location)
                .try_collect()
                .await
                .map_err(|e| this.error("list", &folder, e))?;
            // Some servers ignore the offset.
            found.retain(|path| after.as_ref().is_none_or(|after| path > after));
            found.sort_unstable();
            Ok(found)
        }
        .boxed()
    }

    fn delete(&self, paths: Vec<Path>) -> BoxFuture<'static, Result<(), StoreError>> {
        let this = self.clone();
        async move {
            let Some(first) = paths.first().cloned() else { return Ok(()) };
            let named = futures::stream::iter(paths).map(Ok).boxed();
            let mut deleted = this.objects.delete_stream(named);
            let mut failed = None;
            while let Some(one) = deleted.next().await {
                match one {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(e) => failed = Some(e),
                }
            }
            failed.map_or(Ok(()), |e| Err(this.error("delete", &first, e)))
        }
        .boxed()
    }
}

impl Remote {
    fn absent_as_none<T>(
        &self,
        operation: &'static str,
        path: &Path,
        result: Result<T, Error>,
    ) -> Result<Option<T>, StoreError> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.error(operation, path, e)),
        }
    }
}
