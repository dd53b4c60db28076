//! Compares a table with the existing one: what is missing, as statements; what does not match, as an error.
//!
//! Pure: reads the catalog's answer, runs no statement.

use arrow::datatypes::Field;

use super::catalog::Existing;
use super::sql;
use super::types::PgType;
use crate::change::{TableKind, TargetTable};

/// The key of a field's metadata with the column's description.
const COLUMN_DESCRIPTION: &str = "description";

/// What creates or completes a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TablePlan {
    /// It does not exist yet, so rows can be loaded into it directly.
    pub(super) creates: bool,
    /// The columns have exactly our types, so rows can be loaded into it directly.
    pub(super) exact: bool,
    /// Columns that are added to an existing table, for the log.
    pub(super) adds: Vec<String>,
    /// Statements before rows are loaded.
    pub(super) before: Vec<String>,
    /// Statements after the first rows are loaded into a new table: an index is cheaper to build once than row by row.
    pub(super) after: Vec<String>,
}

/// Why a table or delivery cannot be used, and what a person can do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) reason: String,
    pub(super) hint: String,
}

pub(super) fn mismatch<T>(reason: impl Into<String>, hint: impl Into<String>) -> Result<T, Mismatch> {
    Err(Mismatch { reason: reason.into(), hint: hint.into() })
}

/// Plans what is missing. The table itself has been checked before.
pub(super) fn plan(schema: &str, table: &TargetTable, existing: Option<&Existing>) -> Result<TablePlan, Mismatch> {
    let full = sql::table(schema, &table.name);
    match existing {
        None => Ok(create(&full, table)),
        Some(existing) => complete(&full, table, existing),
    }
}

fn create(full: &str, table: &TargetTable) -> TablePlan {
    let column = |field: &Field| {
        let not_null = if table.key.contains(field.name()) { " NOT NULL" } else { "" };
        format!("{} {}{not_null}", sql::name(field.name()), type_of(field))
    };
    let columns: Vec<String> = table.schema.fields().iter().map(|field| column(field)).collect();
    let mut before = vec![format!("CREATE TABLE {full} ({})", columns.join(", "))];
    if !table.description.is_empty() {
        before.push(comment_on_table(full, table));
    }
    let described = table.schema.fields().iter().filter(|field| field.metadata().contains_key(COLUMN_DESCRIPTION));
    before.extend(described.map(|field| comment_on_column(full, field)));
    let mut after = Vec::new();
    if !table.key.is_empty() {
        after.push(add_primary_key(full, table));
    }
    after.extend(window(table).filter(|window| !is_in_key(table, window)).map(|window| add_index(full, window)));
    TablePlan { creates: true, exact: true, adds: Vec::new(), before, after }
}

fn complete(full: &str, table: &TargetTable, existing: &Existing) -> Result<TablePlan, Mismatch> {
    if !matches!(existing.kind.as_str(), "r" | "p") {
        return mismatch(format!("{full} exists and is not a table"), "rename or drop it, or use another `schema`");
    }
    let mut plan = TablePlan { exact: true, ..TablePlan::default() };
    for field in table.schema.fields() {
        match existing.columns.iter().find(|column| column.name == *field.name()) {
            Some(column) => {
                check_type(full, field, &column.sql_type)?;
                plan.exact &= column.sql_type == type_of(field);
            }
            None if table.key.contains(field.name()) => {
                return mismatch(
                    format!("table {full} lacks the key column {}", field.name()),
                    format!("DROP TABLE {full} so that a full delivery recreates it"),
                );
            }
            None => {
                plan.adds.push(field.name().clone());
                let column = sql::name(field.name());
                plan.before.push(format!("ALTER TABLE {full} ADD COLUMN {column} {}", type_of(field)));
            }
        }
    }
    check_others(full, table, existing)?;
    plan_key(full, table, existing, &mut plan)?;
    let has_key = existing.columns.iter().any(|column| column.in_primary_key);
    if let Some(window) = window(table)
        && !existing.columns.iter().any(|column| column.name == window && column.leads_index)
        && (has_key || !is_in_key(table, window))
    {
        plan.before.push(add_index(full, window));
    }
    plan_comments(full, table, existing, &mut plan);
    Ok(plan)
}

