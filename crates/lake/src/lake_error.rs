//! Why a lake cannot be opened.

use crate::store::StoreError;

/// Why a lake cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The URL is not one of a lake.
    #[error("{url:?} is not the URL of a lake: {reason}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no such folder to read.
    #[error("there is no lake at {url}")]
    Missing {
        /// The URL as given.
        url: String,
    },
    /// This binary was built without the store.
    #[error("the lake {url} needs a build with the feature `{feature}`")]
    NotBuilt {
        /// The URL as given.
        url: String,
        /// The missing feature.
        feature: &'static str,
    },
    /// A setting of the store is unknown, missing or wrong.
    #[error("the settings of the lake {url} are wrong")]
    Settings {
        /// The URL as given.
        url: String,
        /// What the store's client said.
        #[source]
        source: object_store::Error,
    },
    /// The store cannot be read or written.
    #[error("the lake {url} cannot be used; nothing was changed in it")]
    Store {
        /// The URL as given.
        url: String,
        /// What was asked and what the store said.
        #[source]
        source: StoreError,
    },
    /// The store lets one writer overwrite another's object in silence.
    #[error(
        "the lake {url} does not honour create-if-absent: two creates of {probe} {seen}; \
         two writers could both believe that they own the pipeline"
    )]
    NotConditional {
        /// The URL as given.
        url: String,
        /// The object that was tried.
        probe: String,
        /// What happened instead.
        seen: &'static str,
    },
}
