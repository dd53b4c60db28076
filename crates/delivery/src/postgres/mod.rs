//! PostgreSQL as a target: every delivery is one transaction.
//!
//! In: a [`Delivery`] and where the server is. Out: its rows in tables of one schema, with the position beside them.
//! Knows nothing of the rows' origin, nor of what else is in the database. Start at [`PostgresTarget::apply`].
//!
//! ```text
//! BEGIN ─▶ lock, position ─▶ tables: created or checked ─▶ each change: COPY ─▶ merge ─▶ position ─▶ COMMIT
//!            (position)       (catalog, tables)           (stage, rows)        (merge)         (position)
//! ```

mod catalog;
mod check;
mod error;
mod merge;
mod numeric;
mod options;
mod password;
mod position;
mod rows;
mod session;
mod settings;
mod sql;
mod stage;
mod tables;
mod tls;
mod types;
mod url;

use std::collections::HashMap;

use futures::FutureExt;
use futures::future::BoxFuture;

pub use options::{PostgresOptions, SslMode};
pub use settings::{PostgresPassword, PostgresSettings, URL_VARIABLE};

use self::error::refused;
use self::session::PgSession;
use self::tables::{Mismatch, TablePlan};
use crate::change::foreign_warehouse;
use crate::change::{Delivery, LoadPosition, TargetTable};
use crate::error::TargetError;
use crate::target::{Delivered, Target};

/// A schema of a PostgreSQL database that receives a warehouse's tables.
///
/// It connects on first use and keeps the connection until an error.
pub struct PostgresTarget {
    settings: PostgresSettings,
    session: Option<PgSession>,
}

impl std::fmt::Debug for PostgresTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresTarget").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Target for PostgresTarget {
    fn name(&self) -> &str {
        "postgres"
    }

    fn position(&mut self) -> BoxFuture<'_, Result<Option<LoadPosition>, TargetError>> {
        async {
            let session = self.begin_session().await?;
            let position = position::read(&session, &self.settings.schema).await?;
            self.end_transaction(session, "ROLLBACK").await?;
            Ok(position)
        }
        .boxed()
    }

    fn apply<'a>(&'a mut self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Delivered, TargetError>> {
        async {
            check::delivery(delivery).map_err(|mismatch| self.mismatch(mismatch))?;
            let session = self.begin_session().await?;
            // On any error the session is dropped, and the server undoes the transaction.
            let delivered = self.deliver(&session, delivery).await?;
            self.end_transaction(session, if delivered.already { "ROLLBACK" } else { "COMMIT" }).await?;
            Ok(delivered)
        }
        .boxed()
    }
}

impl PostgresTarget {
    /// Does not connect yet.
    pub fn new(settings: PostgresSettings) -> Self {
        Self { settings, session: None }
    }

    /// A session with an open transaction: the cached one if it is still alive.
    async fn begin_session(&mut self) -> Result<PgSession, TargetError> {
        // Taken out: a dropped future drops the session and its transaction.
        if let Some(cached) = self.session.take().filter(|cached| !cached.is_closed())
            && cached.begin(&self.settings).await.is_ok()
        {
            return Ok(cached);
        }
        let session = PgSession::open(&self.settings).await?;
        session.begin(&self.settings).await?;
        Ok(session)
    }

    /// Ends the transaction and caches the session.
    async fn end_transaction(&mut self, session: PgSession, statement: &str) -> Result<(), TargetError> {
        session.execute_batch(statement, "ending the transaction").await?;
        self.session = Some(session);
        Ok(())
    }

    async fn deliver(&self, session: &PgSession, delivery: &Delivery) -> Result<Delivered, TargetError> {
        let schema = &self.settings.schema;
        position::lock(session, schema).await?;
        let at = position::read(session, schema).await?;
        if at.as_ref() == Some(&delivery.to) {
            return Ok(Delivered { already: true, ..Delivered::default() });
        }
        if let Some(at) = delivery.foreign_position(at.as_ref(), self.settings.adopt.as_deref()) {
            return Err(self.foreign_warehouse_error(at, &delivery.to));
        }
        if at != delivery.from {
            return Err(self.moved(at));
        }
        let mut plans = self.tables(session, delivery).await?;
        let mut delivered = Delivered::default();
        for change in &delivery.changes {
            let Some(plan) = plans.get_mut(&change.table.name) else { continue };
            let one = if std::mem::take(&mut plan.creates) {
                merge::fill(session, schema, change, &std::mem::take(&mut plan.after)).await?
            } else {
                merge::replace(session, schema, change, plan.exact).await?
            };
            delivered.rows += one.rows;
            delivered.replaced += one.replaced;
        }
        // New tables without rows have no key yet.
        for (name, plan) in &plans {
            for statement in &plan.after {
                session.execute_batch(statement, &format!("creating table {name}")).await?;
            }
        }
        if !position::advance(session, schema, delivery.from.as_ref(), &delivery.to).await? {
            return Err(self.moved(at));
        }
        Ok(delivered)
    }

    /// Creates or checks schema and tables; returns what is left to do for each table.
    async fn tables(
        &self,
        session: &PgSession,
        delivery: &Delivery,
    ) -> Result<HashMap<String, TablePlan>, TargetError> {
        let schema = &self.settings.schema;
        if !catalog::has_schema(session, schema).await? {
            let create = format!("CREATE SCHEMA {}", sql::name(schema));
            session.execute_batch(&create, &format!("creating schema {schema}")).await?;
        }
        if !position::exists(session, schema).await? {
            session.execute_batch(&position::create(schema), "creating the position's table").await?;
        }
        let tables: Vec<&TargetTable> =
            delivery.tables.iter().chain(delivery.changes.iter().map(|change| &change.table)).map(|t| &**t).collect();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let existing = catalog::existing(session, schema, &names).await?;
        let mut plans = HashMap::new();
        for table in tables {
            if plans.contains_key(&table.name) {
                continue;
            }
            let plan =
                tables::plan(schema, table, existing.get(&table.name)).map_err(|mismatch| self.mismatch(mismatch))?;
            for statement in &plan.before {
                session.execute_batch(statement, &format!("altering table {}", table.name)).await?;
            }
            if !plan.adds.is_empty() {
                tracing::info!(table = table.name, columns = ?plan.adds, "columns added in PostgreSQL");
            }
            plans.insert(table.name.clone(), plan);
        }
        Ok(plans)
    }

    fn mismatch(&self, mismatch: Mismatch) -> TargetError {
        refused(&self.settings.to_string(), mismatch.reason, mismatch.hint)
    }

    fn moved(&self, at: Option<LoadPosition>) -> TargetError {
        TargetError::Moved { target: self.settings.to_string(), at }
    }

    fn foreign_warehouse_error(&self, at: &LoadPosition, to: &LoadPosition) -> TargetError {
        let schema = sql::name(&self.settings.schema);
        let alternative = format!("use another `schema`, or DROP SCHEMA {schema} CASCADE");
        let (reason, hint) = foreign_warehouse(at, to, &alternative);
        refused(&self.settings.to_string(), reason, hint)
    }
}