fn check_type(full: &str, field: &Field, there: &str) -> Result<(), Mismatch> {
    let Some(ours) = PgType::of(field.data_type()).filter(|ours| !ours.fits(there)) else { return Ok(()) };
    let (column, ours) = (field.name(), ours.sql());
    mismatch(
        format!("table {full}, column {column}: it is {there} in the database and {ours} in the model"),
        format!("ALTER TABLE {full} ALTER COLUMN {} TYPE {ours}, or correct the model", sql::name(column)),
    )
}

/// A column that the model does not fill must be nullable or have a default.
fn check_others(full: &str, table: &TargetTable, existing: &Existing) -> Result<(), Mismatch> {
    let unfilled = |name: &str| table.schema.column_with_name(name).is_none();
    match existing.columns.iter().find(|c| c.not_null && !c.has_default && unfilled(&c.name)) {
        None => Ok(()),
        Some(column) => mismatch(
            format!(
                "table {full}, column {}: it is NOT NULL in the database, and the model has no such column",
                column.name
            ),
            format!("ALTER TABLE {full} ALTER COLUMN {} DROP NOT NULL, or drop it", sql::name(&column.name)),
        ),
    }
}

fn plan_key(full: &str, table: &TargetTable, existing: &Existing, plan: &mut TablePlan) -> Result<(), Mismatch> {
    let mut there: Vec<&str> = existing.columns.iter().filter(|c| c.in_primary_key).map(|c| c.name.as_str()).collect();
    let mut ours: Vec<&str> = table.key.iter().map(String::as_str).collect();
    there.sort_unstable();
    ours.sort_unstable();
    if there == ours {
        return Ok(());
    }
    if there.is_empty() {
        plan.before.push(add_primary_key(full, table));
        return Ok(());
    }
    let names = |key: &[&str]| if key.is_empty() { "none".to_owned() } else { format!("({})", key.join(", ")) };
    mismatch(
        format!("table {full}: its primary key is {} in the database and {} in the model", names(&there), names(&ours)),
        format!("correct the model's key, or DROP TABLE {full} so that a full delivery recreates it"),
    )
}

/// Comments are optional: a user that does not own the table leaves them as they are.
fn plan_comments(full: &str, table: &TargetTable, existing: &Existing, plan: &mut TablePlan) {
    if !existing.owned {
        return;
    }
    if !table.description.is_empty() && existing.comment.as_deref() != Some(&table.description) {
        plan.before.push(comment_on_table(full, table));
    }
    for field in table.schema.fields() {
        let there = existing.columns.iter().find(|column| column.name == *field.name());
        let there = there.and_then(|column| column.comment.as_deref());
        if let Some(ours) = field.metadata().get(COLUMN_DESCRIPTION)
            && there != Some(ours)
        {
            plan.before.push(comment_on_column(full, field));
        }
    }
}

fn window(table: &TargetTable) -> Option<&str> {
    match &table.kind {
        TableKind::Incremental { window } => Some(window),
        TableKind::Dimension | TableKind::Table => None,
    }
}

fn type_of(field: &Field) -> String {
    PgType::of(field.data_type()).map(PgType::sql).unwrap_or_default()
}

fn is_in_key(table: &TargetTable, column: &str) -> bool {
    table.key.iter().any(|key| key == column)
}

/// The window comes first: new rows are then appended to the index, and the rows of a window are found by it.
fn add_primary_key(full: &str, table: &TargetTable) -> String {
    let mut key: Vec<&str> = table.key.iter().map(String::as_str).collect();
    if let Some(window) = window(table) {
        key.sort_by_key(|column| *column != window);
    }
    format!("ALTER TABLE {full} ADD PRIMARY KEY ({})", sql::names("", &key))
}

fn add_index(full: &str, column: &str) -> String {
    format!("CREATE INDEX ON {full} ({})", sql::name(column))
}

fn comment_on_table(full: &str, table: &TargetTable) -> String {
    format!("COMMENT ON TABLE {full} IS {}", sql::text(&table.description))
}

