//! One model, as its file defines it.

use turnstile_lake::Hash;

use super::check::Check;
use super::model_error::ModelError;

/// One model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The table's name: that of the file unless the header gives another.
    pub name: String,
    /// The file, for messages.
    pub path: String,
    /// How the table changes.
    pub kind: ModelKind,
    /// The columns that tell its rows apart.
    pub key: Vec<String>,
    /// The column that holds the first instant of the window that a row belongs to.
    pub window: Option<String>,
    /// What it is for.
    pub description: String,
    /// What its columns are.
    pub columns: Vec<ColumnDoc>,
    /// What must hold.
    pub checks: Vec<Check>,
    /// The SELECT.
    pub sql: String,
    /// The line of the file on which the SELECT begins, from 1.
    pub sql_line: usize,
    /// Names of the tables that it reads.
    pub reads: Vec<String>,
}

/// How a model's table changes from load to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// Each load computes the windows that are new or corrected and replaces their rows.
    Incremental,
    /// Each load adds rows with new keys and replaces those whose key occurs again.
    Dimension,
    /// Each load computes the whole table.
    Table,
    /// Nothing is stored: it is computed when it is queried.
    View,
}

/// What a column is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDoc {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub text: String,
}

pub(super) const KINDS: [(&str, ModelKind); 4] = [
    ("incremental", ModelKind::Incremental),
    ("dimension", ModelKind::Dimension),
    ("table", ModelKind::Table),
    ("view", ModelKind::View),
];

impl ModelKind {
    /// The word in the header.
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

impl Model {
    /// SHA-256 of all that decides its rows.
    pub fn fingerprint(&self) -> Hash {
        let decisive = format!("{:?}|{:?}|{:?}|{}", self.kind, self.key, self.window, self.sql);
        Hash::of(decisive.as_bytes())
    }

    pub(crate) fn fault(&self, line: usize, reason: impl Into<String>, hint: impl Into<String>) -> ModelError {
        ModelError::new(&self.path, line, reason, hint)
    }

    /// Whether its rows are stored in a table.
    pub(crate) fn is_stored(&self) -> bool {
        self.kind != ModelKind::View
    }
}
