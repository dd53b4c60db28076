//! Applies a change to a table.

use std::error::Error;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

use super::error::{PgError, refused};
use super::session::PgSession;
use super::types::PgType;
use super::{rows, sql, stage};
use crate::change::{Scope, TableChange, TableKind, TargetTable};
use crate::error::TargetError;
use crate::target::Delivered;

/// The table that rows are loaded into before they are compared with the existing rows.
const STAGE: &str = "pg_temp.turnstile_stage";

/// Loads a table that was created in this transaction, and runs `after`: its key and index.
pub(super) async fn fill(
    session: &PgSession,
    schema: &str,
    change: &TableChange,
    after: &[String],
) -> Result<Delivered, TargetError> {
    let table = &*change.table;
    let rows = stage::copy(session, change, &sql::table(schema, &table.name)).await?;
    let action = format!("creating the key of table {}", table.name);
    for statement in after {
        session.execute_batch(statement, &action).await.map_err(|error| duplicate_key_error(session, table, error))?;
    }
    // The next deliveries may come before autovacuum analyzes the table, and would be planned as if it were empty.
    session.execute_batch(&format!("ANALYZE {}", sql::table(schema, &table.name)), &action).await?;
    Ok(Delivered { already: false, rows, replaced: 0 })
}

/// Applies a change to an existing table. `exact`: its columns have exactly our types.
pub(super) async fn replace(
    session: &PgSession,
    schema: &str,
    change: &TableChange,
    exact: bool,
) -> Result<Delivered, TargetError> {
    let table = &*change.table;
    let full = sql::table(schema, &table.name);
    if exact && is_empty_scope(session, change, &full).await? {
        // A new window, as in most deliveries: there is nothing to compare it with.
        let rows =
            stage::copy(session, change, &full).await.map_err(|error| duplicate_key_error(session, table, error))?;
        return Ok(Delivered { already: false, rows, replaced: 0 });
    }
    create_stage(session, table, &full).await?;
    let rows = stage::copy(session, change, STAGE).await?;
    let replaced = if table.key.is_empty() {
        let action = format!("replacing the rows of table {}", table.name);
        let removed = session.execute(&format!("DELETE FROM {full}"), &[], &action).await?;
        let insert = format!("INSERT INTO {full} ({0}) SELECT {0} FROM {STAGE}", columns(table));
        session.execute(&insert, &[], &action).await?;
        removed
    } else {
        reject_duplicate_keys(session, table).await?;
        merge(session, change, &full).await?
    };
    session.execute_batch(&format!("DROP TABLE {STAGE}"), "dropping the staging table").await?;
    Ok(Delivered { already: false, rows, replaced })
}

/// Whether the table has no rows that the change could remove or overwrite.
async fn is_empty_scope(session: &PgSession, change: &TableChange, full: &str) -> Result<bool, TargetError> {
    let action = format!("reading the rows of table {}", change.table.name);
    let found = match windows(change).filter(|windows| windows.in_key) {
        Some(windows) => {
            let sql = format!("SELECT FROM {full} t WHERE t.{} = ANY ($1) LIMIT 1", sql::name(windows.column));
            session.query(&sql, &[windows.parameter()], &action).await?
        }
        None => session.query(&format!("SELECT FROM {full} LIMIT 1"), &[], &action).await?,
    };
    Ok(found.is_empty())
}

/// The windows that a change replaces, as a query parameter.
struct ReplacedWindows<'a> {
    column: &'a str,
    /// Whether the column is part of the key.
    in_key: bool,
    starts: Vec<Micros>,
    array: Type,
}

impl ReplacedWindows<'_> {
    fn parameter(&self) -> (&(dyn ToSql + Sync), Type) {
        (&self.starts, self.array.clone())
    }
}

fn windows(change: &TableChange) -> Option<ReplacedWindows<'_>> {
    let (Scope::Windows(starts), TableKind::Incremental { window }) = (&change.scope, &change.table.kind) else {
        return None;
    };
    let array = match change.table.schema.field_with_name(window).map(|field| PgType::of(field.data_type())) {
        Ok(Some(PgType::Timestamp)) => Type::TIMESTAMP_ARRAY,
        _ => Type::TIMESTAMPTZ_ARRAY,
    };
    let in_key = change.table.key.iter().any(|key| key == window);
    Some(ReplacedWindows { column: window, in_key, starts: starts.iter().map(|start| Micros(*start)).collect(), array })
}

/// The stage has our columns with our types; where the table's are wider, the server casts.
async fn create_stage(session: &PgSession, table: &TargetTable, full: &str) -> Result<(), TargetError> {
    let typed: Vec<String> = table
        .schema
        .fields()
        .iter()
        .filter_map(|field| Some(format!("{} {}", sql::name(field.name()), PgType::of(field.data_type())?.sql())))
        .collect();
    let create = format!("CREATE TEMPORARY TABLE {STAGE} ({}) ON COMMIT DROP", typed.join(", "));
    session.execute_batch(&create, &format!("creating a staging table for {full}")).await
}

