//! The position: a table with one row, locked during a delivery.

use tokio_postgres::types::Type;

use super::session::PgSession;
use super::{catalog, sql};
use crate::change::LoadPosition;
use crate::error::TargetError;

/// The position's table, in the schema of the delivered tables.
pub(super) const POSITION_TABLE: &str = "turnstile_position";

/// Waits for other deliveries to this schema, and makes later ones wait until the transaction ends.
///
/// The table may not exist yet, so the lock is an advisory one. It only avoids work in vain; that a single delivery wins
/// is ensured by the row, which is read after locking and written with a condition.
pub(super) async fn lock(session: &PgSession, schema: &str) -> Result<(), TargetError> {
    let name = format!("{POSITION_TABLE} {schema}");
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    session.query(sql, &[(&name, Type::TEXT)], "waiting for another delivery to this schema").await.map(drop)
}

/// The position; `None` before the first delivery. Creates nothing.
pub(super) async fn read(session: &PgSession, schema: &str) -> Result<Option<LoadPosition>, TargetError> {
    if !exists(session, schema).await? {
        return Ok(None);
    }
    let sql = format!("SELECT warehouse, load, ledger_seq FROM {}", sql::table(schema, POSITION_TABLE));
    let rows = session.query(&sql, &[], "reading the position").await?;
    Ok(rows.first().map(|row| LoadPosition {
        warehouse: row.get(0),
        load: row.get::<_, i64>(1).cast_unsigned(),
        ledger_seq: row.get::<_, i64>(2).cast_unsigned(),
    }))
}

/// Whether the table exists.
pub(super) async fn exists(session: &PgSession, schema: &str) -> Result<bool, TargetError> {
    // The catalogs can be read without a permission on the schema; reading the table then names the missing one.
    Ok(catalog::existing(session, schema, &[POSITION_TABLE]).await?.contains_key(POSITION_TABLE))
}

/// The statements that create it.
pub(super) fn create(schema: &str) -> String {
    let table = sql::table(schema, POSITION_TABLE);
    format!(
        "CREATE TABLE {table} (one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row), warehouse text NOT NULL, \
         load bigint NOT NULL, ledger_seq bigint NOT NULL, delivered_at timestamp with time zone NOT NULL); \
         COMMENT ON TABLE {table} IS 'How far turnstile has delivered into this schema. It changes with the rows, in one \
         transaction; do not edit it.'"
    )
}

/// Sets it if it is still `from`; returns whether it was.
pub(super) async fn advance(
    session: &PgSession,
    schema: &str,
    from: Option<&LoadPosition>,
    to: &LoadPosition,
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
