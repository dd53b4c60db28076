//! What one connection's statements do.
//!
//! In: the messages of the simple and the extended protocol. Out: their answers, streamed.
//! Every statement gets a session of its own, so it sees one moment. Start at the two `do_query`.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{CloseCursor, Reset, ResetStatement, Statement};
use datafusion_postgres::pgwire::api::portal::{Format, Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_execution_response, send_partial_query_response,
};
use datafusion_postgres::pgwire::api::results::{
    DescribePortalResponse, DescribeStatementResponse, FieldInfo, QueryResponse, Response, Tag,
};
use datafusion_postgres::pgwire::api::stmt::{QueryParser, StoredStatement};
use datafusion_postgres::pgwire::api::store::{Entry, MemPortalStore, PortalStore};
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::extendedquery::{
    Close, CloseComplete, Execute, Parse, ParseComplete, TARGET_TYPE_BYTE_STATEMENT,
};
use datafusion_postgres::pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use datafusion_postgres::pgwire::messages::simplequery::Query;
use datafusion_postgres::pgwire::messages::startup::ParameterStatus;
use futures::{Sink, SinkExt};

use crate::cursors;
use crate::interrupt::Interrupts;
use crate::prepared::{Planner, Prepared, show_columns};
use crate::rows;
use crate::sqlstate::{self, Complaint};
use crate::variables::{Named, Variables, assignment, shown_name};

/// How many prepared statements and cursors a connection may keep, each.
const MOST_KEPT: usize = 1_000;

/// The statements of one connection.
pub(crate) struct Statements {
    pub(crate) planner: Arc<Planner>,
    pub(crate) interrupts: Interrupts,
    pub(crate) max_rows: Option<u64>,
    kept: Mutex<HashSet<String>>,
}

impl Statements {
    pub(crate) fn new(planner: Planner, interrupts: Interrupts, max_rows: Option<u64>) -> Self {
        Self { planner: Arc::new(planner), interrupts, max_rows, kept: Mutex::default() }
    }

    pub(crate) fn variables(&self) -> MutexGuard<'_, Variables> {
        self.planner.variables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> std::time::Duration {
        self.variables().statement_timeout
    }