fn comment_on_column(full: &str, field: &Field) -> String {
    let text = field.metadata().get(COLUMN_DESCRIPTION).map_or("", String::as_str);
    format!("COMMENT ON COLUMN {full}.{} IS {}", sql::name(field.name()), sql::text(text))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Schema, TimeUnit};

    use super::super::catalog::ExistingColumn;
    use super::*;

    fn fact() -> TargetTable {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        TargetTable {
            name: "fact".into(),
            description: "entries by station".into(),
            schema: Arc::new(Schema::new(vec![
                Field::new("station", DataType::Utf8View, false),
                Field::new("start_at", instant, false),
                Field::new("entries", DataType::Int64, true),
            ])),
            key: vec!["station".into(), "start_at".into()],
            kind: TableKind::Incremental { window: "start_at".into() },
        }
    }

    fn column(name: &str, sql_type: &str) -> ExistingColumn {
        ExistingColumn { name: name.into(), sql_type: sql_type.into(), ..ExistingColumn::default() }
    }

    /// The table as [`create`] makes it.
    fn there() -> Existing {
        let keyed = |column| ExistingColumn { in_primary_key: true, not_null: true, leads_index: true, ..column };
        Existing {
            kind: "r".into(),
            owned: true,
            comment: Some("entries by station".into()),
            columns: vec![
                keyed(column("station", "text")),
                keyed(column("start_at", "timestamp with time zone")),
                column("entries", "bigint"),
            ],
        }
    }

    #[test]
    fn a_missing_table_is_created_with_key_index_and_comment() {
        let plan = plan("s", &fact(), None).unwrap();
        assert_eq!(
            plan.before,
            [
                "CREATE TABLE \"s\".\"fact\" (\"station\" text NOT NULL, \
                 \"start_at\" timestamp with time zone NOT NULL, \"entries\" bigint)",
                "COMMENT ON TABLE \"s\".\"fact\" IS E'entries by station'",
            ]
        );
        assert_eq!(plan.after, ["ALTER TABLE \"s\".\"fact\" ADD PRIMARY KEY (\"start_at\", \"station\")"]);
        let apart = TargetTable { key: vec!["station".into()], ..fact() };
        let plan = super::plan("s", &apart, None).unwrap();
        assert_eq!(plan.after[1], "CREATE INDEX ON \"s\".\"fact\" (\"start_at\")");
    }

    #[test]
    fn a_matching_table_is_not_changed() {
        let nothing = TablePlan { exact: true, ..TablePlan::default() };
        assert_eq!(plan("s", &fact(), Some(&there())).unwrap(), nothing);
        let mut wider = there();
        wider.columns[2].sql_type = "numeric".into();
        assert_eq!(plan("s", &fact(), Some(&wider)).unwrap(), TablePlan::default());
    }

    #[test]
    fn a_new_column_and_a_missing_key_are_added() {
        let mut existing = there();
        existing.columns.truncate(2);
        existing.columns.iter_mut().for_each(|column| column.in_primary_key = false);
        let plan = plan("s", &fact(), Some(&existing)).unwrap();
        assert_eq!(plan.adds, ["entries"]);
        assert_eq!(plan.before[0], "ALTER TABLE \"s\".\"fact\" ADD COLUMN \"entries\" bigint");
        assert!(plan.before[1].contains("ADD PRIMARY KEY"), "{plan:?}");
    }

    #[test]
    fn a_window_that_does_not_lead_the_key_gets_its_own_index() {
        let mut existing = there();
        existing.columns[1].leads_index = false;
        let plan = plan("s", &fact(), Some(&existing)).unwrap();
        assert_eq!(plan.before, ["CREATE INDEX ON \"s\".\"fact\" (\"start_at\")"]);
    }

    #[test]
    fn a_mismatch_names_table_column_and_both_types() {
        let refused = |change: &dyn Fn(&mut Existing)| {
            let mut existing = there();
            change(&mut existing);
            plan("s", &fact(), Some(&existing)).unwrap_err()
        };
        let narrow = refused(&|table| table.columns[2].sql_type = "integer".into());
        assert_eq!(
            narrow.reason,
            "table \"s\".\"fact\", column entries: it is integer in the database and bigint in the model"
        );
        assert!(narrow.hint.contains("ALTER COLUMN \"entries\" TYPE bigint"), "{narrow:?}");
        let view = refused(&|table| table.kind = "v".into());
        assert!(view.reason.contains("is not a table"), "{view:?}");
        let key = refused(&|table| table.columns[0].in_primary_key = false);
        assert!(key.reason.contains("is (start_at) in the database and (start_at, station) in the model"), "{key:?}");
        let no_key = refused(&|table| drop(table.columns.remove(0)));
        assert!(no_key.reason.contains("lacks the key column station"), "{no_key:?}");
        let extra = ExistingColumn { not_null: true, ..column("loaded_by", "text") };
        let extra = refused(&|table| table.columns.push(extra.clone()));
        assert!(extra.reason.contains("column loaded_by: it is NOT NULL"), "{extra:?}");
    }
}
