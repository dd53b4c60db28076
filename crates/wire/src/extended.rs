//! The extended protocol: Parse, Describe, Execute, Close.
//!
//! In: its messages. Out: their responses, streamed from the portals.
//! Knows nothing of planning. Start at [`ExtendedQueryHandler`]'s `on_parse`.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::portal::{Format, Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::query::{
    ExtendedQueryHandler, send_execution_response, send_partial_query_response,
};
use datafusion_postgres::pgwire::api::results::{
    DescribePortalResponse, DescribeStatementResponse, FieldInfo, Response, Tag,
};
use datafusion_postgres::pgwire::api::stmt::{QueryParser, StoredStatement};
use datafusion_postgres::pgwire::api::store::{Entry, PortalStore};
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::extendedquery::{
    Close, CloseComplete, Execute, Parse, ParseComplete, TARGET_TYPE_BYTE_STATEMENT,
};
use datafusion_postgres::pgwire::messages::response::EmptyQueryResponse;
use futures::{Sink, SinkExt};

use crate::cursors;
use crate::handler::QueryHandler;
use crate::kept_names::NameKind;
use crate::planner::{Planner, PreparedStatement};

#[async_trait]
impl ExtendedQueryHandler for QueryHandler {
    type Statement = PreparedStatement;
    type QueryParser = Planner;

    fn query_parser(&self) -> Arc<Planner> {
        Arc::clone(&self.planner)
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = PreparedStatement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        self.kept.keep(NameKind::Statement, &name)?;
        let parsed = StoredStatement::parse(client, &message, self.query_parser());
        match self.interrupts.guard(self.timeout(), parsed).await? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(&name),
        }
        Ok(client.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?)
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = PreparedStatement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let max_rows = usize::try_from(message.max_rows).unwrap_or(0);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                let empty = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                return Ok(client.feed(empty).await?);
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        client.set_state(PgWireConnectionState::QueryInProgress);
        let done = self.interrupts.guard(self.timeout(), self.execute(client, &portal, max_rows)).await;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        if done.is_err() {
            // What the portal still runs ends here, not when the client closes it.
            client.portal_store().rm_portal(name);
        }
        done
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = PreparedStatement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            client.portal_store().rm_statement(name);
            self.kept.release(NameKind::Statement, name);
        } else {
            client.portal_store().rm_portal(name);
        }
        Ok(client.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?)
    }

    async fn do_describe_statement<C>(
        &self,
        client: &mut C,
        target: &StoredStatement<PreparedStatement>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = PreparedStatement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // The type that the client gave for a parameter overrides that of the plan.
        let mut types = self.planner.get_parameter_types(&target.statement)?;
        types.resize(types.len().max(target.parameter_types.len()), Type::UNKNOWN);
        for (inferred, given) in types.iter_mut().zip(&target.parameter_types) {
            if let Some(given) = given {
                *inferred = given.clone();
            }
        }
        let fields = self.describe(client, &target.statement, None).await?;
        Ok(DescribeStatementResponse::new(types, fields))
    }

    async fn do_describe_portal<C>(
        &self,
        client: &mut C,
        target: &Portal<PreparedStatement>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = PreparedStatement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // A cursor is a portal that was started: psycopg asks for its columns by its name.
        if let PortalExecutionState::Suspended(result) = &*target.state.lock().await {
            return Ok(DescribePortalResponse::new(result.row_schema().to_vec()));
        }
        let format = Some(&target.result_column_format);
        Ok(DescribePortalResponse::new(self.describe(client, &target.statement.statement, format).await?))
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<PreparedStatement>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = PreparedStatement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (sql, Some((statement, described))) = &portal.statement.statement else { return Ok(Response::EmptyQuery) };
        match self.run_session_statement(client, sql, statement).await? {
            Some(response) => Ok(response),
            None => Ok(Response::Query(self.prepared_query(portal, statement, described).await?)),
        }
    }
}

impl QueryHandler {
    async fn describe<C>(
        &self,
        client: &C,
        prepared: &PreparedStatement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>>
    where
        C: ClientPortalStore + Sync,
        C::PortalStore: PortalStore<Statement = PreparedStatement>,
    {
        let fetched = match &prepared.1 {
            Some((statement, _)) => cursors::columns(client.portal_store(), statement).await,
            None => None,
        };
        fetched.map_or_else(|| self.planner.get_result_schema(prepared, format), Ok)
    }

    /// Sends the result of a portal, up to `max_rows` at a time; the rest stays in the portal.
    async fn execute<C>(&self, client: &mut C, portal: &Portal<PreparedStatement>, max_rows: usize) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = PreparedStatement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            let status = client.transaction_status();
            match ExtendedQueryHandler::do_query(self, client, portal, max_rows).await? {
                Response::Query(result) => *state = PortalExecutionState::Suspended(result),
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
                    let empty = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                    return Ok(client.feed(empty).await?);
                }
            }
        }
        match &mut *state {
            PortalExecutionState::Suspended(result) => {
                if !send_partial_query_response(client, result, max_rows).await? {
                    *state = PortalExecutionState::Finished;
                }
                Ok(())
            }
            _ => send_execution_response(client, Tag::new("SELECT").with_rows(0)).await,
        }
    }
}
