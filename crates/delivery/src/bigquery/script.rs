//! The script that commits a delivery: all tables and the position, in one transaction.
//!
//! In: what was staged. Out: SQL text.
//! It first asserts that the target is at the position that the delivery starts from and that every staged row exists;
//! otherwise ERROR() ends it and BigQuery rolls back. Two writers cannot both succeed: each overwrites the one row of the
//! position, and BigQuery cancels one of two transactions that modify the same table. Source: its guide
//! "Multi-statement transactions". Start at [`compose`].

use super::windows::{between, condition};
use super::{Names, POSITION};
use crate::change::{Delivery, LoadPosition, Scope, TableChange, TableKind, TargetTable};

/// The message of ERROR() if the target is at another position.
pub(super) const MOVED: &str = "turnstile: the target is at another position";
/// The message of ERROR() if a staging table has expired since it was loaded.
pub(super) const INCOMPLETE: &str = "turnstile: a staging table lacks rows";

/// A change whose rows are in staging tables.
#[derive(Debug)]
pub(super) struct Staged<'a> {
    pub(super) change: &'a TableChange,
    /// The staging tables, without the dataset.
    pub(super) tables: Vec<String>,
    pub(super) rows: u64,
    /// The first and last window among the rows, where the table has windows.
    pub(super) bounds: Option<(i64, i64)>,
}

/// The script. `Err` names the table whose windows do not fit into a query.
pub(super) fn compose(names: &Names, delivery: &Delivery, staged: &[Staged<'_>]) -> Result<String, String> {
    let mut script = String::from("BEGIN TRANSACTION;\n");
    let position = names.quoted(POSITION);
    let at_start = position_condition(delivery.from.as_ref());
    script.push_str(&assert_sql(&format!("(SELECT COUNT(*) FROM {position} WHERE {at_start}) = 1"), MOVED));
    for change in staged.iter().filter(|change| change.rows > 0) {
        let rows = select_staged(names, change, "1");
        script.push_str(&assert_sql(&format!("(SELECT COUNT(*) FROM ({rows})) = {}", change.rows), INCOMPLETE));
    }
    for change in staged {
        script.push_str(&replace_sql(names, change)?);
    }
    let LoadPosition { warehouse, load, ledger_seq } = &delivery.to;
    script.push_str(&format!(
        "UPDATE {position} SET `warehouse` = {}, `load` = {load}, `ledger_seq` = {ledger_seq}, \
         `applied_at` = CURRENT_TIMESTAMP() WHERE TRUE;\nCOMMIT TRANSACTION;\n",
        text(warehouse)
    ));
    Ok(script)
}

/// Creates the position's table with its one row, in one step: with a table without the row, two first deliveries could
/// both insert one.
pub(super) fn create_position(names: &Names) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} OPTIONS (description = 'Which load of which turnstile warehouse this dataset \
         holds. One row; written with the tables, in one transaction.') AS SELECT CAST(NULL AS STRING) AS `warehouse`, \
         CAST(NULL AS INT64) AS `load`, CAST(NULL AS INT64) AS `ledger_seq`, CURRENT_TIMESTAMP() AS `applied_at`",
        names.quoted(POSITION)
    )
}

fn assert_sql(what: &str, otherwise: &str) -> String {
    format!("SELECT IF({what}, TRUE, ERROR({}));\n", text(otherwise))
}

fn position_condition(position: Option<&LoadPosition>) -> String {
    match position {
        None => "`load` IS NULL".to_owned(),
        Some(at) => format!(
            "`warehouse` = {} AND `load` = {} AND `ledger_seq` = {}",
            text(&at.warehouse),
            at.load,
            at.ledger_seq
        ),
    }
}

fn replace_sql(names: &Names, staged: &Staged<'_>) -> Result<String, String> {
    let table = &*staged.change.table;
    let name = names.quoted(&table.name);
    // The condition for the rows that the change replaces. `ON FALSE` matches nothing, so that rows are deleted and
    // inserted without a join. Source: "MERGE statement", constant false predicate.
    let removed = match &staged.change.scope {
        Scope::Keys => return Ok(upsert_sql(names, staged)),
        Scope::Everything => "TRUE".to_owned(),
        Scope::Windows(windows) => {
            let TableKind::Incremental { window } = &table.kind else { return Err(table.name.clone()) };
            condition(&format!("T.{}", quoted(window)), windows).ok_or_else(|| table.name.clone())?
        }
    };
    if staged.rows == 0 {
        return Ok(format!("DELETE FROM {name} T WHERE {removed};\n"));
    }
    let (columns, values) = column_lists(table);
    Ok(format!(
        "MERGE {name} T USING ({}) S ON FALSE\nWHEN NOT MATCHED BY SOURCE AND {removed} THEN DELETE\n\
         WHEN NOT MATCHED BY TARGET THEN INSERT ({columns}) VALUES ({values});\n",
        select_staged(names, staged, &columns)
    ))
}

fn upsert_sql(names: &Names, staged: &Staged<'_>) -> String {
    let table = &*staged.change.table;
    if staged.rows == 0 {
        return String::new();
    }
    let (columns, values) = column_lists(table);
    let mut on: Vec<String> = table.key.iter().map(|key| equal(key)).collect();
    // Where the window is part of the key, rows of other days cannot match, and their partitions are pruned.
    if let (TableKind::Incremental { window }, Some((first, last))) = (&table.kind, staged.bounds)
        && table.key.contains(window)
    {
        on.push(between(&format!("T.{}", quoted(window)), first, last));
    }
    let others: Vec<String> = column_names(table).filter(|name| !table.key.iter().any(|key| key == name)).collect();
    let update = match others.is_empty() {
        true => String::new(),
        false => {
            let set: Vec<String> = others.iter().map(|name| format!("{0} = S.{0}", quoted(name))).collect();
            format!("WHEN MATCHED THEN UPDATE SET {}\n", set.join(", "))
        }
    };
    format!(
        "MERGE {} T USING ({}) S ON {}\n{update}WHEN NOT MATCHED BY TARGET THEN INSERT ({columns}) VALUES ({values});\n",
        names.quoted(&table.name),
        select_staged(names, staged, &columns),
        on.join(" AND ")
    )
}

fn equal(column: &str) -> String {
    format!("T.{0} = S.{0}", quoted(column))
}

/// The staged rows as one query.
fn select_staged(names: &Names, staged: &Staged<'_>, columns: &str) -> String {
    let tables = staged.tables.iter().map(|table| format!("SELECT {columns} FROM {}", names.quoted(table)));
    tables.collect::<Vec<_>>().join(" UNION ALL ")
}

/// The table's columns, and the source's.
fn column_lists(table: &TargetTable) -> (String, String) {
    let columns: Vec<String> = column_names(table).map(|name| quoted(&name)).collect();
    let values: Vec<String> = columns.iter().map(|name| format!("S.{name}")).collect();
    (columns.join(", "), values.join(", "))
}

fn column_names(table: &TargetTable) -> impl Iterator<Item = String> + '_ {
    table.schema.fields().iter().map(|field| field.name().clone())
}

fn quoted(name: &str) -> String {
    format!("`{name}`")
}

/// A STRING literal.
fn text(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\r', "\\r");
    format!("'{escaped}'")
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
