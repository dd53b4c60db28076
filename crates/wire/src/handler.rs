//! The statements of one connection: queries, and the simple protocol.
//!
//! In: SQL text, or a prepared statement. Out: results, streamed.
//! Refuses to know transactions, settings and cursors: those are in `session_statements`; the extended protocol is in
//! `extended`. Every statement gets a new session, so it sees one snapshot. Start at [`QueryHandler`].

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::SimpleQueryHandler;
use datafusion_postgres::pgwire::api::results::{QueryResponse, Response};
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::simplequery::Query;
use futures::Sink;
use parking_lot::MutexGuard;

use crate::interrupt::Interrupts;
use crate::kept_names::KeptNames;
use crate::planner::{Planner, PreparedStatement};
use crate::rows;
use crate::sqlstate::{self, SqlError};
use crate::variables::Variables;

/// How many snapshots a statement is run over, in all, while what each one names is replaced before it is read.
const SNAPSHOTS_TRIED: u32 = 5;

/// Runs the statements of one connection.
pub(crate) struct QueryHandler {
    pub(crate) planner: Arc<Planner>,
    pub(crate) interrupts: Interrupts,
    pub(crate) max_rows: Option<u64>,
    pub(crate) kept: KeptNames,
}

impl QueryHandler {
    pub(crate) fn new(planner: Planner, interrupts: Interrupts, max_rows: Option<u64>) -> Self {
        Self { planner: Arc::new(planner), interrupts, max_rows, kept: KeptNames::default() }
    }

    pub(crate) fn variables(&self) -> MutexGuard<'_, Variables> {
        self.planner.variables.lock()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.variables().statement_timeout
    }

    /// Plans a statement on a new snapshot, completes the plan by `bind`, and starts it. Again on a newer snapshot while
    /// what the last one names is replaced before it is read.
    async fn run(
        &self,
        sql: &str,
        statement: &Statement,
        format: &Format,
        bind: impl Fn(&SessionContext, LogicalPlan) -> PgWireResult<LogicalPlan>,
    ) -> PgWireResult<QueryResponse> {
        let database = &self.planner.shared.database;
        let mut left = SNAPSHOTS_TRIED;
        loop {
            left -= 1;
            let session = self.planner.session().await?;
            let plan = bind(&session, self.planner.plan(&session, sql, statement).await?)?;
            match start(&session, plan).await {
                Ok(batches) => {
                    let zone = self.variables().zone();
                    return rows::query_response(batches, format, &zone, self.max_rows);
                }
                Err(error) if left > 0 && database.is_replaced(&error) => {}
                Err(error) => return Err(sqlstate::from_engine(&error, Some((sql, &session))).into_error()),
            }
        }
    }

    pub(crate) async fn query(&self, sql: &str, statement: &Statement) -> PgWireResult<QueryResponse> {
        self.run(sql, statement, &Format::UnifiedText, |_, plan| Ok(plan)).await
    }

    /// The result of a prepared statement, planned on a new snapshot.
    pub(crate) async fn prepared_query(
        &self,
        portal: &Portal<PreparedStatement>,
        statement: &Statement,
        described: &LogicalPlan,
    ) -> PgWireResult<QueryResponse> {
        let sql = &portal.statement.statement.0;
        let bind = |session: &SessionContext, plan: LogicalPlan| {
            if plan.schema().as_arrow().fields() != described.schema().as_arrow().fields() {
                let error = SqlError::new("0A000", "cached plan must not change result type");
                return Err(error.hint("the tables changed since it was prepared: prepare it again").into_error());
            }
            let values: ParamValues = self.planner.values(portal, described)?;
            let plan = plan.replace_params_with_values(&values);
            plan.map_err(|error| sqlstate::from_engine(&error, Some((sql, session))).into_error())
        };
        self.run(sql, statement, &portal.result_column_format, bind).await
    }
}

/// Starts a plan; no row is read.
async fn start(session: &SessionContext, plan: LogicalPlan) -> Result<SendableRecordBatchStream, DataFusionError> {
    session.execute_logical_plan(plan).await?.execute_stream().await
}

#[async_trait]
impl SimpleQueryHandler for QueryHandler {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.interrupts.guard(self.timeout(), self._on_query(client, query)).await
    }

    async fn do_query<C>(&self, client: &mut C, sql: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut responses = Vec::new();
        for statement in self.planner.parse(sql)? {
            responses.push(match self.run_session_statement(client, sql, &statement).await? {
                Some(response) => response,
                None => Response::Query(self.query(sql, &statement).await?),
            });
        }
        if responses.is_empty() {
            responses.push(Response::EmptyQuery);
        }
        Ok(responses)
    }
}
