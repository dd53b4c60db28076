//! The options of a load, and its result.

use crate::model::TestResult;
use crate::store::LoadRun;

/// Options of a load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Models whose tables are rebuilt from all that is in the lake.
    pub full_refresh: Vec<String>,
}

/// What one load did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Load {
    /// Its record.
    #[serde(flatten)]
    pub run: LoadRun,
    /// The results of the models' tests.
    pub tests: Vec<TestResult>,
    /// Whether the ledger held more than one load takes: load again.
    pub more: bool,
}
