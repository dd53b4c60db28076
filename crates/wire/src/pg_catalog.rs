//! What makes a session look like PostgreSQL: `pg_catalog`, `information_schema`, its functions and type names.
//!
//! In: the sessions of a `Database`. Out: the same sessions with all of these.
//! Refuses to know statements. Start at [`PgCatalog::register`].
//!
//! psql finds a table's OID with one statement and asks for its columns with the next, so OIDs must outlive a
//! session: one `pg_catalog` serves all, over the tables of the newest.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use parking_lot::RwLock;

use crate::database::DATABASE;

/// Clients choose their catalog queries by this version of PostgreSQL; `pg_catalog` mimics 16.
pub(crate) const SERVER_VERSION: &str = "16.6";
const PG_CATALOG: &str = "pg_catalog";

/// What every session gets.
pub(crate) struct PgCatalog {
    newest: Arc<NewestSession>,
    pg_catalog: Arc<dyn SchemaProvider>,
    /// A session that has all functions, to copy them from.
    template: SessionState,
    functions: Vec<Arc<ScalarUDF>>,
}

impl PgCatalog {
    /// Reads the fixed tables once: they are some megabytes of Arrow files within the program.
    pub(crate) fn new() -> Result<Self, DataFusionError> {
        let newest = Arc::new(NewestSession::default());
        let list = Arc::clone(&newest) as Arc<dyn CatalogProviderList>;
        list.register_catalog(DATABASE.into(), Arc::new(MemoryCatalogProvider::new()));
        let state = SessionStateBuilder::new_with_default_features().with_catalog_list(list).build();
        let template = SessionContext::new_with_state(state);
        setup_pg_catalog(&template, DATABASE, EmptyContextProvider).map_err(|error| *error)?;
        let pg_catalog = template.catalog(DATABASE).and_then(|catalog| catalog.schema(PG_CATALOG));
        let pg_catalog = pg_catalog.ok_or_else(|| DataFusionError::Internal("pg_catalog was not created".into()))?;
        let functions = [("version", version()), ("current_catalog", DATABASE.into())];
        let functions = functions.map(|(name, text)| Arc::new(constant(name, text))).to_vec();
        Ok(Self { newest, pg_catalog, template: template.state(), functions })
    }

    /// Adds to `session` what PostgreSQL's clients ask for. Its tables stay as they are.
    ///
    /// # Errors
    /// When its default catalog accepts no other schema.
    pub(crate) fn register(&self, session: &SessionContext) -> Result<(), DataFusionError> {
        let state = session.state();
        let database = &state.config_options().catalog.default_catalog;
        let catalog = session
            .catalog(database)
            .ok_or_else(|| DataFusionError::Configuration(format!("the session has no catalog {database}")))?;
        catalog.register_schema(PG_CATALOG, Arc::clone(&self.pg_catalog))?;
        self.newest.set(Arc::clone(state.catalog_list()));

        let shared = session.state_ref();
        let builder = SessionStateBuilder::new_from_existing(state).with_type_planner(Arc::new(PgOidTypePlanner));
        let mut extended = builder.build();
        extended.config_mut().options_mut().catalog.information_schema = true;
        *shared.write() = extended;
        self.add_functions(session);
        Ok(())
    }

    /// Releases the last session's tables.
    pub(crate) fn clear(&self) {
        self.newest.set(Arc::new(MemoryCatalogProviderList::new()));
    }

    fn add_functions(&self, session: &SessionContext) {
        let state = session.state();
        let missing = |name: &str| !state.scalar_functions().contains_key(name);
        for (name, function) in self.template.scalar_functions() {
            if missing(name) {
                session.register_udf(function.as_ref().clone());
            }
        }
        for function in &self.functions {
            session.register_udf(function.as_ref().clone());
        }
        // Also those that exist: PostgreSQL's generate_series takes narrower integers than the engine's.
        for (name, function) in self.template.table_functions() {
            session.register_udtf(name, Arc::clone(function.function()));
        }
    }
}

fn version() -> String {
    format!("PostgreSQL {SERVER_VERSION} (turnstile {}, read-only)", env!("CARGO_PKG_VERSION"))
}

/// A function without arguments that always returns the same text.
fn constant(name: &str, text: String) -> ScalarUDF {
    let value = ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)));
    create_udf(name, vec![], DataType::Utf8, Volatility::Stable, Arc::new(move |_| Ok(value.clone())))
}

/// The catalogs of the newest session.
#[derive(Debug)]
struct NewestSession(RwLock<Arc<dyn CatalogProviderList>>);

impl Default for NewestSession {
    fn default() -> Self {
        Self(RwLock::new(Arc::new(MemoryCatalogProviderList::new())))
    }
}

impl NewestSession {
    fn set(&self, list: Arc<dyn CatalogProviderList>) {
        *self.0.write() = list;
    }

    fn get(&self) -> Arc<dyn CatalogProviderList> {
        Arc::clone(&self.0.read())
    }
}

impl CatalogProviderList for NewestSession {
    fn register_catalog(&self, name: String, catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        self.get().register_catalog(name, catalog)
    }

    fn catalog_names(&self) -> Vec<String> {
        self.get().catalog_names()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        self.get().catalog(name)
    }
}
