//! Models: SQL files that define tables computed from the external one.
//!
//! In: files, each a header of comments and one SELECT. Out: models in dependency order, or the fault with its file
//! and line.
//! Refuses to know when they run and where their rows go. Start at [`Models::read`]; docs/models.md is for users.

mod check;
mod check_sql;
mod definition;
mod docs;
mod graph;
mod header;
mod model_error;

use std::collections::BTreeSet;
use std::path::Path;

pub use check::{Check, TestResult};
pub use definition::{ColumnDoc, Model, ModelKind};
pub use model_error::ModelError;

/// The models of the pipeline that comes with turnstile: file names and texts.
pub const BUILT_IN: [(&str, &str); 3] = [
    ("models/dim_booth.sql", include_str!("../../../../models/dim_booth.sql")),
    ("models/dim_station.sql", include_str!("../../../../models/dim_station.sql")),
    ("models/fact_turnstile.sql", include_str!("../../../../models/fact_turnstile.sql")),
];

/// Models in an order in which each comes after those that it reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Models {
    ordered: Vec<Model>,
    /// The external table's name.
    external: String,
}

impl Models {
    /// The models in the files `*.sql` of `folder`, over the external table `external`.
    ///
    /// # Errors
    /// The folder cannot be read, or a model is wrong: file, line, what and what to do.
    pub fn read(folder: &Path, external: &str) -> Result<Self, ModelError> {
        let fault = |path: &Path, error: std::io::Error| {
            let hint = "[warehouse] models is a folder of .sql files, relative to the pipeline file";
            ModelError::new(&path.display().to_string(), 1, "cannot be read", hint).caused_by(error)
        };
        let entries = std::fs::read_dir(folder).map_err(|e| fault(folder, e))?;
        let mut texts = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| fault(folder, e))?.path();
            if path.extension().is_some_and(|ending| ending == "sql") {
                let text = std::fs::read_to_string(&path).map_err(|e| fault(&path, e))?;
                texts.push((path.display().to_string(), text));
            }
        }
        texts.sort();
        Self::parse(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())), external)
    }

    /// The models in `texts`: paths and contents.
    ///
    /// # Errors
    /// As [`Models::read`].
    pub fn parse<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>, external: &str) -> Result<Self, ModelError> {
        let models: Result<Vec<Model>, ModelError> =
            texts.into_iter().map(|(path, text)| header::parse(path, text)).collect();
        let ordered = graph::in_order(models?, external)?;
        Ok(Self { ordered, external: external.to_owned() })
    }

    /// A page of Markdown that lists every model with its columns, checks and what it reads.
    pub fn describe(&self) -> String {
        docs::describe(&self.ordered, &self.external)
    }

    /// Each after those that it reads.
    pub fn iter(&self) -> impl Iterator<Item = &Model> {
        self.ordered.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    /// Whether a model is computed over all windows by each load, or is a view over such a one.
    pub(crate) fn is_whole(&self, model: &Model) -> bool {
        graph::is_whole(&self.ordered, &model.name)
    }

    /// Whether a model is a view that only queries can read: no load computes or tests it.
    pub(crate) fn is_query_only(&self, model: &Model) -> bool {
        graph::is_query_only(&self.ordered, &model.name, &self.external)
    }

    /// Whether the table `name`, where a load computes models over some windows, has the rows of these alone: it is the
    /// external table, an incremental model, or a view over such.
    pub(crate) fn is_of_windows(&self, name: &str) -> bool {
        match self.get(name) {
            None => true,
            Some(model) => match model.kind {
                ModelKind::Incremental => true,
                ModelKind::View => model.reads.iter().any(|read| self.is_of_windows(read)),
                ModelKind::Dimension | ModelKind::Table => false,
            },
        }
    }

    /// Whether `model` depends on one of `names`, directly or through others.
    pub(crate) fn depends_on(&self, model: &Model, names: &BTreeSet<String>) -> bool {
        model
            .reads
            .iter()
            .any(|read| names.contains(read) || self.get(read).is_some_and(|read| self.depends_on(read, names)))
    }

    /// The names of the tables that computing and testing `wanted` takes, but for the lake's: views with what they
    /// read, of other models their tables as they are.
    pub(crate) fn needed_by(&self, wanted: &BTreeSet<String>) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<&str> = wanted.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            let Some(model) = self.get(name) else { continue };
            let more = model.reads.iter().chain(model.checks.iter().filter_map(Check::refers_to));
            for name in more.filter(|name| self.get(name).is_some()) {
                if needed.insert(name.clone()) && self.get(name).is_some_and(|model| model.kind == ModelKind::View) {
                    open.push(name);
                }
            }
        }
        needed
    }

    /// The model of that name.
    pub fn get(&self, name: &str) -> Option<&Model> {
        self.ordered.iter().find(|model| model.name == name)
    }
}

#[cfg(test)]
mod tests;
