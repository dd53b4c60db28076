//! Makes a table's rows those of a change.

use std::error::Error;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

use super::fault::refused;
use super::session::Session;
use super::types::PgType;
use super::{rows, sql, stage};
use crate::{Delivered, Kind, Scope, Table, TableChange, TargetError};

/// The table that rows are loaded into before they are compared with those that are there.
const STAGE: &str = "pg_temp.turnstile_stage";

/// Loads a table that was created in this transaction, and finishes it with `after`: its key and index.
pub(super) async fn fill(
    session: &Session,
    schema: &str,
    change: &TableChange,
    after: &[String],
) -> Result<Delivered, TargetError> {
    let table = &*change.table;
    let rows = stage::copy(session, change, &sql::table(schema, &table.name)).await?;
    let doing = format!("making the key of table {}", table.name);
    for statement in after {
        session.run(statement, &doing).await.map_err(|fault| repeated_key(session, table, fault))?;
    }
    // The next deliveries may come before the server looks by itself, and would be planned as if it were empty.
    session.run(&format!("ANALYZE {}", sql::table(schema, &table.name)), &doing).await?;
    Ok(Delivered { already: false, rows, replaced: 0 })
}

/// Makes a table's rows those of the change. `exact`: its columns are of our very types.
pub(super) async fn replace(
    session: &Session,
    schema: &str,
    change: &TableChange,
    exact: bool,
) -> Result<Delivered, TargetError> {
    let table = &*change.table;
    let full = sql::table(schema, &table.name);
    if exact && is_vacant(session, change, &full).await? {
        // A new window, which most deliveries bring: there is nothing to compare it with.
        let rows = stage::copy(session, change, &full).await.map_err(|fault| repeated_key(session, table, fault))?;
        return Ok(Delivered { already: false, rows, replaced: 0 });
    }
    make_stage(session, table, &full).await?;
    let rows = stage::copy(session, change, STAGE).await?;
    let replaced = if table.key.is_empty() {
        let doing = format!("replacing the rows of table {}", table.name);
        let removed = session.execute(&format!("DELETE FROM {full}"), &[], &doing).await?;
        let insert = format!("INSERT INTO {full} ({0}) SELECT {0} FROM {STAGE}", columns(table));
        session.execute(&insert, &[], &doing).await?;
        removed
    } else {
        refuse_repeated(session, table).await?;
        merge(session, change, &full).await?
    };
    session.run(&format!("DROP TABLE {STAGE}"), "dropping the staging table").await?;
    Ok(Delivered { already: false, rows, replaced })
}

/// Whether no row that is there could be one that the change removes or overwrites.
async fn is_vacant(session: &Session, change: &TableChange, full: &str) -> Result<bool, TargetError> {
    let doing = format!("looking at the rows of table {}", change.table.name);
    let found = match windows(change).filter(|windows| windows.in_key) {
        Some(windows) => {
            let sql = format!("SELECT FROM {full} t WHERE t.{} = ANY ($1) LIMIT 1", sql::name(windows.column));
            session.query(&sql, &[windows.parameter()], &doing).await?
        }
        None => session.query(&format!("SELECT FROM {full} LIMIT 1"), &[], &doing).await?,
    };
    Ok(found.is_empty())
}

/// The windows that a change replaces, as the server is asked for them.
struct Windows<'a> {
    column: &'a str,
    /// Whether the column is one of the key's.
    in_key: bool,
    starts: Vec<Micros>,
    array: Type,
}

impl Windows<'_> {
    fn parameter(&self) -> (&(dyn ToSql + Sync), Type) {
        (&self.starts, self.array.clone())
    }
}

fn windows(change: &TableChange) -> Option<Windows<'_>> {
    let (Scope::Windows(starts), Kind::Incremental { window }) = (&change.scope, &change.table.kind) else {
        return None;
    };
    let array = match change.table.schema.field_with_name(window).map(|field| PgType::of(field.data_type())) {
        Ok(Some(PgType::Timestamp)) => Type::TIMESTAMP_ARRAY,
        _ => Type::TIMESTAMPTZ_ARRAY,
    };
    let in_key = change.table.key.iter().any(|key| key == window);
    Some(Windows { column: window, in_key, starts: starts.iter().map(|start| Micros(*start)).collect(), array })
}

/// The stage has our columns with our types; where the table's are wider, the server casts on the way over.
async fn make_stage(session: &Session, table: &Table, full: &str) -> Result<(), TargetError> {
    let typed: Vec<String> = table
        .schema
        .fields()
        .iter()
        .filter_map(|field| Some(format!("{} {}", sql::name(field.name()), PgType::of(field.data_type())?.sql())))
        .collect();
    let create = format!("CREATE TEMPORARY TABLE {STAGE} ({}) ON COMMIT DROP", typed.join(", "));
    session.run(&create, &format!("making a staging table for {full}")).await
}