/// Deletes, updates and inserts the rows that differ, each in a statement that compares the staged rows with those of the
/// scope; returns how many rows were removed or overwritten.
///
/// `INSERT … ON CONFLICT DO UPDATE` would do two of them at once, but looks up and locks every row, also where nothing
/// differs: measured, it takes twice as long.
async fn merge(session: &PgSession, change: &TableChange, full: &str) -> Result<u64, TargetError> {
    let table = &*change.table;
    let action = format!("deleting, updating and inserting rows of table {}", table.name);
    let fields = table.schema.fields().iter().map(|field| field.name().as_str());
    let values: Vec<&str> = fields.filter(|name| !table.key.iter().any(|key| key == name)).collect();
    let same = sql::same("t", "s", &table.key);
    let windows = windows(change);
    // If the window is part of the key, rows with the same key lie in the same window: older rows are not scanned.
    let in_scope = match &windows {
        Some(windows) if windows.in_key => format!("t.{} = ANY ($1) AND ", sql::name(windows.column)),
        _ => String::new(),
    };
    let bound: Vec<_> = windows.iter().filter(|windows| windows.in_key).map(ReplacedWindows::parameter).collect();

    let not_staged = format!("NOT EXISTS (SELECT FROM {STAGE} s WHERE {same})");
    let removed = match (&change.scope, &windows) {
        (Scope::Keys, _) => 0,
        (_, Some(windows)) => {
            let delete =
                format!("DELETE FROM {full} t WHERE t.{} = ANY ($1) AND {not_staged}", sql::name(windows.column));
            session.execute(&delete, &[windows.parameter()], &action).await?
        }
        (_, None) => session.execute(&format!("DELETE FROM {full} t WHERE {not_staged}"), &[], &action).await?,
    };
    let mut overwritten = 0;
    if !values.is_empty() {
        let set: Vec<String> = values.iter().map(|name| format!("{0} = s.{0}", sql::name(name))).collect();
        let (old, new) = (sql::names("t.", &values), sql::names("s.", &values));
        let update = format!(
            "UPDATE {full} t SET {} FROM {STAGE} s WHERE {in_scope}{same} AND ROW({old}) IS DISTINCT FROM ROW({new})",
            set.join(", ")
        );
        overwritten = session.execute(&update, &bound, &action).await?;
    }
    let insert = format!(
        "INSERT INTO {full} ({0}) SELECT {0} FROM {STAGE} s WHERE NOT EXISTS (SELECT FROM {full} t WHERE {in_scope}{same})",
        columns(table)
    );
    session.execute(&insert, &bound, &action).await?;
    Ok(removed + overwritten)
}

/// Refuses staged rows with duplicate keys: the server would take one of them, not always with an error.
async fn reject_duplicate_keys(session: &PgSession, table: &TargetTable) -> Result<(), TargetError> {
    let key = sql::names("", &table.key);
    let shown: Vec<String> = table.key.iter().map(|column| format!("{}::text", sql::name(column))).collect();
    let sql =
        format!("SELECT count(*), ARRAY[{}] FROM {STAGE} GROUP BY {key} HAVING count(*) > 1 LIMIT 1", shown.join(", "));
    let action = format!("checking table {} for duplicate keys", table.name);
    let found = session.query(&sql, &[], &action).await?;
    let Some(row) = found.first() else { return Ok(()) };
    let (count, values): (i64, Vec<Option<String>>) = (row.get(0), row.get(1));
    let named = table.key.iter().zip(values).map(|(name, value)| format!("{name} = {}", value.unwrap_or_default()));
    let key = named.collect::<Vec<_>>().join(", ");
    Err(duplicate_key(session.target(), table, &format!("{count} rows have the key {key}")))
}

/// A duplicate key in rows that were copied directly into the table: the server's detail names it, `Key (a, b)=(1, 2) is duplicated.`
fn duplicate_key_error(session: &PgSession, table: &TargetTable, error: TargetError) -> TargetError {
    let TargetError::Refused { source: Some(source), .. } = &error else { return error };
    let db_error = source.downcast_ref::<PgError>().and_then(|error| error.0.as_db_error());
    match db_error.filter(|error| *error.code() == SqlState::UNIQUE_VIOLATION) {
        Some(db_error) => {
            duplicate_key(session.target(), table, db_error.detail().unwrap_or("two rows have the same key"))
        }
        None => error,
    }
}

fn duplicate_key(target: &str, table: &TargetTable, fact: &str) -> TargetError {
    let hint = "correct the model: its query must return one row per key, or its key needs more columns";
    refused(target, format!("table {}: {fact}", table.name), hint)
}

fn columns(table: &TargetTable) -> String {
    let names: Vec<&str> = table.schema.fields().iter().map(|field| field.name().as_str()).collect();
    sql::names("", &names)
}

/// Microseconds since 1970, as a query parameter.
#[derive(Debug)]
struct Micros(i64);

impl ToSql for Micros {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let us = rows::micros(self.0).ok_or("a window is outside PostgreSQL's range of timestamps")?;
        out.extend_from_slice(&us.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMP, TIMESTAMPTZ);
    to_sql_checked!();
}
