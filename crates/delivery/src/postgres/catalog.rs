//! Existing tables of a schema with their columns, keys and comments, read by one query.

use std::collections::HashMap;

use tokio_postgres::types::Type;

use super::session::PgSession;
use crate::error::TargetError;

/// A relation that has the name of one of our tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Existing {
    /// `r` and `p` are tables.
    pub(super) kind: String,
    /// Whether the current user owns it.
    pub(super) owned: bool,
    pub(super) comment: Option<String>,
    pub(super) columns: Vec<ExistingColumn>,
}

/// One of its columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ExistingColumn {
    pub(super) name: String,
    /// As `format_type` writes it.
    pub(super) sql_type: String,
    pub(super) not_null: bool,
    /// The server fills it if no value is given.
    pub(super) has_default: bool,
    pub(super) comment: Option<String>,
    pub(super) in_primary_key: bool,
    /// It is the first column of an index on all rows.
    pub(super) leads_index: bool,
}

const RELATIONS_SQL: &str = "
    SELECT c.relname::text, c.relkind::text, pg_has_role(c.relowner, 'USAGE'), obj_description(c.oid, 'pg_class'),
           a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '', col_description(c.oid, a.attnum),
           EXISTS (SELECT FROM pg_index i
                   WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey)),
           EXISTS (SELECT FROM pg_index i
                   WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND a.attnum = i.indkey[0])
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = $1 AND c.relname = ANY ($2)
    ORDER BY c.relname, a.attnum";

/// Whether the schema exists.
pub(super) async fn has_schema(session: &PgSession, schema: &str) -> Result<bool, TargetError> {
    let sql = "SELECT FROM pg_namespace WHERE nspname = $1";
    Ok(!session.query(sql, &[(&schema, Type::TEXT)], "reading the schema catalog").await?.is_empty())
}

/// The relations among `names` that exist.
pub(super) async fn existing(
    session: &PgSession,
    schema: &str,
    names: &[&str],
) -> Result<HashMap<String, Existing>, TargetError> {
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&schema, Type::TEXT), (&names, Type::TEXT_ARRAY)];
    let mut found: HashMap<String, Existing> = HashMap::new();
    for row in session.query(RELATIONS_SQL, &parameters, "reading the table catalog").await? {
        let relation = found.entry(row.get(0)).or_insert_with(|| Existing {
            kind: row.get(1),
            owned: row.get(2),
            comment: row.get(3),
            columns: Vec::new(),
        });
        // A table may have no columns.
        let Some(name) = row.get::<_, Option<String>>(4) else { continue };
        relation.columns.push(ExistingColumn {
            name,
            sql_type: row.get(5),
            not_null: row.get(6),
            has_default: row.get(7),
            comment: row.get(8),
            in_primary_key: row.get(9),
            leads_index: row.get(10),
        });
    }
    Ok(found)
}
