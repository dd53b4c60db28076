//! BigQuery as a target.
//!
//! In: a [`Delivery`](crate::Delivery), settings. Out: its rows in native tables and the position, in one transaction.
//! Refuses to know how rows came about; reads nothing back but the position. Start at [`BigQueryTarget::new`].
//!
//! ```text
//! rows ─▶ parts ─▶ stage ─▶ load jobs ─▶ staging tables ─▶ script (one transaction) ─▶ tables + position
//!        Parquet   gs:// or upload        expire by themselves    asks where it begins
//! ```
//!
//! What makes a repeated delivery harmless, in the order in which it counts: the script asserts the position in its
//! transaction; a staging table is named after the bytes it holds and overwritten as a whole; a job is named after what
//! it does, so that a repeated request finds the first one's job.

mod api;
mod columns;
mod credentials;
mod deploy;
mod external;
mod fault;
mod parts;
mod script;
mod settings;
mod stage;
mod store;
mod target;
mod windows;

pub use self::credentials::Credentials;
pub use self::external::{ExternalFiles, ExternalFormat, ExternalTable};
pub use self::settings::BigQuerySettings;
pub use self::target::BigQueryTarget;

/// The table that holds the position.
const POSITION: &str = "turnstile_position";
/// What names of tables that are ours begin with; a model may not have such a name.
const OURS: &str = "turnstile_";

/// Full names of tables.
#[derive(Debug, Clone)]
struct Names {
    project: String,
    dataset: String,
}

impl Names {
    fn of(settings: &BigQuerySettings) -> Self {
        Self { project: settings.project.clone(), dataset: settings.dataset.clone() }
    }

    /// For SQL: backticks hold together what dots and hyphens would divide.
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
