//! From a statement's text to its plan, and the description of a prepared one.
//!
//! In: SQL as clients write it. Out: statements, plans, the types of parameters and columns.
//! Runs nothing. Start at [`Planner::plan`].
//!
//! A plan holds one snapshot of the tables, so a prepared statement is planned again each time it runs; the plan made
//! by Parse only describes it.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DFSchema, ParamValues};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::ExtendedQueryHandler;
use datafusion_postgres::pgwire::api::results::FieldInfo;
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::{ClientInfo, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::{DfSessionService, Parser as TypeParser};
use parking_lot::Mutex;

use crate::database::Database;
use crate::pg_catalog::PgCatalog;
use crate::read_only;
use crate::set_statement::shown_name;
use crate::sqlstate::{self, SqlError};
use crate::variables::Variables;

/// A statement's text, with its syntax tree and plan; `None` for an empty statement.
pub(crate) type PreparedStatement = (String, Option<(Statement, LogicalPlan)>);

/// The part of the planner that all connections share.
pub(crate) struct SharedPlanner {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) catalog: PgCatalog,
    parser: PostgresCompatibilityParser,
    types: Arc<TypeParser>,
}

impl SharedPlanner {
    pub(crate) fn new(database: Arc<dyn Database>, catalog: PgCatalog) -> Self {
        // Only its tables of types are used, so it gets a session without tables.
        let types = DfSessionService::new_with_hooks(Arc::new(SessionContext::new()), Vec::new()).query_parser();
        Self { database, catalog, parser: PostgresCompatibilityParser::new(), types }
    }
}

/// Plans one connection's statements.
pub(crate) struct Planner {
    pub(crate) shared: Arc<SharedPlanner>,
    pub(crate) variables: Arc<Mutex<Variables>>,
}

impl Planner {
    /// A session over a new snapshot, with this connection's settings.
    pub(crate) async fn session(&self) -> PgWireResult<SessionContext> {
        let engine = |error| sqlstate::from_engine(&error, None).into_error();
        let session = self.shared.database.session().await.map_err(engine)?;
        self.shared.catalog.register(&session).map_err(engine)?;
        let variables = self.variables.lock();
        let shared = session.state_ref();
        let mut state = shared.write();
        let options = state.config_mut().options_mut();
        options.execution.time_zone = Some(variables.zone());
        if let Some(schema) = variables.schema() {
            options.catalog.default_schema = schema.to_owned();
        }
        drop(state);
        Ok(session)
    }

    /// The statements of a text.
    pub(crate) fn parse(&self, sql: &str) -> PgWireResult<Vec<Statement>> {
        self.shared.parser.parse(sql).map_err(|error| {
            // The compatible parser rewrites first, which loses the positions; the plain one has them.
            let located = Parser::parse_sql(&PostgreSqlDialect {}, sql).err().unwrap_or(error);
            sqlstate::from_syntax(sql, &located).into_error()
        })
    }

    /// The plan of one statement that reads.
    ///
    /// # Errors
    /// For the client: a refusal, an unknown name, a type that does not match.
    pub(crate) async fn plan(
        &self,
        session: &SessionContext,
        sql: &str,
        statement: &Statement,
    ) -> PgWireResult<LogicalPlan> {
        if let Some(refused) = read_only::check(statement) {
            return Err(refused.into_error());
        }
        let statement = EngineStatement::Statement(Box::new(statement.clone()));
        let plan = session.state().statement_to_plan(statement).await;
        let plan = plan.map_err(|error| sqlstate::from_engine(&error, Some((sql, session))).into_error())?;
        let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        reading.verify_plan(&plan).map_err(|_| read_only::refuse(sql).into_error())?;
        Ok(plan)
    }