    /// Notes a name that stays with the connection until it is given up.
    fn keep(&self, kind: char, name: &str) -> PgWireResult<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{kind}{name}");
        if kept.len() >= 2 * MOST_KEPT && !kept.contains(&name) {
            let text = format!("this connection keeps {} prepared statements and cursors already", kept.len());
            return Err(Complaint::new("53400", text).hint("DEALLOCATE or CLOSE what is not needed").into_error());
        }
        kept.insert(name);
        Ok(())
    }

    fn give_up(&self, kind: char, name: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&format!("{kind}{name}"));
    }

    fn give_up_all(&self, kind: char) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|name| !name.starts_with(kind));
    }

    async fn run(
        &self,
        session: &SessionContext,
        sql: &str,
        plan: LogicalPlan,
        format: &Format,
    ) -> PgWireResult<QueryResponse> {
        let engine = |error| sqlstate::of_engine(&error, Some((sql, session))).into_error();
        let frame = session.execute_logical_plan(plan).await.map_err(engine)?;
        let batches = frame.execute_stream().await.map_err(engine)?;
        let zone = self.variables().zone();
        rows::answer(batches, format, &zone, self.max_rows)
    }

    async fn query(&self, sql: &str, statement: &Statement) -> PgWireResult<QueryResponse> {
        let session = self.planner.session().await?;
        let plan = self.planner.plan(&session, sql, statement).await?;
        self.run(&session, sql, plan, &Format::UnifiedText).await
    }

    /// The answer to a prepared statement, by a plan of this moment.
    async fn prepared_query(
        &self,
        portal: &Portal<Prepared>,
        statement: &Statement,
        described: &LogicalPlan,
    ) -> PgWireResult<QueryResponse> {
        let sql = &portal.statement.statement.0;
        let session = self.planner.session().await?;
        let plan = self.planner.plan(&session, sql, statement).await?;
        if plan.schema().as_arrow().fields() != described.schema().as_arrow().fields() {
            let complaint = Complaint::new("0A000", "cached plan must not change result type");
            return Err(complaint.hint("the tables changed since it was prepared: prepare it again").into_error());
        }
        let values: ParamValues = self.planner.values(portal, described)?;
        let plan = plan.replace_params_with_values(&values);
        let plan = plan.map_err(|error| sqlstate::of_engine(&error, Some((sql, &session))).into_error())?;
        self.run(&session, sql, plan, &portal.result_column_format).await
    }

    /// Answers what is not the engine's: settings, transactions, cursors. None: it is the engine's.
    async fn own<C>(&self, client: &mut C, sql: &str, statement: &Statement) -> PgWireResult<Option<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let Some(answer) = self.transaction(client, statement)? {
            return Ok(Some(answer));
        }
        let done = |tag: &str| Ok(Some(Response::Execution(Tag::new(tag))));
        match statement {
            Statement::Set(set) => {
                let told = match assignment(set).map_err(Complaint::into_error)? {
                    Some((name, value)) => self.variables().set(&name, value.as_deref()),
                    None => Ok(None),
                };
                tell(client, told.map_err(Complaint::into_error)?).await?;
                done("SET")
            }
            Statement::Reset(ResetStatement { reset: Reset::ConfigurationParameter(name) }) => {
                let told = self.variables().set(&name.to_string(), None).map_err(Complaint::into_error)?;
                tell(client, told).await?;
                done("RESET")
            }
            Statement::Reset(_) | Statement::Discard { .. } => {
                let told = self.variables().reset();
                tell(client, told).await?;
                done(if matches!(statement, Statement::Reset(_)) { "RESET" } else { "DISCARD ALL" })
            }
            Statement::Deallocate { name, .. } => {
                client.portal_store().rm_statement(&name.value);
                self.give_up('s', &name.value);
                done("DEALLOCATE")
            }
            Statement::ShowVariable { variable } => Ok(Some(Response::Query(self.shown(&shown_name(variable))?))),
            _ => self.cursor(client, sql, statement).await,
        }
    }

    fn shown(&self, name: &str) -> PgWireResult<QueryResponse> {
        let columns = show_columns(name);
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let rows = match name {
            "all" => self.variables().all().into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect(),
            _ => vec![vec![self.variables().get(name).map_err(Complaint::into_error)?.1]],
        };
        rows::texts(&columns, rows)
    }

    /// Transactions are words here: each statement reads one moment whatever they say. But clients count on the words.
    fn transaction<C>(&self, client: &C, statement: &Statement) -> PgWireResult<Option<Response>>
    where
        C: ClientInfo + ClientPortalStore,
        C::PortalStore: PortalStore,
    {
        let failed = matches!(client.transaction_status(), TransactionStatus::Error);
        Ok(Some(match statement {
            // Back to the savepoint: the transaction goes on, failed or not.
            Statement::Rollback { savepoint: Some(_), .. } => Response::TransactionStart(Tag::new("ROLLBACK")),
            Statement::Commit { .. } | Statement::Rollback { .. } => {
                client.portal_store().clear_portals();
                self.give_up_all('c');
                let rolled_back = failed || matches!(statement, Statement::Rollback { .. });
                Response::TransactionEnd(Tag::new(if rolled_back { "ROLLBACK" } else { "COMMIT" }))
            }
            _ if failed => {
                let text = "current transaction is aborted, commands ignored until end of transaction block";
                return Err(Complaint::new("25P02", text).into_error());
            }
            Statement::StartTransaction { .. } => Response::TransactionStart(Tag::new("BEGIN")),
            Statement::Savepoint { .. } => Response::Execution(Tag::new("SAVEPOINT")),
            Statement::ReleaseSavepoint { .. } => Response::Execution(Tag::new("RELEASE")),
            _ => return Ok(None),
        }))
    }

    async fn cursor<C>(&self, client: &C, sql: &str, statement: &Statement) -> PgWireResult<Option<Response>>
    where
        C: ClientPortalStore + Sync,
        C::PortalStore: PortalStore,
    {
        let portals = || {
            let portals = client.portal_store().as_any().downcast_ref::<MemPortalStore<Prepared>>();
            portals.ok_or_else(|| Complaint::new("XX000", "this connection keeps no cursors").into_error())
        };
        Ok(Some(match statement {
            Statement::Declare { stmts } => {
                let mut answer = Response::Execution(Tag::new("DECLARE CURSOR"));
                for declare in stmts {
                    let (name, query) = cursors::declared(declare)?;
                    self.keep('c', &name)?;
                    answer = cursors::open(portals()?, &name, self.query(sql, &query).await?).await;
                }
                answer
            }
            Statement::Fetch { name, direction, .. } => cursors::fetch(portals()?, name, direction).await?,
            Statement::Close { cursor } => {
                let closed = cursors::close(portals()?, cursor)?;
                match cursor {
                    CloseCursor::All => self.give_up_all('c'),
                    CloseCursor::Specific { name } => self.give_up('c', &name.value),
                }
                closed
            }
            _ => return Ok(None),
        }))
    }

    async fn described<C>(
        &self,
        client: &C,
        prepared: &Prepared,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>>
    where
        C: ClientPortalStore + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
    {
        let fetched = match &prepared.1 {
            Some((statement, _)) => cursors::columns(client.portal_store(), statement).await,
            None => None,
        };
        fetched.map_or_else(|| self.planner.get_result_schema(prepared, format), Ok)
    }

    /// Sends what a portal answers, up to `max_rows` at a time; the rest stays in the portal.
    async fn execute<C>(&self, client: &mut C, portal: &Portal<Prepared>, max_rows: usize) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            let status = client.transaction_status();
            match ExtendedQueryHandler::do_query(self, client, portal, max_rows).await? {
                Response::Query(answer) => *state = PortalExecutionState::Suspended(answer),
                Response::Execution(tag) => return send_execution_response(client, tag).await,
                Response::TransactionStart(tag) => {
                    client.set_transaction_status(status.to_in_transaction_state());
                    return send_execution_response(client, tag).await;
                }
                Response::TransactionEnd(tag) => {
                    client.set_transaction_status(status.to_idle_state());
                    return send_execution_response(client, tag).await;
                }
                _ => {
                    let nothing = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                    return Ok(client.feed(nothing).await?);
                }
            }
        }
        match &mut *state {
            PortalExecutionState::Suspended(answer) => {
                if !send_partial_query_response(client, answer, max_rows).await? {
                    *state = PortalExecutionState::Finished;
                }
                Ok(())
            }
            _ => send_execution_response(client, Tag::new("SELECT").with_rows(0)).await,
        }
    }
}

