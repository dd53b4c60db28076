//! Statements about the session itself: `SET` and `SHOW`, transactions, cursors, `DEALLOCATE`.
//!
//! In: parsed statements. Out: their responses, or none for a statement that is a query.
//! Plans nothing. Start at [`QueryHandler::run_session_statement`].

use std::fmt::Debug;

use datafusion::sql::sqlparser::ast::{CloseCursor, Reset, ResetStatement, Statement};
use datafusion_postgres::pgwire::api::results::{QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::api::store::{MemPortalStore, PortalStore};
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::response::TransactionStatus;
use datafusion_postgres::pgwire::messages::startup::ParameterStatus;
use futures::{Sink, SinkExt};

use crate::cursors;
use crate::handler::QueryHandler;
use crate::kept_names::NameKind;
use crate::planner::{PreparedStatement, show_columns};
use crate::rows;
use crate::set_statement::{assignment, shown_name};
use crate::sqlstate::SqlError;
use crate::variables::ParameterValue;

impl QueryHandler {
    /// Runs a statement about the session: settings, transactions, cursors. `None`: it is a query.
    pub(crate) async fn run_session_statement<C>(
        &self,
        client: &mut C,
        sql: &str,
        statement: &Statement,
    ) -> PgWireResult<Option<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let Some(response) = self.transaction(client, statement)? {
            return Ok(Some(response));
        }
        let done = |tag: &str| Ok(Some(Response::Execution(Tag::new(tag))));
        match statement {
            Statement::Set(set) => {
                let changed = match assignment(set).map_err(SqlError::into_error)? {
                    Some((name, value)) => self.variables().set(&name, value.as_deref()),
                    None => Ok(None),
                };
                report(client, changed.map_err(SqlError::into_error)?).await?;
                done("SET")
            }
            Statement::Reset(ResetStatement { reset: Reset::ConfigurationParameter(name) }) => {
                let changed = self.variables().set(&name.to_string(), None).map_err(SqlError::into_error)?;
                report(client, changed).await?;
                done("RESET")
            }
            Statement::Reset(_) | Statement::Discard { .. } => {
                let changed = self.variables().reset();
                report(client, changed).await?;
                done(if matches!(statement, Statement::Reset(_)) { "RESET" } else { "DISCARD ALL" })
            }
            Statement::Deallocate { name, .. } => {
                client.portal_store().rm_statement(&name.value);
                self.kept.release(NameKind::Statement, &name.value);
                done("DEALLOCATE")
            }
            Statement::ShowVariable { variable } => Ok(Some(Response::Query(self.show(&shown_name(variable))?))),
            _ => self.cursor(client, sql, statement).await,
        }
    }

    fn show(&self, name: &str) -> PgWireResult<QueryResponse> {
        let columns = show_columns(name);
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let rows = match name {
            "all" => self.variables().all().into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect(),
            _ => vec![vec![self.variables().get(name).map_err(SqlError::into_error)?.1]],
        };
        rows::text_response(&columns, rows)
    }

    /// Transactions change nothing here, as each statement reads one snapshot; but clients rely on their responses.
    fn transaction<C>(&self, client: &C, statement: &Statement) -> PgWireResult<Option<Response>>
    where
        C: ClientInfo + ClientPortalStore,
        C::PortalStore: PortalStore,
    {
        let failed = matches!(client.transaction_status(), TransactionStatus::Error);
        Ok(Some(match statement {
            // Back to the savepoint: the transaction continues, failed or not.
            Statement::Rollback { savepoint: Some(_), .. } => Response::TransactionStart(Tag::new("ROLLBACK")),
            Statement::Commit { .. } | Statement::Rollback { .. } => {
                client.portal_store().clear_portals();
                self.kept.release_all(NameKind::Cursor);
                let rolled_back = failed || matches!(statement, Statement::Rollback { .. });
                Response::TransactionEnd(Tag::new(if rolled_back { "ROLLBACK" } else { "COMMIT" }))
            }
            _ if failed => {
                let text = "current transaction is aborted, commands ignored until end of transaction block";
                return Err(SqlError::new("25P02", text).into_error());
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
            let portals = client.portal_store().as_any().downcast_ref::<MemPortalStore<PreparedStatement>>();
            portals.ok_or_else(|| SqlError::new("XX000", "this connection keeps no cursors").into_error())
        };
        Ok(Some(match statement {
            Statement::Declare { stmts } => {
                let mut response = Response::Execution(Tag::new("DECLARE CURSOR"));
                for declare in stmts {
                    let (name, query) = cursors::name_and_query(declare)?;
                    self.kept.keep(NameKind::Cursor, &name)?;
                    response = cursors::open(portals()?, &name, self.query(sql, &query).await?).await;
                }
                response
            }
            Statement::Fetch { name, direction, .. } => cursors::fetch(portals()?, name, direction).await?,
            Statement::Close { cursor } => {
                let closed = cursors::close(portals()?, cursor)?;
                match cursor {
                    CloseCursor::All => self.kept.release_all(NameKind::Cursor),
                    CloseCursor::Specific { name } => self.kept.release(NameKind::Cursor, &name.value),
                }
                closed
            }
            _ => return Ok(None),
        }))
    }
}

/// Sends the parameters that changed, as drivers rely on it.
async fn report<C>(client: &mut C, changed: impl IntoIterator<Item = ParameterValue>) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    for (name, value) in changed {
        client.feed(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value))).await?;
    }
    Ok(())
}
