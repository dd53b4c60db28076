//! Why the warehouse could not answer or load; variants differ in what the caller does.

use datafusion::error::DataFusionError;
use turnstile_lake::{LedgerError, StoreError};

use crate::model::ModelError;

/// Why the warehouse could not answer or load. Whatever it is, the tables are as they were.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The lake has no ledger of this pipeline: nothing was ever published.
    #[error("{lake} holds nothing of pipeline {pipeline:?} yet")]
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
    },
    /// A record of the warehouse is damaged.
    #[error("{object} is damaged: {reason}")]
    Damaged {
        /// The object, below the lake's root.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A model is wrong; fix its file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A model's query failed on the data.
    #[error("model {model} cannot be computed")]
    Compute {
        /// The model's name.
        model: String,
        /// What the query engine said.
        #[source]
        source: Box<DataFusionError>,
    },
    /// Tests of models failed: nothing was loaded.
    #[error("{}", tests_failed(.failed))]
    Tests {
        /// One line a test.
        failed: Vec<String>,
    },
    /// Another process loaded at the same time; look again.
    #[error("another process loaded the warehouse at the same time")]
    Moved,
    /// The models are not those that made the tables.
    #[error("{}", changed(.models))]
    Changed {
        /// The names of the models that changed.
        models: Vec<String>,
    },
    /// A question cannot be answered.
    #[error("{0}")]
    Query(#[from] Box<DataFusionError>),
}

impl From<DataFusionError> for WarehouseError {
    fn from(error: DataFusionError) -> Self {
        Self::Query(Box::new(error))
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
}

fn tests_failed(failed: &[String]) -> String {
    match failed {
        [one] => format!("a test of the models failed: {one}"),
        many => format!("{} tests of the models failed: {}", many.len(), many.join("; ")),
    }
}

fn changed(models: &[String]) -> String {
    format!("{} changed since its table was made", models.join(", "))
}