async fn tell<C>(client: &mut C, told: impl IntoIterator<Item = Named>) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    for (name, value) in told {
        client.feed(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value))).await?;
    }
    Ok(())
}

#[async_trait]
impl SimpleQueryHandler for Statements {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.interrupts.guard(self.limit(), self._on_query(client, query)).await
    }

    async fn do_query<C>(&self, client: &mut C, sql: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut answers = Vec::new();
        for statement in self.planner.parse(sql)? {
            answers.push(match self.own(client, sql, &statement).await? {
                Some(answer) => answer,
                None => Response::Query(self.query(sql, &statement).await?),
            });
        }
        if answers.is_empty() {
            answers.push(Response::EmptyQuery);
        }
        Ok(answers)
    }
}

#[async_trait]
impl ExtendedQueryHandler for Statements {
    type Statement = Prepared;
    type QueryParser = Planner;

    fn query_parser(&self) -> Arc<Planner> {
        Arc::clone(&self.planner)
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        self.keep('s', &name)?;
        let parsed = StoredStatement::parse(client, &message, self.query_parser());
        match self.interrupts.guard(self.limit(), parsed).await? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(&name),
        }
        Ok(client.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?)
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let max_rows = usize::try_from(message.max_rows).unwrap_or(0);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                let nothing = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                return Ok(client.feed(nothing).await?);
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        client.set_state(PgWireConnectionState::QueryInProgress);
        let done = self.interrupts.guard(self.limit(), self.execute(client, &portal, max_rows)).await;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        if done.is_err() {
            // What the portal still runs ends here, not when the client gives it up.
            client.portal_store().rm_portal(name);
        }
        done
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            client.portal_store().rm_statement(name);
            self.give_up('s', name);
        } else {
            client.portal_store().rm_portal(name);
        }
        Ok(client.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?)
    }

    async fn do_describe_statement<C>(
        &self,
        client: &mut C,
        target: &StoredStatement<Prepared>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // What the client said of a parameter goes before what the plan says.
        let mut types = self.planner.get_parameter_types(&target.statement)?;
        types.resize(types.len().max(target.parameter_types.len()), Type::UNKNOWN);
        for (own, given) in types.iter_mut().zip(&target.parameter_types) {
            if let Some(given) = given {
                *own = given.clone();
            }
        }
        let fields = self.described(client, &target.statement, None).await?;
        Ok(DescribeStatementResponse::new(types, fields))
    }

    async fn do_describe_portal<C>(
        &self,
        client: &mut C,
        target: &Portal<Prepared>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // A cursor is a portal that has begun: psycopg asks for its columns by its name.
        if let PortalExecutionState::Suspended(answer) = &*target.state.lock().await {
            return Ok(DescribePortalResponse::new(answer.row_schema().to_vec()));
        }
        let format = Some(&target.result_column_format);
        Ok(DescribePortalResponse::new(self.described(client, &target.statement.statement, format).await?))
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, _max_rows: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (sql, Some((statement, described))) = &portal.statement.statement else { return Ok(Response::EmptyQuery) };
        match self.own(client, sql, statement).await? {
            Some(answer) => Ok(answer),
            None => Ok(Response::Query(self.prepared_query(portal, statement, described).await?)),
        }
    }
}
