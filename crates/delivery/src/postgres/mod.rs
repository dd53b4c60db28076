//! PostgreSQL as a target: every delivery is one transaction.
//!
//! In: a [`Delivery`] and where the server is. Out: its rows in tables of one schema, with the position beside them.
//! Refuses to know how rows came about, and what else is in the database. Start at [`PostgresTarget::apply`].
//!
//! ```text
//! BEGIN ─▶ lock, position ─▶ tables: made or checked ─▶ each change: COPY ─▶ merge ─▶ position ─▶ COMMIT
//!            (position)       (catalog, tables)           (stage, rows)        (merge)         (position)
//! ```

mod catalog;
mod check;
mod fault;
mod merge;
mod numeric;
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

pub use password::{Password, Secret};
pub use settings::{KEYS, PostgresSettings, PostgresSettingsError, SslMode, URL_VARIABLE};

use self::fault::refused;
use self::session::Session;
use self::tables::{Misfit, Plan};
use crate::change::foreign_rows;
use crate::{Delivered, Delivery, Position, Table, Target, TargetError};

/// A schema of a PostgreSQL database that receives a warehouse's tables.
///
/// It connects when it is first asked and keeps the connection while all goes well.
pub struct PostgresTarget {
    settings: PostgresSettings,
    session: Option<Session>,
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

    fn position(&mut self) -> BoxFuture<'_, Result<Option<Position>, TargetError>> {
        async {
            let session = self.begun().await?;
            let position = position::read(&session, &self.settings.schema).await?;
            self.ended(session, "ROLLBACK").await?;
            Ok(position)
        }
        .boxed()
    }

    fn apply<'a>(&'a mut self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Delivered, TargetError>> {
        async {
            check::delivery(delivery).map_err(|misfit| self.misfit(misfit))?;
            let session = self.begun().await?;
            // On any error the session is dropped, and the server undoes the transaction.
            let delivered = self.deliver(&session, delivery).await?;
            self.ended(session, if delivered.already { "ROLLBACK" } else { "COMMIT" }).await?;
            Ok(delivered)
        }
        .boxed()
    }
}

impl PostgresTarget {
    /// Connects to nothing yet.
    pub fn new(settings: PostgresSettings) -> Self {
        Self { settings, session: None }
    }

    /// A session with a transaction begun: the kept one if it still lives.
    async fn begun(&mut self) -> Result<Session, TargetError> {
        // Taken out: a future that is dropped half-way takes the session and its transaction with it.
        if let Some(kept) = self.session.take().filter(|kept| !kept.is_closed())
            && kept.begin(&self.settings).await.is_ok()
        {
            return Ok(kept);
        }
        let session = Session::open(&self.settings).await?;
        session.begin(&self.settings).await?;
        Ok(session)
    }

    /// Ends the transaction and keeps the session.
    async fn ended(&mut self, session: Session, how: &str) -> Result<(), TargetError> {
        session.run(how, "ending the transaction").await?;
        self.session = Some(session);
        Ok(())
    }

    async fn deliver(&self, session: &Session, delivery: &Delivery) -> Result<Delivered, TargetError> {
        let schema = &self.settings.schema;
        position::lock(session, schema).await?;
        let at = position::read(session, schema).await?;
        if at.as_ref() == Some(&delivery.to) {
            return Ok(Delivered { already: true, ..Delivered::default() });
        }
        if let Some(at) = delivery.foreign(at.as_ref(), self.settings.adopt.as_deref()) {
            return Err(self.another_warehouse(at, &delivery.to));
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
        // New tables that nothing was loaded into have no key yet.
        for (name, plan) in &plans {
            for statement in &plan.after {
                session.run(statement, &format!("making table {name}")).await?;
            }
        }
        if !position::advance(session, schema, delivery.from.as_ref(), &delivery.to).await? {
            return Err(self.moved(at));
        }
        Ok(delivered)
    }

    /// Makes schema and tables, or checks them; what is left to do for each table.
    async fn tables(&self, session: &Session, delivery: &Delivery) -> Result<HashMap<String, Plan>, TargetError> {
        let schema = &self.settings.schema;
        if !catalog::has_schema(session, schema).await? {
            let create = format!("CREATE SCHEMA {}", sql::name(schema));
            session.run(&create, &format!("creating schema {schema}")).await?;
        }
        if !position::exists(session, schema).await? {
            session.run(&position::create(schema), "creating the position's table").await?;
        }
        let tables: Vec<&Table> =
            delivery.tables.iter().chain(delivery.changes.iter().map(|change| &change.table)).map(|t| &**t).collect();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let existing = catalog::existing(session, schema, &names).await?;
        let mut plans = HashMap::new();
        for table in tables {
            if plans.contains_key(&table.name) {
                continue;
            }
            let plan = tables::plan(schema, table, existing.get(&table.name)).map_err(|misfit| self.misfit(misfit))?;
            for statement in &plan.before {
                session.run(statement, &format!("making table {}", table.name)).await?;
            }
            if !plan.adds.is_empty() {
                tracing::info!(table = table.name, columns = ?plan.adds, "columns added in PostgreSQL");
            }
            plans.insert(table.name.clone(), plan);
        }
        Ok(plans)
    }

    fn misfit(&self, misfit: Misfit) -> TargetError {
        refused(&self.settings.to_string(), misfit.reason, misfit.hint)
    }

    fn moved(&self, at: Option<Position>) -> TargetError {
        TargetError::Moved { target: self.settings.to_string(), at }
    }

    fn another_warehouse(&self, at: &Position, to: &Position) -> TargetError {
        let schema = sql::name(&self.settings.schema);
        let elsewhere = format!("take another `schema`, or DROP SCHEMA {schema} CASCADE");
        let (reason, hint) = foreign_rows(at, to, &elsewhere);
        refused(&self.settings.to_string(), reason, hint)
    }
}
