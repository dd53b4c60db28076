//! Checks a delivery without the server.

use arrow::datatypes::{DataType, TimeUnit};

use super::position::POSITION_TABLE;
use super::settings::NAME_BYTES;
use super::tables::{Mismatch, mismatch};
use super::types::PgType;
use crate::change::{Delivery, Scope, TableChange, TableKind, TargetTable};

/// Columns that every table of PostgreSQL has.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// Checks positions, tables and scopes.
pub(super) fn delivery(delivery: &Delivery) -> Result<(), Mismatch> {
    let (from, to) = (&delivery.from, &delivery.to);
    if let Some(from) = from
        && from.warehouse == to.warehouse
        && from.load >= to.load
    {
        let reason =
            format!("a delivery from load {} of {} to load {} of {}", from.load, from.warehouse, to.load, to.warehouse);
        return mismatch(reason, "a delivery must advance the position");
    }
    if let Some(table) = delivery.partially_replaced_table() {
        let reason = format!("table {table} would keep rows of another warehouse");
        return mismatch(reason, "report this: such a delivery replaces every table");
    }
    if i64::try_from(to.load).is_err() || i64::try_from(to.ledger_seq).is_err() {
        return mismatch("the position is beyond PostgreSQL's bigint", "report this");
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

fn table(table: &TargetTable) -> Result<(), Mismatch> {
    let name = &table.name;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(plain) {
        return mismatch(
            format!("\"{name}\" is not a valid table name"),
            format!("lower-case letters, digits and underscores, at most {NAME_BYTES}"),
        );
    }
    if name == POSITION_TABLE {
        return mismatch(format!("table {name} is reserved for the position"), "give the model another name");
    }
    for field in table.schema.fields() {
        let column = field.name();
        if column.is_empty() || column.len() > NAME_BYTES || column.contains('\0') {
            let reason = format!("table {name}, column {column}: a name in PostgreSQL has 1 to {NAME_BYTES} bytes");
            return mismatch(reason, "rename the column in the model");
        }
        if SYSTEM_COLUMNS.contains(&column.as_str()) {
            let reason =
                format!("table {name}, column {column}: every table of PostgreSQL has a column with this name");
            return mismatch(reason, "rename the column in the model");
        }
        if PgType::of(field.data_type()).is_none() {
            let reason = format!("table {name}, column {column}: no PostgreSQL type for {}", field.data_type());
            return mismatch(reason, "cast it in the model: text, integers, double, decimal, boolean, date, timestamp");
        }
    }
    key(table)
}

fn key(table: &TargetTable) -> Result<(), Mismatch> {
    let name = &table.name;
    if table.key.is_empty() && table.kind != TableKind::Table {
        return mismatch(format!("table {name} has no key"), "name the key's columns in the model's header");
    }
    if let Some(column) = table.key.iter().find(|column| table.schema.column_with_name(column).is_none()) {
        return mismatch(format!("table {name}: the key column {column} is not one of its columns"), "correct the key");
    }
    let TableKind::Incremental { window } = &table.kind else { return Ok(()) };
    match table.schema.field_with_name(window).map(|field| field.data_type()) {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, _)) => Ok(()),
        Ok(other) => mismatch(
            format!("table {name}, column {window}: the start of a window must be a timestamp, not {other}"),
            "cast it in the model",
        ),
        Err(_) => mismatch(format!("table {name} has no column {window}, which identifies its windows"), "add it"),
    }
}

fn change(change: &TableChange) -> Result<(), Mismatch> {
    let name = &change.table.name;
    match (&change.scope, &change.table.kind) {
        (Scope::Windows(_), TableKind::Dimension | TableKind::Table) => {
            mismatch(format!("table {name} has no windows to replace"), "only an incremental model has windows")
        }
        (Scope::Keys, _) if change.table.key.is_empty() => {
            mismatch(format!("table {name} has no key to replace rows by"), "name the key, or replace everything")
        }
        (Scope::Windows(windows), _) if !windows.is_sorted() => {
            mismatch(format!("the windows of table {name} are not sorted"), "report this")
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
    use crate::change::LoadPosition;

    fn position(load: u64) -> LoadPosition {
        LoadPosition { warehouse: "w".into(), load, ledger_seq: load }
    }

    fn of(name: &str, columns: Vec<Field>, key: &[&str], kind: TableKind, scope: Scope) -> Result<(), String> {
        let key = key.iter().map(|column| (*column).to_owned()).collect();
        let table = TargetTable {
            name: name.into(),
            description: String::new(),
            schema: Arc::new(Schema::new(columns)),
            key,
            kind,
        };
        let rows = Arc::new(Vec::<RecordBatch>::new());
        let change = TableChange { table: Arc::new(table), scope, rows };
        let tables = vec![Arc::clone(&change.table)];
        let checked = delivery(&Delivery { from: None, to: position(1), tables, changes: vec![change] });
        checked.map_err(|mismatch| format!("{}; {}", mismatch.reason, mismatch.hint))
    }

    #[test]
    fn a_table_that_postgresql_cannot_hold_is_named() {
        let id = || Field::new("id", DataType::Int64, false);
        let refused = |name: &str, columns, key: &[&str], kind, scope| of(name, columns, key, kind, scope).unwrap_err();
        assert!(
            refused("Fact", vec![id()], &["id"], TableKind::Dimension, Scope::Keys)
                .contains("\"Fact\" is not a valid table name")
        );
        assert!(
            refused(POSITION_TABLE, vec![id()], &["id"], TableKind::Table, Scope::Keys)
                .contains("reserved for the position")
        );
        let xmin = Field::new("xmin", DataType::Int64, false);
        assert!(refused("t", vec![xmin], &["xmin"], TableKind::Dimension, Scope::Keys).contains("column xmin"));
        let binary = Field::new("b", DataType::Binary, true);
        assert!(
            refused("t", vec![id(), binary], &["id"], TableKind::Dimension, Scope::Keys).contains("type for Binary")
        );
        assert!(refused("t", vec![id()], &[], TableKind::Dimension, Scope::Keys).contains("has no key"));
        assert!(refused("t", vec![id()], &["no"], TableKind::Dimension, Scope::Keys).contains("column no"));
        let incremental = || TableKind::Incremental { window: "id".into() };
        assert!(refused("t", vec![id()], &["id"], incremental(), Scope::Keys).contains("a timestamp, not Int64"));
        assert!(refused("t", vec![id()], &[], TableKind::Table, Scope::Keys).contains("no key to replace"));
        assert!(refused("t", vec![id()], &["id"], TableKind::Dimension, Scope::Windows(vec![])).contains("no windows"));
        assert_eq!(of("t", vec![id()], &[], TableKind::Table, Scope::Everything), Ok(()));
    }

    #[test]
    fn a_delivery_goes_forward() {
        let back = Delivery { from: Some(position(2)), to: position(2), tables: vec![], changes: vec![] };
        assert!(delivery(&back).unwrap_err().reason.contains("from load 2 of w to load 2 of w"));
    }
}
