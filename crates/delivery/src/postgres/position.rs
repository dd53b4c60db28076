//! The position: one row in a table of its own, locked while a delivery is under way.

use tokio_postgres::types::Type;

use super::session::Session;
use super::{catalog, sql};
use crate::{Position, TargetError};

/// The position's table, in the schema of the tables that it is about.
pub(super) const POSITION_TABLE: &str = "turnstile_position";

/// Waits until no other delivery to this schema is under way, and keeps others waiting until the transaction ends.
///
/// The table may not exist yet, so it cannot be the lock. The lock keeps deliverers from working in vain; that only one
/// of them wins is because of the row, which is read after it and written with a condition.
pub(super) async fn lock(session: &Session, schema: &str) -> Result<(), TargetError> {
    let name = format!("{POSITION_TABLE} {schema}");
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    session.query(sql, &[(&name, Type::TEXT)], "waiting for another delivery to this schema").await.map(drop)
}

/// Where the target stands; `None`: nowhere yet. Creates nothing.
pub(super) async fn read(session: &Session, schema: &str) -> Result<Option<Position>, TargetError> {
    if !exists(session, schema).await? {
        return Ok(None);
    }
    let sql = format!("SELECT warehouse, load, ledger_seq FROM {}", sql::table(schema, POSITION_TABLE));
    let rows = session.query(&sql, &[], "reading the position").await?;
    Ok(rows.first().map(|row| Position {
        warehouse: row.get(0),
        load: row.get::<_, i64>(1).cast_unsigned(),
        ledger_seq: row.get::<_, i64>(2).cast_unsigned(),
    }))
}

/// Whether the table is there.
pub(super) async fn exists(session: &Session, schema: &str) -> Result<bool, TargetError> {
    // The catalogs can be asked without a permission on the schema; the table's own then says which is missing.
    Ok(catalog::existing(session, schema, &[POSITION_TABLE]).await?.contains_key(POSITION_TABLE))
}

/// The statements that make it.
pub(super) fn create(schema: &str) -> String {
    let table = sql::table(schema, POSITION_TABLE);
    format!(
        "CREATE TABLE {table} (one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row), warehouse text NOT NULL, \
         load bigint NOT NULL, ledger_seq bigint NOT NULL, delivered_at timestamp with time zone NOT NULL); \
         COMMENT ON TABLE {table} IS 'How far turnstile has delivered into this schema. It changes with the rows, in one \
         transaction; do not edit it.'"
    )
}

/// Sets it, if it still is where it was read; whether it was.
pub(super) async fn advance(
    session: &Session,
    schema: &str,
    from: Option<&Position>,
    to: &Position,
) -> Result<bool, TargetError> {
    let table = sql::table(schema, POSITION_TABLE);
    let (load, ledger_seq) = (to.load.cast_signed(), to.ledger_seq.cast_signed());
    let (was, was_load) = from.map_or((None, 0), |from| (Some(&from.warehouse), from.load.cast_signed()));
    let changed = match was {
        None => {
            let sql = format!("INSERT INTO {table} VALUES (true, $1, $2, $3, now()) ON CONFLICT DO NOTHING");
            let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
                [(&to.warehouse, Type::TEXT), (&load, Type::INT8), (&ledger_seq, Type::INT8)];
            session.execute(&sql, &values, "setting the position").await?
        }
        Some(was) => {
            let sql = format!(
                "UPDATE {table} SET warehouse = $5, load = $2, ledger_seq = $3, delivered_at = now() \
                 WHERE warehouse = $1 AND load = $4"
            );
            let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 5] = [
                (was, Type::TEXT),
                (&load, Type::INT8),
                (&ledger_seq, Type::INT8),
                (&was_load, Type::INT8),
                (&to.warehouse, Type::TEXT),
            ];
            session.execute(&sql, &values, "setting the position").await?
        }
    };
    Ok(changed == 1)
}
