//! The names that a connection keeps: prepared statements and cursors, a bounded number of them.

use std::collections::HashSet;

use datafusion_postgres::pgwire::error::PgWireResult;
use parking_lot::{Mutex, MutexGuard};

use crate::sqlstate::SqlError;

/// How many prepared statements and cursors a connection may keep together.
const MAX_KEPT: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NameKind {
    Statement,
    Cursor,
}

#[derive(Debug, Default)]
pub(crate) struct KeptNames(Mutex<HashSet<(NameKind, String)>>);

impl KeptNames {
    /// Notes a name that stays with the connection until it is released.
    pub(crate) fn keep(&self, kind: NameKind, name: &str) -> PgWireResult<()> {
        let mut kept = self.lock();
        let key = (kind, name.to_owned());
        if kept.len() >= MAX_KEPT && !kept.contains(&key) {
            let text = format!("this connection already keeps {} prepared statements and cursors", kept.len());
            return Err(SqlError::new("53400", text).hint("DEALLOCATE or CLOSE what is not needed").into_error());
        }
        kept.insert(key);
        Ok(())
    }

    pub(crate) fn release(&self, kind: NameKind, name: &str) {
        self.lock().remove(&(kind, name.to_owned()));
    }

    pub(crate) fn release_all(&self, kind: NameKind) {
        self.lock().retain(|(other, _)| *other != kind);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(NameKind, String)>> {
        self.0.lock()
    }
}
