//! What is missing of a table, as statements; what does not fit, as words.
//!
//! Pure: what is there comes in, what is to be done comes out.

use arrow::datatypes::Field;

use super::catalog::Existing;
use super::sql;
use super::types::PgType;
use crate::{Kind, Table};

/// The key of a field's metadata that holds what the column is for.
const COLUMN_DESCRIPTION: &str = "description";

/// What makes a table as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// It is not there yet, so rows can be loaded into it directly.
    pub(super) creates: bool,
    /// The columns are of our very types, so rows can be loaded into it as they are written.
    pub(super) exact: bool,
    /// Columns that are added to a table that was there, for the log.
    pub(super) adds: Vec<String>,
    /// Before rows are loaded.
    pub(super) before: Vec<String>,
    /// After the first rows are loaded into a new table: keys are cheaper to make once than row by row.
    pub(super) after: Vec<String>,
}

/// A table that is not as it should be, and what a person can do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) reason: String,
    pub(super) hint: String,
}

fn misfit<T>(reason: String, hint: impl Into<String>) -> Result<T, Misfit> {
    Err(Misfit { reason, hint: hint.into() })
}

/// Plans what is missing. The table itself has been checked before.
pub(super) fn plan(schema: &str, table: &Table, existing: Option<&Existing>) -> Result<Plan, Misfit> {
    let full = sql::table(schema, &table.name);
    match existing {
        None => Ok(create(&full, table)),
        Some(existing) => complete(&full, table, existing),
    }
}

fn create(full: &str, table: &Table) -> Plan {
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
    Plan { creates: true, exact: true, adds: Vec::new(), before, after }
}

