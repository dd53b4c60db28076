//! From a statement's text to its plan, and what a client is told of a prepared one.
//!
//! In: SQL as clients write it. Out: statements, plans, the types of parameters and columns.
//! Runs nothing. Start at [`Planner::plan`].
//!
//! A plan holds the tables of one moment, so it is made anew whenever a prepared statement runs; the one made when it
//! was prepared only describes it.

use std::sync::{Arc, Mutex, PoisonError};

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
use datafusion_postgres::{DfSessionService, Parser as TypeTeller};

use crate::Database;
use crate::catalog::Catalog;
use crate::refusal;
use crate::sqlstate::{self, Complaint};
use crate::variables::{Variables, shown_name};

/// A statement's text, and what it means; a statement of nothing means nothing.
pub(crate) type Prepared = (String, Option<(Statement, LogicalPlan)>);

/// What all connections plan with.
pub(crate) struct Dialect {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) catalog: Catalog,
    parser: PostgresCompatibilityParser,
    types: Arc<TypeTeller>,
}

impl Dialect {
    pub(crate) fn new(database: Arc<dyn Database>, catalog: Catalog) -> Self {
        // Only its tables of types are used, so it gets a session without tables.
        let types = DfSessionService::new_with_hooks(Arc::new(SessionContext::new()), Vec::new()).query_parser();
        Self { database, catalog, parser: PostgresCompatibilityParser::new(), types }
    }
}

/// Plans one connection's statements.
pub(crate) struct Planner {
    pub(crate) dialect: Arc<Dialect>,
    pub(crate) variables: Arc<Mutex<Variables>>,
}

impl Planner {
    /// A session of this moment, as this connection wants it.
    pub(crate) async fn session(&self) -> PgWireResult<SessionContext> {
        let engine = |error| sqlstate::of_engine(&error, None).into_error();
        let session = self.dialect.database.session().await.map_err(engine)?;
        self.dialect.catalog.dress(&session).map_err(engine)?;
        let variables = self.variables.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.dialect.parser.parse(sql).map_err(|error| {
            // The compatible parser rewrites first and has lost the places by then; the plain one has them.
            let located = Parser::parse_sql(&PostgreSqlDialect {}, sql).err().unwrap_or(error);
            sqlstate::of_syntax(sql, &located).into_error()
        })
    }

    /// The plan of one statement that reads.
    ///
    /// # Errors
    /// What the client is told: a refusal, an unknown name, a type that does not fit.
    pub(crate) async fn plan(
        &self,
        session: &SessionContext,
        sql: &str,
        statement: &Statement,
    ) -> PgWireResult<LogicalPlan> {
        if let Some(refused) = refusal::of(statement) {
            return Err(refused.into_error());
        }
        let statement = EngineStatement::Statement(Box::new(statement.clone()));
        let plan = session.state().statement_to_plan(statement).await;
        let plan = plan.map_err(|error| sqlstate::of_engine(&error, Some((sql, session))).into_error())?;
        let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        reading.verify_plan(&plan).map_err(|_| refusal::refused(sql).into_error())?;
        Ok(plan)
    }

    /// The values that a client bound to the parameters of `prepared`.
    pub(crate) fn values(&self, portal: &Portal<Prepared>, described: &LogicalPlan) -> PgWireResult<ParamValues> {
        let wire = self.dialect.types.get_parameter_types(&portal.statement.statement)?;
        let engine = |error| sqlstate::of_engine(&error, None).into_error();
        let inferred = in_order(described.get_parameter_types().map_err(engine)?);
        if portal.parameter_len() < inferred.len() {
            let (given, needed) = (portal.parameter_len(), inferred.len());
            let text = format!("bind message supplies {given} parameters, but the statement requires {needed}");
            return Err(Complaint::new("08P01", text).into_error());
        }
        let inferred: Vec<Option<&DataType>> = inferred.iter().map(Option::as_ref).collect();
        let wire: Vec<Option<&Type>> = wire.iter().map(Some).collect();
        deserialize_parameters_with_server_types(portal, &inferred, &wire)
    }

    async fn prepare(&self, sql: &str) -> PgWireResult<Option<Prepared>> {
        let mut statements = self.parse(sql)?;
        let Some(statement) = statements.pop() else { return Ok(None) };
        if !statements.is_empty() {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(Complaint::new("42601", text).into_error());
        }
        let plan = match stand_in(&statement) {
            Some(columns) => without_rows(&columns)?,
            None => self.plan(&self.session().await?, sql, &statement).await?,
        };
        Ok(Some((sql.to_owned(), Some((statement, plan)))))
    }
}

#[async_trait]
impl QueryParser for Planner {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _client: &C, sql: &str, _types: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        self.prepare(sql).await
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        self.dialect.types.get_parameter_types(prepared)
    }

    fn get_result_schema(&self, prepared: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        self.dialect.types.get_result_schema(prepared, format)
    }
}

/// The columns of what the engine does not plan because this server answers it by itself.
fn stand_in(statement: &Statement) -> Option<Vec<String>> {
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
fn in_order(types: impl IntoIterator<Item = (String, Option<DataType>)>) -> Vec<Option<DataType>> {
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
        let ordered = in_order(types.map(|(name, data_type)| (name.to_owned(), Some(data_type))));
        assert_eq!(ordered, [DataType::Boolean, DataType::Int64, DataType::Utf8].map(Some));
    }
}
