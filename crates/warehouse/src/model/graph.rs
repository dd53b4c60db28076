//! Which model comes after which.

use turnstile_values::suggest;

use super::check::Check;
use super::definition::{Model, ModelKind};
use super::model_error::ModelError;
use crate::source::{history_table, live_table};

/// The models, each after those that it reads; among equals by name.
///
/// # Errors
/// Two models of one name, one that has the name of a table of the lake, a table that is not known, a cycle with its
/// path, an incremental model that reads a whole table which changes with each load, or a stored one that reads what
/// only a query can.
pub(super) fn in_order(mut models: Vec<Model>, external: &str) -> Result<Vec<Model>, ModelError> {
    models.sort_by(|a, b| a.name.cmp(&b.name));
    let lake = lake_tables(external);
    if let Some([first, second]) = models.array_windows().find(|[a, b]| a.name == b.name) {
        let reason = format!("{} is also the name of the model in {}", second.name, first.path);
        return Err(second.fault(1, reason, "name one of them with -- name:"));
    }
    if let Some(model) = models.iter().find(|model| lake.contains(&model.name)) {
        let reason = format!("{} is the name of a table of the lake", model.name);
        return Err(model.fault(1, reason, "give the model another name"));
    }
    for model in &models {
        let known = || lake.iter().map(String::as_str).chain(models.iter().map(|model| model.name.as_str()));
        if let Some(unknown) = model.reads.iter().find(|table| !known().any(|known| known == table.as_str())) {
            let reason = format!("it reads {unknown}, which is neither a model nor a table of the lake");
            return Err(model.fault(model.sql_line, reason, suggest(unknown, known().collect::<Vec<_>>())));
        }
    }
    let mut ordered: Vec<Model> = Vec::with_capacity(models.len());
    while !models.is_empty() {
        let waits = |model: &Model| model.reads.iter().any(|table| models.iter().any(|other| other.name == *table));
        match models.iter().position(|model| !waits(model)) {
            Some(ready) => ordered.push(models.remove(ready)),
            None => return Err(cycle(&models)),
        }
    }
    for model in &ordered {
        in_scope(&ordered, model)?;
        loadable(&ordered, model, external)?;
        refers(&ordered, model, &lake, external)?;
    }
    Ok(ordered)
}

/// A stored table cannot depend on what changes while nothing is published: loading again would change it.
fn loadable(models: &[Model], model: &Model, external: &str) -> Result<(), ModelError> {
    if model.kind == ModelKind::View {
        return Ok(());
    }
    match model.reads.iter().find(|name| is_query_only(models, name, external)) {
        None => Ok(()),
        Some(table) => {
            let reason =
                format!("the {} model {} reads {table}, which loads cannot read", model.kind.word(), model.name);
            let hint = "open windows, runs and the ledger's own tables can be read by views only: make it a view";
            Err(model.fault(model.sql_line, reason, hint))
        }
    }
}

/// Whether the tables are there that a model's checks compare with.
fn refers(models: &[Model], model: &Model, lake: &[String], external: &str) -> Result<(), ModelError> {
    for check in &model.checks {
        let Check::Relationship { table, .. } = check else { continue };
        let known = || lake.iter().map(String::as_str).chain(models.iter().map(|model| model.name.as_str()));
        if !known().any(|known| known == table) {
            let reason = format!("{} names {table}, which is neither a model nor a table of the lake", check.text());
            return Err(model.fault(1, reason, suggest(table, known().collect::<Vec<_>>())));
        }
        if is_query_only(models, table, external) && !is_query_only(models, &model.name, external) {
            let reason = format!("{} names {table}, which loads cannot read", check.text());
            return Err(model.fault(1, reason, "compare with a model's table or the external table"));
        }
    }
    Ok(())
}

/// Whether `name` is, or is a view over, a table that only queries can read: the open windows, the runs, the ledger's
/// own. `models` have no cycle.
pub(super) fn is_query_only(models: &[Model], name: &str, external: &str) -> bool {
    let own = name == live_table(external) || name == "load_runs" || name.starts_with("_turnstile.");
    own || models.iter().any(|model| {
        let view = model.name == name && model.kind == ModelKind::View;
        view && model.reads.iter().any(|read| is_query_only(models, read, external))
    })
}

/// Models that are computed over some windows cannot read what is computed over all.
fn in_scope(models: &[Model], model: &Model) -> Result<(), ModelError> {
    if !matches!(model.kind, ModelKind::Incremental | ModelKind::Dimension) {
        return Ok(());
    }
    match model.reads.iter().find(|name| is_whole(models, name)) {
        None => Ok(()),
        Some(table) => {
            let (kind, name) = (model.kind.word(), &model.name);
            let reason = format!("the {kind} model {name} reads {table}, which each load recomputes");
            Err(model.fault(
                model.sql_line,
                reason,
                "read the tables that it is computed from, or make this model a table too",
            ))
        }
    }
}

/// Whether `name` is a table that each load recomputes, or a view over one. `models` have no cycle.
pub(super) fn is_whole(models: &[Model], name: &str) -> bool {
    models.iter().find(|model| model.name == name).is_some_and(|model| match model.kind {
        ModelKind::Table => true,
        ModelKind::View => model.reads.iter().any(|read| is_whole(models, read)),
        ModelKind::Incremental | ModelKind::Dimension => false,
    })
}

/// The tables that are there without any model.
fn lake_tables(external: &str) -> Vec<String> {
    let in_schema = ["files", "windows", "offsets", "dead_letters", "conservation"].map(|t| format!("_turnstile.{t}"));
    let public = [external.to_owned(), history_table(external), live_table(external), "load_runs".to_owned()];
    public.into_iter().chain(in_schema).collect()
}

/// Every one of `models` waits for another: following them leads round.
fn cycle(models: &[Model]) -> ModelError {
    let next = |name: &str| {
        let model = models.iter().find(|model| model.name == name);
        model.and_then(|model| model.reads.iter().find(|table| models.iter().any(|other| other.name == **table)))
    };
    let mut path = vec![models[0].name.as_str()];
    while let Some(table) = next(path[path.len() - 1]) {
        let met = path.iter().position(|name| name == table);
        path.push(table);
        if let Some(first) = met {
            path.drain(..first);
            break;
        }
    }
    let begins = models.iter().find(|model| model.name == path[0]).unwrap_or(&models[0]);
    let reason = format!("the models depend on each other in a cycle: {}", path.join(" -> "));
    begins.fault(begins.sql_line, reason, "remove one of these dependencies")
}
