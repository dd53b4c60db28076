//! One pipeline's warehouse: its sessions, its loads.

use std::fmt;
use std::sync::Arc;

use datafusion::error::Result as DataFusionResult;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use parking_lot::Mutex;
use turnstile_lake::{Catalog, CatalogPosition, Lake};
use turnstile_values::human;

use crate::error::WarehouseError;
use crate::limits::WarehouseLimits;
use crate::model::{ModelKind, Models};
use crate::session::{CATALOG, LEDGER, PUBLIC, SchemaProviders, SessionBuilder, runtime};
use crate::source::{LiveRows, WarehouseSource};
use crate::store::{LoadRecord, LoadRun, WarehouseState};
use crate::tables::{HistoryTable, LakeTable, LedgerTable, ModelTable, OnePosition, WINDOWS_VIEW, live, runs};

/// A warehouse over one pipeline's lake. Cloning is cheap.
#[derive(Clone)]
pub struct Warehouse {
    inner: Arc<WarehouseInner>,
}

pub(crate) struct WarehouseInner {
    pub(crate) lake: Lake,
    pub(crate) source: Arc<WarehouseSource>,
    pub(crate) models: Models,
    pub(crate) limits: WarehouseLimits,
    pub(crate) record: LoadRecord,
    pub(crate) runtime: Arc<RuntimeEnv>,
    live: Option<LiveRows>,
    /// The record and the ledger as they were read last: the next reading goes on from there.
    state: Mutex<Option<Arc<WarehouseState>>>,
    catalog: Mutex<Option<Catalog>>,
    /// The tables of the newest session: until something is published all sessions share them.
    tables: Mutex<Option<(SessionKey, SchemaProviders)>>,
}

/// What decides the tables of a session: the files, the ledger's newest slot, the newest load.
type SessionKey = (CatalogPosition, u64, u64);

/// The ledger's commit up to which the warehouse of a pipeline has loaded everything; 0 before the first load.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn loaded_until(lake: &Lake, pipeline: &str) -> Result<u64, WarehouseError> {
    Ok(LoadRecord::new(lake, pipeline).newest().await?.ledger_seq)
}

/// One position of the ledger and the record as of then.
#[derive(Clone)]
pub(crate) struct WarehouseSnapshot {
    pub(crate) catalog: Catalog,
    pub(crate) state: Arc<WarehouseState>,
}