/// Brings over what differs, in three steps that each compare the staged rows with those of the scope; returns how many
/// rows were removed or overwritten.
///
/// `INSERT … ON CONFLICT DO UPDATE` would do two of them at once, but looks every row up by itself and locks it, also
/// where nothing differs: measured, it takes twice as long.
async fn merge(session: &Session, change: &TableChange, full: &str) -> Result<u64, TargetError> {
    let table = &*change.table;
    let doing = format!("removing, overwriting and adding rows of table {}", table.name);
    let fields = table.schema.fields().iter().map(|field| field.name().as_str());
    let values: Vec<&str> = fields.filter(|name| !table.key.iter().any(|key| key == name)).collect();
    let same = sql::same("t", "s", &table.key);
    let windows = windows(change);
    // Where the key holds the window, rows with the same key lie in the same window: the table's age does not count.
    let in_scope = match &windows {
        Some(windows) if windows.in_key => format!("t.{} = ANY ($1) AND ", sql::name(windows.column)),
        _ => String::new(),
    };
    let bound: Vec<_> = windows.iter().filter(|windows| windows.in_key).map(Windows::parameter).collect();

    let gone = format!("NOT EXISTS (SELECT FROM {STAGE} s WHERE {same})");
    let removed = match (&change.scope, &windows) {
        (Scope::Keys, _) => 0,
        (_, Some(windows)) => {
            let delete = format!("DELETE FROM {full} t WHERE t.{} = ANY ($1) AND {gone}", sql::name(windows.column));
            session.execute(&delete, &[windows.parameter()], &doing).await?
        }
        (_, None) => session.execute(&format!("DELETE FROM {full} t WHERE {gone}"), &[], &doing).await?,
    };
    let mut overwritten = 0;
    if !values.is_empty() {
        let set: Vec<String> = values.iter().map(|name| format!("{0} = s.{0}", sql::name(name))).collect();
        let (there, new) = (sql::names("t.", &values), sql::names("s.", &values));
        let update = format!(
            "UPDATE {full} t SET {} FROM {STAGE} s WHERE {in_scope}{same} AND ROW({there}) IS DISTINCT FROM ROW({new})",
            set.join(", ")
        );
        overwritten = session.execute(&update, &bound, &doing).await?;
    }
    let insert = format!(
        "INSERT INTO {full} ({0}) SELECT {0} FROM {STAGE} s WHERE NOT EXISTS (SELECT FROM {full} t WHERE {in_scope}{same})",
        columns(table)
    );
    session.execute(&insert, &bound, &doing).await?;
    Ok(removed + overwritten)
}

/// Refuses staged rows that have a key twice: the server would take one of them, and not always tell.
async fn refuse_repeated(session: &Session, table: &Table) -> Result<(), TargetError> {
    let key = sql::names("", &table.key);
    let shown: Vec<String> = table.key.iter().map(|column| format!("{}::text", sql::name(column))).collect();
    let sql =
        format!("SELECT count(*), ARRAY[{}] FROM {STAGE} GROUP BY {key} HAVING count(*) > 1 LIMIT 1", shown.join(", "));
    let doing = format!("looking for a key that occurs twice in table {}", table.name);
    let found = session.query(&sql, &[], &doing).await?;
    let Some(row) = found.first() else { return Ok(()) };
    let (count, values): (i64, Vec<Option<String>>) = (row.get(0), row.get(1));
    let named = table.key.iter().zip(values).map(|(name, value)| format!("{name} = {}", value.unwrap_or_default()));
    let key = named.collect::<Vec<_>>().join(", ");
    Err(repeated(session.target(), table, &format!("{count} rows have the key {key}")))
}

/// A key came twice into a table without a detour: the server's detail names it, `Key (a, b)=(1, 2) is duplicated.`
fn repeated_key(session: &Session, table: &Table, fault: TargetError) -> TargetError {
    let TargetError::Refused { source: Some(source), .. } = &fault else { return fault };
    let said = source.downcast_ref::<tokio_postgres::Error>().and_then(|said| said.as_db_error());
    match said.filter(|said| *said.code() == SqlState::UNIQUE_VIOLATION) {
        Some(said) => repeated(session.target(), table, said.detail().unwrap_or("two rows have the same key")),
        None => fault,
    }
}

fn repeated(target: &str, table: &Table, fact: &str) -> TargetError {
    let hint = "correct the model: its query must give one row a key, or its key must name more columns";
    refused(target, format!("table {}: {fact}", table.name), hint)
}

fn columns(table: &Table) -> String {
    let names: Vec<&str> = table.schema.fields().iter().map(|field| field.name().as_str()).collect();
    sql::names("", &names)
}

/// Microseconds since 1970, as a parameter.
#[derive(Debug)]
struct Micros(i64);

impl ToSql for Micros {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let us = rows::micros(self.0).ok_or("a window is further away than PostgreSQL can write")?;
        out.extend_from_slice(&us.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMP, TIMESTAMPTZ);
    to_sql_checked!();
}
