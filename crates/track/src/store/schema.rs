//! The tables of a store and how they came to be.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::RunStoreError;

/// `Trun`: marks the file as a store of runs.
const APPLICATION_ID: i64 = 0x5472_756e;
/// One script for each version; a new version appends one and never changes an old one.
const MIGRATIONS: [&str; 1] = [include_str!("v1.sql")];

/// The newest version of the tables.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings the tables to the newest version. Two processes may try at once: each step is one transaction.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), RunStoreError> {
    let failed = |e| RunStoreError::of(path, e);
    if check(connection, path)? == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let version = check(&transaction, path)?;
    for script in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or_default()) {
        transaction.execute_batch(script).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// The version of the tables: 0 for an empty file. Refuses other programs' databases and newer versions.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<i64, RunStoreError> {
    let number =
        |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|e| RunStoreError::of(path, e));
    let (id, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let tables = number("SELECT count(*) FROM sqlite_master")?;
    match (id, tables) {
        (APPLICATION_ID, _) if version > VERSION => {
            Err(RunStoreError::Newer { path: path.to_path_buf(), found: version, known: VERSION })
        }
        (APPLICATION_ID, _) => Ok(version),
        (0, 0) => Ok(0),
        _ => Err(RunStoreError::Foreign { path: path.to_path_buf() }),
    }
}
