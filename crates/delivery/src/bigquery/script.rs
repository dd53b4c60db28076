//! The one script that makes a delivery: all tables and the position, in one transaction.
//!
//! In: what was staged. Out: SQL text.
//! It begins by asking whether the target is where the delivery begins and whether every staged row is there; when not,
//! ERROR() ends it and BigQuery rolls back. Two deliverers cannot both come through: each overwrites the one row of the
//! position, and BigQuery cancels one of two transactions that overwrite the same table. Source: its guide
//! "Multi-statement transactions". Start at [`compose`].

use super::windows::{between, condition};
use super::{Names, POSITION};
use crate::{Delivery, Kind, Position, Scope, Table, TableChange};

/// What ERROR() says when the target is elsewhere.
pub(super) const MOVED: &str = "turnstile: the target is at another position";
/// What ERROR() says when a staging table has run out between its load and now.
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

/// The script. `Err` names the table whose windows cannot be told in a query.
pub(super) fn compose(names: &Names, delivery: &Delivery, staged: &[Staged<'_>]) -> Result<String, String> {
    let mut script = String::from("BEGIN TRANSACTION;\n");
    let position = names.quoted(POSITION);
    let at = at(delivery.from.as_ref());
    script.push_str(&demand(&format!("(SELECT COUNT(*) FROM {position} WHERE {at}) = 1"), MOVED));
    for change in staged.iter().filter(|change| change.rows > 0) {
        let rows = source(names, change, "1");
        script.push_str(&demand(&format!("(SELECT COUNT(*) FROM ({rows})) = {}", change.rows), INCOMPLETE));
    }
    for change in staged {
        script.push_str(&merge(names, change)?);
    }
    let Position { warehouse, load, ledger_seq } = &delivery.to;
    script.push_str(&format!(
        "UPDATE {position} SET `warehouse` = {}, `load` = {load}, `ledger_seq` = {ledger_seq}, \
         `applied_at` = CURRENT_TIMESTAMP() WHERE TRUE;\nCOMMIT TRANSACTION;\n",
        text(warehouse)
    ));
    Ok(script)
}

/// Makes the position's table with its one row, in one step: a table without the row would let two first deliveries
/// both add one.
pub(super) fn create_position(names: &Names) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} OPTIONS (description = 'Which load of which turnstile warehouse this dataset \
         holds. One row; written with the tables, in one transaction.') AS SELECT CAST(NULL AS STRING) AS `warehouse`, \
         CAST(NULL AS INT64) AS `load`, CAST(NULL AS INT64) AS `ledger_seq`, CURRENT_TIMESTAMP() AS `applied_at`",
        names.quoted(POSITION)
    )
}

fn demand(what: &str, otherwise: &str) -> String {
    format!("SELECT IF({what}, TRUE, ERROR({}));\n", text(otherwise))
}

fn at(position: Option<&Position>) -> String {
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

fn merge(names: &Names, staged: &Staged<'_>) -> Result<String, String> {
    let table = &*staged.change.table;
    let name = names.quoted(&table.name);
    // What goes: all that the change replaces. `ON FALSE` matches nothing, so that rows are deleted and inserted
    // without a join. Source: "MERGE statement", constant false predicate.
    let gone = match &staged.change.scope {
        Scope::Keys => return Ok(upsert(names, staged)),
        Scope::Everything => "TRUE".to_owned(),
        Scope::Windows(windows) => {
            let Kind::Incremental { window } = &table.kind else { return Err(table.name.clone()) };
            condition(&format!("T.{}", quoted(window)), windows).ok_or_else(|| table.name.clone())?
        }
    };
    if staged.rows == 0 {
        return Ok(format!("DELETE FROM {name} T WHERE {gone};\n"));
    }
    let (columns, values) = lists(table);
    Ok(format!(
        "MERGE {name} T USING ({}) S ON FALSE\nWHEN NOT MATCHED BY SOURCE AND {gone} THEN DELETE\n\
         WHEN NOT MATCHED BY TARGET THEN INSERT ({columns}) VALUES ({values});\n",
        source(names, staged, &columns)
    ))
}

fn upsert(names: &Names, staged: &Staged<'_>) -> String {
    let table = &*staged.change.table;
    if staged.rows == 0 {
        return String::new();
    }
    let (columns, values) = lists(table);
    let mut on: Vec<String> = table.key.iter().map(|key| equal(key)).collect();
    // Where the window is part of the key, rows of other days cannot match, and their partitions are left out.
    if let (Kind::Incremental { window }, Some((first, last))) = (&table.kind, staged.bounds)
        && table.key.contains(window)
    {
        on.push(between(&format!("T.{}", quoted(window)), first, last));
    }
    let others: Vec<String> = names_of(table).filter(|name| !table.key.iter().any(|key| key == name)).collect();
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
        source(names, staged, &columns),
        on.join(" AND ")
    )
}

fn equal(column: &str) -> String {
    format!("T.{0} = S.{0}", quoted(column))
}

/// The staged rows as one query.
fn source(names: &Names, staged: &Staged<'_>, columns: &str) -> String {
    let tables = staged.tables.iter().map(|table| format!("SELECT {columns} FROM {}", names.quoted(table)));
    tables.collect::<Vec<_>>().join(" UNION ALL ")
}

/// The table's columns, and the same of the source.
fn lists(table: &Table) -> (String, String) {
    let columns: Vec<String> = names_of(table).map(|name| quoted(&name)).collect();
    let values: Vec<String> = columns.iter().map(|name| format!("S.{name}")).collect();
    (columns.join(", "), values.join(", "))
}

fn names_of(table: &Table) -> impl Iterator<Item = String> + '_ {
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
