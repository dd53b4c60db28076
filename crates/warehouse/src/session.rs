//! Sessions: tables under their names, with limits.

use std::sync::Arc;

use datafusion::catalog::CatalogProvider;
use datafusion::catalog::{MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use turnstile_lake::Lake;

use crate::functions::surrogate_key;
use crate::limits::WarehouseLimits;
use crate::scan::DATA;

/// The database's name, which is the catalog's.
pub(crate) const CATALOG: &str = "turnstile";

/// The schema of tables that are named without one.
pub(crate) const PUBLIC: &str = "public";

/// The schema of the ledger's own tables.
pub(crate) const LEDGER: &str = "_turnstile";

/// How many of the largest users of memory an error names.
const LARGEST: usize = 3;

/// What all sessions of one warehouse share: memory, disk, the footers of Parquet files, the store.
pub(crate) fn runtime(lake: &Lake, limits: &WarehouseLimits) -> Result<Arc<RuntimeEnv>> {
    let largest = std::num::NonZeroUsize::new(LARGEST).expect("a constant above zero");
    let pool = TrackConsumersPool::new(FairSpillPool::new(limits.memory_bytes), largest);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_max_temp_directory_size(limits.spill_bytes)
        .with_metadata_cache_limit(limits.footer_bytes)
        .build_arc()?;
    runtime.register_object_store(ObjectStoreUrl::parse(DATA)?.as_ref(), lake.objects());
    Ok(runtime)
}

/// The tables of sessions, by schema. Nothing in them changes once a session is finished: sessions share them.
pub(crate) type SchemaProviders = Vec<(&'static str, Arc<dyn SchemaProvider>)>;

/// A session whose tables are being registered.
pub(crate) struct SessionBuilder {
    session: SessionContext,
    catalog: Arc<MemoryCatalogProvider>,
}

impl SessionBuilder {
    pub(crate) fn new(runtime: &Arc<RuntimeEnv>) -> Result<Self> {
        let empty = |schema| (schema, Arc::new(MemorySchemaProvider::new()) as _);
        Self::over(runtime, [PUBLIC, LEDGER].map(empty).to_vec())
    }

    /// A session with the tables of another. What is registered later in its catalog is its alone.
    pub(crate) fn over(runtime: &Arc<RuntimeEnv>, schemas: SchemaProviders) -> Result<Self> {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, PUBLIC)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        config.options_mut().sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        config.options_mut().execution.parquet.pushdown_filters = true;
        let session = SessionContext::new_with_config_rt(config, runtime.clone());
        session.register_udf(surrogate_key());
        let catalog = Arc::new(MemoryCatalogProvider::new());
        for (name, schema) in schemas {
            catalog.register_schema(name, schema)?;
        }
        session.register_catalog(CATALOG, catalog.clone());
        Ok(Self { session, catalog })
    }

    pub(crate) fn table(&self, schema: &str, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        if let Some(schema) = self.catalog.schema(schema) {
            schema.register_table(name.to_owned(), table)?;
        }
        Ok(())
    }

    /// The same for a name that may exist already.
    pub(crate) fn replace(&self, schema: &str, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        if let Some(schema) = self.catalog.schema(schema) {
            schema.deregister_table(name)?;
        }
        self.table(schema, name, table)
    }

    /// The table of that name in the schema `public`.
    pub(crate) async fn provider(&self, name: &str) -> Result<Arc<dyn TableProvider>> {
        let missing = || DataFusionError::Plan(format!("table '{name}' not found"));
        let schema = self.catalog.schema(PUBLIC).ok_or_else(missing)?;
        schema.table(name).await?.ok_or_else(missing)
    }

    /// A view over tables that exist already.
    pub(crate) async fn view(&self, schema: &str, name: &str, sql: &str) -> Result<()> {
        let plan = plan(&self.session, sql).await?;
        self.table(schema, name, Arc::new(ViewTable::new(plan, Some(sql.to_owned()))))
    }

    pub(crate) fn session(&self) -> &SessionContext {
        &self.session
    }

    /// The tables so far.
    pub(crate) fn schemas(&self) -> SchemaProviders {
        [PUBLIC, LEDGER].into_iter().filter_map(|name| Some((name, self.catalog.schema(name)?))).collect()
    }

    pub(crate) fn finish(self) -> SessionContext {
        self.session
    }
}

/// The plan of one query, which changes nothing.
pub(crate) async fn plan(session: &SessionContext, sql: &str) -> Result<datafusion::logical_expr::LogicalPlan> {
    let plan = session.state().create_logical_plan(sql).await?;
    read_only().verify_plan(&plan)?;
    Ok(plan)
}

/// What a query may be.
fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}