impl Warehouse {
    /// The warehouse of `source`'s pipeline in `lake`. Nothing is read or written yet.
    ///
    /// # Errors
    /// `Query`: the limits cannot be applied.
    pub fn new(
        lake: &Lake,
        source: WarehouseSource,
        models: Models,
        limits: WarehouseLimits,
        live: Option<LiveRows>,
    ) -> Result<Self, WarehouseError> {
        let record = LoadRecord::new(lake, &source.pipeline);
        let runtime = runtime(lake, &limits)?;
        let (lake, source) = (lake.clone(), Arc::new(source));
        let (state, catalog, tables) = Default::default();
        let inner = WarehouseInner { lake, source, models, limits, record, runtime, live, state, catalog, tables };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn inner(&self) -> &WarehouseInner {
        &self.inner
    }

    /// What a query or a load may use.
    pub fn limits(&self) -> &WarehouseLimits {
        &self.inner.limits
    }

    /// The external table.
    pub fn source(&self) -> &WarehouseSource {
        &self.inner.source
    }

    /// The models.
    pub fn models(&self) -> &Models {
        &self.inner.models
    }

    /// A session whose tables are those of one position of the ledger, the newest. Nothing in it can be changed. A
    /// statement that also reads models' tables reads the lake as of the commit that they were loaded from.
    ///
    /// # Errors
    /// `Empty`: the pipeline has published nothing. `Ledger`, `Store`, `Damaged`.
    pub async fn session(&self) -> Result<SessionContext, WarehouseError> {
        let WarehouseInner { runtime, tables, .. } = self.inner();
        let snapshot = self.snapshot().await?;
        let at = (snapshot.catalog.position(), snapshot.catalog.newest().seq, snapshot.state.load);
        let known = tables.lock().clone();
        let builder = match known.filter(|(known, _)| *known == at) {
            Some((_, schemas)) => SessionBuilder::over(runtime, schemas)?,
            None => {
                let builder = SessionBuilder::new(runtime)?;
                self.register(&builder, &snapshot).await?;
                *tables.lock() = Some((at, builder.schemas()));
                builder
            }
        };
        let session = builder.finish();
        session.add_analyzer_rule(Arc::new(OnePosition));
        Ok(session)
    }

    /// Registers all tables of one snapshot.
    async fn register(&self, builder: &SessionBuilder, snapshot: &WarehouseSnapshot) -> Result<(), WarehouseError> {
        self.lake_tables(builder, snapshot).await?;
        for model in self.inner.models.iter().filter(|model| model.kind != ModelKind::View) {
            // A model that no load has computed yet has neither rows nor types: its table does not exist.
            if let Some(table) = snapshot.state.tables.get(&model.name) {
                builder.table(PUBLIC, &model.name, Arc::new(ModelTable::new(table)?))?;
            }
        }
        for (name, table) in &snapshot.state.tables {
            // Tables of models that were removed from the folder can still be queried.
            if self.inner.models.get(name).is_none() {
                builder.table(PUBLIC, name, Arc::new(ModelTable::new(table)?))?;
            }
        }
        for model in self.inner.models.iter().filter(|model| model.kind == ModelKind::View) {
            // A view over a table that does not exist yet does not exist either.
            if let Err(error) = builder.view(PUBLIC, &model.name, &model.sql).await {
                tracing::debug!(model = model.name, error = human::error(&error), "the view is left out");
            }
        }
        Ok(())
    }

    async fn lake_tables(&self, builder: &SessionBuilder, snapshot: &WarehouseSnapshot) -> DataFusionResult<()> {
        let WarehouseInner { lake, source, live: rows, .. } = self.inner();
        let (catalog, loaded) = (&snapshot.catalog, snapshot.state.ledger_seq);
        builder.table(PUBLIC, &source.table, Arc::new(LakeTable::new(lake, source, catalog, loaded)))?;
        let history = HistoryTable::new(lake, source, catalog, loaded);
        builder.table(PUBLIC, &source.history_table(), Arc::new(history))?;
        // This reads from the store only while a commit is being published.
        let slot = catalog.slot(lake).await.unwrap_or_else(|error| {
            tracing::warn!(
                error = human::error(&error),
                "the slot of the position cannot be read: the open windows cannot be queried"
            );
            None
        });
        let open = live(source, slot, rows.as_ref());
        builder.table(PUBLIC, &source.live_table(), Arc::new(open))?;
        builder.table(PUBLIC, "load_runs", Arc::new(runs(&snapshot.state)))?;
        for (name, table) in LedgerTable::all(lake, &source.pipeline, catalog.position().seq) {
            builder.table(LEDGER, name, Arc::new(table))?;
        }
        builder.view(LEDGER, "windows", WINDOWS_VIEW).await
    }

    /// The newest position of the ledger, with the record.
    pub(crate) async fn snapshot(&self) -> Result<WarehouseSnapshot, WarehouseError> {
        let WarehouseInner { lake, source, catalog: known, .. } = self.inner();
        // The record is read first: what it has loaded is in the ledger, which is read after it.
        let state = self.state().await?;
        let before = known.lock().clone();
        let catalog = match before {
            Some(catalog) => catalog.advance(lake).await?,
            None => {
                let empty = || WarehouseError::Empty { lake: lake.url().to_owned(), pipeline: source.pipeline.clone() };
                Catalog::read(lake, &source.pipeline).await?.ok_or_else(empty)?
            }
        };
        *known.lock() = Some(catalog.clone());
        Ok(WarehouseSnapshot { catalog, state })
    }

    /// The record as of its newest entry.
    async fn state(&self) -> Result<Arc<WarehouseState>, WarehouseError> {
        let WarehouseInner { record, state: known, .. } = self.inner();
        let before = known.lock().clone();
        let state = match before {
            Some(state) => {
                let mut newer = WarehouseState::clone(&state);
                if record.advance(&mut newer).await? { Arc::new(newer) } else { state }
            }
            None => Arc::new(record.newest().await?),
        };
        *known.lock() = Some(state.clone());
        Ok(state)
    }

    /// The newest loads and deliveries, oldest first.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn runs(&self) -> Result<Vec<LoadRun>, WarehouseError> {
        Ok(self.state().await?.runs.iter().cloned().collect())
    }

    /// The names of the tables that a query can read, as a person writes them.
    ///
    /// # Errors
    /// As [`Warehouse::session`].
    pub fn table_names(session: &SessionContext) -> Vec<String> {
        let mut names = Vec::new();
        for (schema, prefix) in [(PUBLIC, String::new()), (LEDGER, format!("{LEDGER}."))] {
            let tables = session.catalog(CATALOG).and_then(|catalog| catalog.schema(schema));
            let tables = tables.map(|schema| schema.table_names()).unwrap_or_default();
            names.extend(tables.into_iter().map(|table| format!("{prefix}{table}")));
        }
        names.sort();
        names
    }
}

impl fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the warehouse of {}", self.inner.source.pipeline)
    }
}
