//! `DECLARE`, `FETCH`, `CLOSE`: a result kept open and fetched in parts, as psycopg's named cursors do.
//!
//! In: the statements and a connection's portals. Out: rows as they come, forward only.
//! Plans nothing: [`open`] is given the result of the cursor's query. Start there.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{CloseCursor, Declare, FetchDirection, Ident, Statement, Value, ValueWithSpan};
use datafusion_postgres::pgwire::api::portal::{Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::results::{FieldInfo, QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::api::stmt::StoredStatement;
use datafusion_postgres::pgwire::api::store::{MemPortalStore, PortalStore};
use datafusion_postgres::pgwire::error::PgWireResult;
use futures::{StreamExt, stream};

use crate::planner::PreparedStatement;
use crate::sqlstate::SqlError;

/// Keeps `result` under `name`.
pub(crate) async fn open(portals: &MemPortalStore<PreparedStatement>, name: &str, result: QueryResponse) -> Response {
    let statement = Arc::new(StoredStatement::new(name.to_owned(), (String::new(), None), Vec::new()));
    let portal = Portal::new_cursor(name.to_owned(), statement);
    portal.start(result).await;
    portals.put_portal(Arc::new(portal));
    Response::Execution(Tag::new("DECLARE CURSOR"))
}

/// The next rows of a cursor; they are read as the client takes them.
pub(crate) async fn fetch(
    portals: &MemPortalStore<PreparedStatement>,
    name: &Ident,
    direction: &FetchDirection,
) -> PgWireResult<Response> {
    let rows = requested_rows(direction)?;
    let portal = portals.get_portal(&name.value).and_then(|entry| entry.value().cloned());
    let portal = portal.ok_or_else(|| missing(&name.value).into_error())?;
    let state = portal.state();
    let fields = match &*state.lock().await {
        PortalExecutionState::Suspended(result) => result.row_schema(),
        PortalExecutionState::Initial | PortalExecutionState::Finished => Arc::new(Vec::new()),
    };
    let next = stream::unfold((state, rows), |(state, left)| async move {
        if left == 0 {
            return None;
        }
        let mut guard = state.lock().await;
        let PortalExecutionState::Suspended(result) = &mut *guard else { return None };
        let row = result.data_rows().next().await?;
        drop(guard);
        Some((row, (state, left - 1)))
    });
    let mut response = QueryResponse::new(fields, next);
    response.set_command_tag("FETCH");
    Ok(Response::Query(response))
}

/// The columns of the cursor that `statement` fetches from: a client is sent them before the rows.
pub(crate) async fn columns<P: PortalStore>(portals: &P, statement: &Statement) -> Option<Vec<FieldInfo>> {
    let Statement::Fetch { name, .. } = statement else { return None };
    let state = Arc::clone(&portals.get_portal(&name.value)?.value()?.state);
    match &*state.lock().await {
        PortalExecutionState::Suspended(result) => Some(result.row_schema().to_vec()),
        PortalExecutionState::Initial | PortalExecutionState::Finished => None,
    }
}

/// Drops one cursor, or all.
pub(crate) fn close(portals: &MemPortalStore<PreparedStatement>, cursor: &CloseCursor) -> PgWireResult<Response> {
    match cursor {
        CloseCursor::All => portals.clear_portals(),
        CloseCursor::Specific { name } if portals.get_portal(&name.value).is_none() => {
            return Err(missing(&name.value).into_error());
        }
        CloseCursor::Specific { name } => portals.rm_portal(&name.value),
    }
    Ok(Response::Execution(Tag::new("CLOSE CURSOR")))
}

fn missing(name: &str) -> SqlError {
    SqlError::new("34000", format!("cursor \"{name}\" does not exist"))
        .hint("a cursor ends with its transaction: BEGIN before DECLARE")
}

fn requested_rows(direction: &FetchDirection) -> PgWireResult<usize> {
    let number = |limit: &ValueWithSpan| match &limit.value {
        Value::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    let rows = match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Some(1),
        FetchDirection::Forward { limit: Some(limit) } | FetchDirection::Count { limit } => number(limit),
        FetchDirection::ForwardAll | FetchDirection::All => Some(usize::MAX),
        _ => None,
    };
    rows.ok_or_else(|| SqlError::new("55000", "cursor can only scan forward").into_error())
}

/// The name and the query of one `DECLARE`.
pub(crate) fn name_and_query(declare: &Declare) -> PgWireResult<(String, Statement)> {
    let name = declare.names.first().map(|name| name.value.clone());
    let query = declare.for_query.clone().map(Statement::Query);
    name.zip(query).ok_or_else(|| {
        SqlError::new("42601", "DECLARE takes a name and a query: DECLARE c CURSOR FOR SELECT ...").into_error()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_forward_only() {
        assert_eq!(requested_rows(&FetchDirection::Next).unwrap(), 1);
        assert!(requested_rows(&FetchDirection::Prior).is_err());
    }
}
