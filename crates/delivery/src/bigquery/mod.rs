//! BigQuery as a target.
//!
//! In: a [`Delivery`](crate::Delivery), settings. Out: its rows in native tables and the position, in one transaction.
//! Knows nothing of the rows' origin; reads nothing back but the position. Start at [`BigQueryTarget::new`].
//!
//! ```text
//! rows ─▶ parts ─▶ stage ─▶ load jobs ─▶ staging tables ─▶ script (one transaction) ─▶ tables + position
//!        Parquet   gs:// or upload        expire by themselves    asserts the position
//! ```
//!
//! What makes a repeated delivery harmless, most important first: the script asserts the position in its transaction;
//! a staging table is named after its content and always overwritten as a whole; a job's name is deterministic, so
//! that a repeated request finds the first one's job.

mod api;
mod columns;
mod credentials;
mod deploy;
mod error;
mod external;
mod parts;
mod script;
mod settings;
mod stage;
mod store;
mod target;
mod windows;

pub use self::external::{ExternalFiles, ExternalFormat, ExternalTable};
pub use self::settings::BigQueryCredentials;
pub use self::settings::BigQuerySettings;
pub use self::target::BigQueryTarget;

/// The table that holds the position.
const POSITION: &str = "turnstile_position";
/// The prefix of turnstile's own tables; a model's name must not start with it.
const OURS: &str = "turnstile_";

/// The full names of a dataset's tables.
#[derive(Debug, Clone)]
struct Names {
    project: String,
    dataset: String,
}

impl Names {
    fn of(settings: &BigQuerySettings) -> Self {
        Self { project: settings.project.clone(), dataset: settings.dataset.clone() }
    }

    /// For SQL. Backticks keep names with hyphens in one piece.
    fn quoted(&self, table: &str) -> String {
        format!("`{}.{}.{table}`", self.project, self.dataset)
    }

    /// For requests.
    fn reference(&self, table: &str) -> serde_json::Value {
        serde_json::json!({"projectId": self.project, "datasetId": self.dataset, "tableId": table})
    }

    /// The path of the dataset's tables.
    fn tables(&self) -> String {
        format!("datasets/{}/tables", self.dataset)
    }
}