    /// The values that a client bound to the parameters of `prepared`.
    pub(crate) fn values(
        &self,
        portal: &Portal<PreparedStatement>,
        described: &LogicalPlan,
    ) -> PgWireResult<ParamValues> {
        let wire = self.shared.types.get_parameter_types(&portal.statement.statement)?;
        let engine = |error| sqlstate::from_engine(&error, None).into_error();
        let inferred = in_parameter_order(described.get_parameter_types().map_err(engine)?);
        if portal.parameter_len() < inferred.len() {
            let (given, needed) = (portal.parameter_len(), inferred.len());
            let text = format!("bind message supplies {given} parameters, but the statement requires {needed}");
            return Err(SqlError::new("08P01", text).into_error());
        }
        let inferred: Vec<Option<&DataType>> = inferred.iter().map(Option::as_ref).collect();
        let wire: Vec<Option<&Type>> = wire.iter().map(Some).collect();
        deserialize_parameters_with_server_types(portal, &inferred, &wire)
    }

    async fn prepare(&self, sql: &str) -> PgWireResult<Option<PreparedStatement>> {
        let mut statements = self.parse(sql)?;
        let Some(statement) = statements.pop() else { return Ok(None) };
        if !statements.is_empty() {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(SqlError::new("42601", text).into_error());
        }
        let plan = match session_statement_columns(&statement) {
            Some(columns) => without_rows(&columns)?,
            None => self.plan(&self.session().await?, sql, &statement).await?,
        };
        Ok(Some((sql.to_owned(), Some((statement, plan)))))
    }
}

#[async_trait]
impl QueryParser for Planner {
    type Statement = PreparedStatement;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<PreparedStatement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        self.prepare(sql).await
    }

    fn get_parameter_types(&self, prepared: &PreparedStatement) -> PgWireResult<Vec<Type>> {
        self.shared.types.get_parameter_types(prepared)
    }

    fn get_result_schema(&self, prepared: &PreparedStatement, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        self.shared.types.get_result_schema(prepared, format)
    }
}

/// The columns of a session statement, which this server executes itself; `None` for one that is planned.
fn session_statement_columns(statement: &Statement) -> Option<Vec<String>> {
    match statement {
        Statement::ShowVariable { variable } => Some(show_columns(&shown_name(variable))),
        Statement::Set(_)
        | Statement::Reset(_)
        | Statement::Discard { .. }
        | Statement::Deallocate { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. }
        | Statement::Declare { .. }
        | Statement::Fetch { .. }
        | Statement::Close { .. } => Some(Vec::new()),
        _ => None,
    }
}

/// `SHOW ALL` has two columns, any other `SHOW` one.
pub(crate) fn show_columns(name: &str) -> Vec<String> {
    if name == "all" { vec!["name".into(), "setting".into()] } else { vec![name.into()] }
}

fn without_rows(columns: &[String]) -> PgWireResult<LogicalPlan> {
    let fields: Vec<Field> = columns.iter().map(|name| Field::new(name, DataType::Utf8, false)).collect();
    let schema = DFSchema::try_from(Schema::new(fields)).map_err(|error| PgWireError::ApiError(Box::new(error)))?;
    Ok(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::new(schema) }))
}

/// `$2` before `$10`.
fn in_parameter_order(types: impl IntoIterator<Item = (String, Option<DataType>)>) -> Vec<Option<DataType>> {
    let mut types: Vec<(u32, Option<DataType>)> = types
        .into_iter()
        .map(|(name, data_type)| (name.trim_start_matches('$').parse().unwrap_or(u32::MAX), data_type))
        .collect();
    types.sort_by_key(|(number, _)| *number);
    types.into_iter().map(|(_, data_type)| data_type).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenth_parameter_comes_after_the_second() {
        let types = [("$10", DataType::Utf8), ("$2", DataType::Int64), ("$1", DataType::Boolean)];
        let ordered = in_parameter_order(types.map(|(name, data_type)| (name.to_owned(), Some(data_type))));
        assert_eq!(ordered, [DataType::Boolean, DataType::Int64, DataType::Utf8].map(Some));
    }
}