fn complete(full: &str, table: &Table, existing: &Existing) -> Result<Plan, Misfit> {
    if !matches!(existing.kind.as_str(), "r" | "p") {
        return misfit(
            format!("{full} is there and is not a table"),
            "rename or drop it, or take another `schema`: this one is the warehouse's own",
        );
    }
    let mut plan = Plan { exact: true, ..Plan::default() };
    for field in table.schema.fields() {
        match existing.columns.iter().find(|column| column.name == *field.name()) {
            Some(column) => {
                check_type(full, field, &column.sql_type)?;
                plan.exact &= column.sql_type == type_of(field);
            }
            None if table.key.contains(field.name()) => {
                return misfit(
                    format!("table {full} lacks the key's column {}", field.name()),
                    format!("DROP TABLE {full} and let a full delivery make it anew"),
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

fn check_type(full: &str, field: &Field, there: &str) -> Result<(), Misfit> {
    let Some(ours) = PgType::of(field.data_type()).filter(|ours| !ours.fits(there)) else { return Ok(()) };
    let (column, ours) = (field.name(), ours.sql());
    misfit(
        format!("table {full}, column {column}: it is {there} there and {ours} here"),
        format!("ALTER TABLE {full} ALTER COLUMN {} TYPE {ours}, or correct the model", sql::name(column)),
    )
}

/// A column that nobody fills must be able to stay empty.
fn check_others(full: &str, table: &Table, existing: &Existing) -> Result<(), Misfit> {
    let unfilled = |name: &str| table.schema.column_with_name(name).is_none();
    match existing.columns.iter().find(|c| c.not_null && !c.has_default && unfilled(&c.name)) {
        None => Ok(()),
        Some(column) => misfit(
            format!("table {full}, column {}: it is NOT NULL there, and the model has no such column", column.name),
            format!("ALTER TABLE {full} ALTER COLUMN {} DROP NOT NULL, or drop it", sql::name(&column.name)),
        ),
    }
}

fn plan_key(full: &str, table: &Table, existing: &Existing, plan: &mut Plan) -> Result<(), Misfit> {
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
    misfit(
        format!("table {full}: its primary key is {} there and {} here", names(&there), names(&ours)),
        format!("correct the model's key, or DROP TABLE {full} and let a full delivery make it anew"),
    )
}

/// Comments are a courtesy: whoever does not own the table leaves them.
fn plan_comments(full: &str, table: &Table, existing: &Existing, plan: &mut Plan) {
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

fn window(table: &Table) -> Option<&str> {
    match &table.kind {
        Kind::Incremental { window } => Some(window),
        Kind::Dimension | Kind::Table => None,
    }
}

fn type_of(field: &Field) -> String {
    PgType::of(field.data_type()).map(PgType::sql).unwrap_or_default()
}

fn is_in_key(table: &Table, column: &str) -> bool {
    table.key.iter().any(|key| key == column)
}

/// The window comes first: new rows then go to one end of the index, and the rows of a window are found by it.
fn add_primary_key(full: &str, table: &Table) -> String {
    let mut key: Vec<&str> = table.key.iter().map(String::as_str).collect();
    if let Some(window) = window(table) {
        key.sort_by_key(|column| *column != window);
    }
    format!("ALTER TABLE {full} ADD PRIMARY KEY ({})", sql::names("", &key))
}

fn add_index(full: &str, column: &str) -> String {
    format!("CREATE INDEX ON {full} ({})", sql::name(column))
}

fn comment_on_table(full: &str, table: &Table) -> String {
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

    fn fact() -> Table {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Table {
            name: "fact".into(),
            description: "entries by station".into(),
            schema: Arc::new(Schema::new(vec![
                Field::new("station", DataType::Utf8View, false),
                Field::new("start_at", instant, false),
                Field::new("entries", DataType::Int64, true),
            ])),
            key: vec!["station".into(), "start_at".into()],
            kind: Kind::Incremental { window: "start_at".into() },
        }
    }

    fn column(name: &str, sql_type: &str) -> ExistingColumn {
        ExistingColumn { name: name.into(), sql_type: sql_type.into(), ..ExistingColumn::default() }
    }

    /// The table as [`create`] leaves it.
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
        let apart = Table { key: vec!["station".into()], ..fact() };
        let plan = super::plan("s", &apart, None).unwrap();
        assert_eq!(plan.after[1], "CREATE INDEX ON \"s\".\"fact\" (\"start_at\")");
    }

    #[test]
    fn a_table_that_is_as_it_should_be_is_left_alone() {
        let nothing = Plan { exact: true, ..Plan::default() };
        assert_eq!(plan("s", &fact(), Some(&there())).unwrap(), nothing);
        let mut wider = there();
        wider.columns[2].sql_type = "numeric".into();
        assert_eq!(plan("s", &fact(), Some(&wider)).unwrap(), Plan::default());
    }

    #[test]
    fn a_new_column_is_added_and_a_missing_key_is_made() {
        let mut existing = there();
        existing.columns.truncate(2);
        existing.columns.iter_mut().for_each(|column| column.in_primary_key = false);
        let plan = plan("s", &fact(), Some(&existing)).unwrap();
        assert_eq!(plan.adds, ["entries"]);
        assert_eq!(plan.before[0], "ALTER TABLE \"s\".\"fact\" ADD COLUMN \"entries\" bigint");
        assert!(plan.before[1].contains("ADD PRIMARY KEY"), "{plan:?}");
    }

    #[test]
    fn a_key_that_does_not_begin_with_the_window_gets_an_index_beside_it() {
        let mut existing = there();
        existing.columns[1].leads_index = false;
        let plan = plan("s", &fact(), Some(&existing)).unwrap();
        assert_eq!(plan.before, ["CREATE INDEX ON \"s\".\"fact\" (\"start_at\")"]);
    }

    #[test]
    fn what_does_not_fit_names_table_column_and_both_types() {
        let refused = |change: &dyn Fn(&mut Existing)| {
            let mut existing = there();
            change(&mut existing);
            plan("s", &fact(), Some(&existing)).unwrap_err()
        };
        let narrow = refused(&|table| table.columns[2].sql_type = "integer".into());
        assert_eq!(narrow.reason, "table \"s\".\"fact\", column entries: it is integer there and bigint here");
        assert!(narrow.hint.contains("ALTER COLUMN \"entries\" TYPE bigint"), "{narrow:?}");
        let view = refused(&|table| table.kind = "v".into());
        assert!(view.reason.contains("is not a table"), "{view:?}");
        let key = refused(&|table| table.columns[0].in_primary_key = false);
        assert!(key.reason.contains("is (start_at) there and (start_at, station) here"), "{key:?}");
        let no_key = refused(&|table| drop(table.columns.remove(0)));
        assert!(no_key.reason.contains("lacks the key's column station"), "{no_key:?}");
        let extra = ExistingColumn { not_null: true, ..column("loaded_by", "text") };
        let extra = refused(&|table| table.columns.push(extra.clone()));
        assert!(extra.reason.contains("column loaded_by: it is NOT NULL"), "{extra:?}");
    }
}
