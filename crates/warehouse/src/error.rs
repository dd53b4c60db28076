//! Why the warehouse could not answer or load; variants differ in what the caller does.

use std::error::Error;

use datafusion::error::DataFusionError;
use turnstile_lake::chain::ChainError;
use turnstile_lake::{LedgerError, StoreError};

use turnstile_values::BoxError;

use crate::model::ModelError;

/// Why the warehouse could not answer or load. Whatever it is, the tables are as they were.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The lake has no ledger of this pipeline: nothing was ever published.
    #[error("{lake} has no data of pipeline {pipeline:?} yet")]
    Empty {
        /// The lake's URL.
        lake: String,
        /// The pipeline.
        pipeline: String,
    },
    /// The ledger cannot be read.
    #[error("the ledger cannot be read")]
    Ledger(#[from] LedgerError),
    /// The store does not answer or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the lake or of the warehouse is not what its record says.
    #[error("{name} {reason}")]
    File {
        /// The file, below the lake's root.
        name: String,
        /// What is wrong with it.
        reason: String,
        /// What its decoder reported.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// A record of the warehouse is damaged.
    #[error("{object} is damaged")]
    Damaged {
        /// The object, below the lake's root.
        object: String,
        /// What is wrong with it.
        #[source]
        reason: BoxError,
    },
    /// A record of the warehouse was written by a newer program. Use that one.
    #[error("{object} of the warehouse has format {found}; this program reads up to {known}")]
    NewerVersion {
        /// The object, below the lake's root.
        object: String,
        /// Its format version.
        found: u32,
        /// The newest that this program reads.
        known: u32,
    },
    /// A model is wrong; fix its file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A model's query failed on the data.
    #[error("model {model} cannot be computed")]
    Compute {
        /// The model's name.
        model: String,
        /// What the query engine reported.
        #[source]
        source: Box<DataFusionError>,
    },
    /// Tests of models failed: nothing was loaded.
    #[error("{}", describe_failed_tests(.failed))]
    Tests {
        /// One line per test.
        failed: Vec<String>,
    },
    /// Another process loaded at the same time; read the newest state and try again.
    #[error("another process loaded the warehouse at the same time")]
    Moved,
    /// The models are not those that built the tables.
    #[error("{} changed since its table was built", .models.join(", "))]
    Changed {
        /// The names of the models that changed.
        models: Vec<String>,
    },
    /// The query engine failed.
    #[error(transparent)]
    Query(Box<DataFusionError>),
}

impl From<DataFusionError> for WarehouseError {
    fn from(error: DataFusionError) -> Self {
        Self::Query(Box::new(error))
    }
}

impl From<ChainError> for WarehouseError {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Store(error) => Self::Store(error),
            ChainError::Corrupt { object, reason } => Self::Damaged { object, reason },
            ChainError::Newer { object, found, known } => Self::NewerVersion { object, found, known },
            ChainError::OtherChain { object, found, .. } => Self::damaged(&object, format!("it belongs to {found:?}")),
        }
    }
}

impl From<WarehouseError> for DataFusionError {
    fn from(error: WarehouseError) -> Self {
        Self::External(Box::new(error))
    }
}

impl WarehouseError {
    /// Whether the same load may succeed later without anyone changing anything.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Store(error) | Self::Ledger(LedgerError::Store(error)) => error.retriable,
            Self::Empty { .. } | Self::Moved => true,
            _ => false,
        }
    }

    /// A file that cannot be used, without a deeper cause.
    pub(crate) fn file(name: &str, reason: impl Into<String>) -> Self {
        Self::File { name: name.to_owned(), reason: reason.into(), source: None }
    }

    /// A file that the ledger names and the lake does not hold.
    pub(crate) fn missing_file(name: &str) -> Self {
        Self::file(name, "is in the ledger but not in the lake")
    }

    /// A file whose decoding or encoding failed.
    pub(crate) fn unreadable(
        name: &str,
        reason: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::File { name: name.to_owned(), reason: reason.into(), source: Some(source.into()) }
    }

    /// An object of the record that is not what it should be.
    pub(crate) fn damaged(object: &str, reason: impl Into<BoxError>) -> Self {
        Self::Damaged { object: object.to_owned(), reason: reason.into() }
    }

    /// The query of `model` failed.
    pub(crate) fn compute(model: &str, source: impl Into<DataFusionError>) -> Self {
        Self::Compute { model: model.to_owned(), source: Box::new(source.into()) }
    }
}

fn describe_failed_tests(failed: &[String]) -> String {
    match failed {
        [one] => format!("a test of the models failed: {one}"),
        many => format!("{} tests of the models failed: {}", many.len(), many.join("; ")),
    }
}
