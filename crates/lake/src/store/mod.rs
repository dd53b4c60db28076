//! The few operations that the ledger needs from a store, and how they fail.
//!
//! In: paths below the lake's root, bytes. Out: the store's response, as what the ledger acts on: created, exists,
//! absent, or an error that says whether the same call may succeed later.
//! Refuses to know slots, windows and writers. Start at [`LakeStore`].

mod local;
mod remote;

use std::error::Error;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::path::Path;

pub(crate) use local::DurableLocal;
pub(crate) use remote::Remote;

/// What a create-if-absent did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creation {
    /// The object did not exist; it does now, durably, with these bytes.
    Made,
    /// Something with that name is there already, or a race for it is still being decided.
    Exists,
}

/// A store of immutable objects with create-if-absent.
///
/// Narrower than [`object_store::ObjectStore`] on purpose: nothing here can overwrite, so no caller
/// can, and a faulty double for the simulation stays small.
pub(crate) trait LakeStore: fmt::Debug + Send + Sync + 'static {
    /// Writes `bytes` unless an object of that name exists. An error leaves the result unknown:
    /// the object may exist now, or appear later.
    fn create(&self, path: &Path, bytes: Bytes) -> BoxFuture<'static, Result<Creation, StoreError>>;

    /// The object's bytes, or `None` when there is no such object.
    fn get(&self, path: &Path) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>>;

    /// CompactedWindow of the object's bytes, or `None` when there is no such object.
    fn get_range(&self, path: &Path, range: Range<u64>) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>>;

    /// Whether the object exists.
    fn exists(&self, path: &Path) -> BoxFuture<'static, Result<bool, StoreError>>;

    /// All objects below `folder` that sort after `after`, sorted.
    fn list(&self, folder: &Path, after: Option<&Path>) -> BoxFuture<'static, Result<Vec<Path>, StoreError>>;

    /// Deletes the objects; those that do not exist are no error.
    fn delete(&self, paths: Vec<Path>) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// The store refused, or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the lake's store could not {operation} {path}")]
pub struct StoreError {
    /// What was asked: create, read, list, delete.
    pub operation: &'static str,
    /// The object or folder, as a person would find it.
    pub path: String,
    /// Whether the same call may succeed later without anyone changing anything.
    pub retriable: bool,
    /// What the store said.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}
