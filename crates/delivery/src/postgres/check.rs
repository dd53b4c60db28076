//! What can be seen to be wrong with a delivery before the server is asked.

use arrow::datatypes::{DataType, TimeUnit};

use super::position::POSITION_TABLE;
use super::settings::NAME_BYTES;
use super::tables::Misfit;
use super::types::PgType;
use crate::{Delivery, Kind, Scope, Table, TableChange};

/// Columns that every table of PostgreSQL has.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

fn misfit<T>(reason: impl Into<String>, hint: impl Into<String>) -> Result<T, Misfit> {
    Err(Misfit { reason: reason.into(), hint: hint.into() })
}

/// Checks positions, tables and scopes.
pub(super) fn delivery(delivery: &Delivery) -> Result<(), Misfit> {
    let (from, to) = (&delivery.from, &delivery.to);
    if let Some(from) = from
        && from.warehouse == to.warehouse
        && from.load >= to.load
    {
        let reason =
            format!("a delivery from load {} of {} to load {} of {}", from.load, from.warehouse, to.load, to.warehouse);
        return misfit(reason, "a delivery goes forward");
    }
    if let Some(table) = delivery.leaves_foreign_rows() {
        let reason = format!("table {table} would keep rows of another warehouse");
        return misfit(reason, "report this: such a delivery replaces every table");
    }
    if i64::try_from(to.load).is_err() || i64::try_from(to.ledger_seq).is_err() {
        return misfit("the position is beyond PostgreSQL's bigint", "report this");
    }
    for one in &delivery.tables {
        table(one)?;
    }
    for one in &delivery.changes {
        table(&one.table)?;
        change(one)?;
    }
    Ok(())
}

fn table(table: &Table) -> Result<(), Misfit> {
    let name = &table.name;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(plain) {
        return misfit(
            format!("\"{name}\" is no table name"),
            format!("lower-case letters, digits and underscores, at most {NAME_BYTES}"),
        );
    }
    if name == POSITION_TABLE {
        return misfit(format!("table {name} is where the position is kept"), "give the model another name");
    }
    for field in table.schema.fields() {
        let column = field.name();
        if column.is_empty() || column.len() > NAME_BYTES || column.contains('\0') {
            let reason = format!("table {name}, column {column}: PostgreSQL's names have 1 to {NAME_BYTES} bytes");
            return misfit(reason, "rename the column in the model");
        }
        if SYSTEM_COLUMNS.contains(&column.as_str()) {
            let reason = format!("table {name}, column {column}: every table of PostgreSQL has a column of this name");
            return misfit(reason, "rename the column in the model");
        }
        if PgType::of(field.data_type()).is_none() {
            let reason = format!("table {name}, column {column}: no PostgreSQL type for {}", field.data_type());
            return misfit(reason, "cast it in the model: text, integers, double, decimal, boolean, date, timestamp");
        }
    }
    key(table)
}

fn key(table: &Table) -> Result<(), Misfit> {
    let name = &table.name;
    if table.key.is_empty() && table.kind != Kind::Table {
        return misfit(format!("table {name} has no key"), "name the key's columns in the model's header");
    }
    if let Some(column) = table.key.iter().find(|column| table.schema.column_with_name(column).is_none()) {
        return misfit(format!("table {name}: its key's column {column} is not one of its columns"), "correct the key");
    }
    let Kind::Incremental { window } = &table.kind else { return Ok(()) };
    match table.schema.field_with_name(window).map(|field| field.data_type()) {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, _)) => Ok(()),
        Ok(other) => misfit(
            format!("table {name}, column {window}: a window's first instant is a timestamp, not {other}"),
            "cast it in the model",
        ),
        Err(_) => misfit(format!("table {name} has no column {window}, which its windows are told by"), "add it"),
    }
}

fn change(change: &TableChange) -> Result<(), Misfit> {
    let name = &change.table.name;
    match (&change.scope, &change.table.kind) {
        (Scope::Windows(_), Kind::Dimension | Kind::Table) => {
            misfit(format!("table {name} has no windows to replace"), "only an incremental model has")
        }
        (Scope::Keys, _) if change.table.key.is_empty() => {
            misfit(format!("table {name} has no key to replace rows by"), "name the key, or replace everything")
        }
        (Scope::Windows(windows), _) if !windows.is_sorted() => {
            misfit(format!("the windows of table {name} are not sorted"), "report this")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};
    use arrow::record_batch::RecordBatch;

    use super::*;
    use crate::Position;

    fn position(load: u64) -> Position {
        Position { warehouse: "w".into(), load, ledger_seq: load }
    }

    fn of(name: &str, columns: Vec<Field>, key: &[&str], kind: Kind, scope: Scope) -> Result<(), String> {
        let key = key.iter().map(|column| (*column).to_owned()).collect();
        let table =
            Table { name: name.into(), description: String::new(), schema: Arc::new(Schema::new(columns)), key, kind };
        let rows = Arc::new(Vec::<RecordBatch>::new());
        let change = TableChange { table: Arc::new(table), scope, rows };
        let tables = vec![Arc::clone(&change.table)];
        let checked = delivery(&Delivery { from: None, to: position(1), tables, changes: vec![change] });
        checked.map_err(|misfit| format!("{}; {}", misfit.reason, misfit.hint))
    }

    #[test]
    fn a_table_that_postgresql_cannot_hold_is_named() {
        let id = || Field::new("id", DataType::Int64, false);
        let said = |name: &str, columns, key: &[&str], kind, scope| of(name, columns, key, kind, scope).unwrap_err();
        assert!(said("Fact", vec![id()], &["id"], Kind::Dimension, Scope::Keys).contains("\"Fact\" is no table name"));
        assert!(said(POSITION_TABLE, vec![id()], &["id"], Kind::Table, Scope::Keys).contains("position is kept"));
        let xmin = Field::new("xmin", DataType::Int64, false);
        assert!(said("t", vec![xmin], &["xmin"], Kind::Dimension, Scope::Keys).contains("column xmin"));
        let binary = Field::new("b", DataType::Binary, true);
        assert!(said("t", vec![id(), binary], &["id"], Kind::Dimension, Scope::Keys).contains("type for Binary"));
        assert!(said("t", vec![id()], &[], Kind::Dimension, Scope::Keys).contains("has no key"));
        assert!(said("t", vec![id()], &["no"], Kind::Dimension, Scope::Keys).contains("column no"));
        let incremental = || Kind::Incremental { window: "id".into() };
        assert!(said("t", vec![id()], &["id"], incremental(), Scope::Keys).contains("a timestamp, not Int64"));
        assert!(said("t", vec![id()], &[], Kind::Table, Scope::Keys).contains("no key to replace"));
        assert!(said("t", vec![id()], &["id"], Kind::Dimension, Scope::Windows(vec![])).contains("no windows"));
        assert_eq!(of("t", vec![id()], &[], Kind::Table, Scope::Everything), Ok(()));
    }

    #[test]
    fn a_delivery_goes_forward() {
        let back = Delivery { from: Some(position(2)), to: position(2), tables: vec![], changes: vec![] };
        assert!(delivery(&back).unwrap_err().reason.contains("from load 2 of w to load 2 of w"));
    }
}
