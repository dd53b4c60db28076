//! One pipeline's warehouse: its sessions, its loads.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::Result as QueryResult;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use turnstile_lake::{Catalog, CatalogPosition, Lake};

use crate::model::ModelKind;
use crate::model::graph::live_name;
use crate::session::{Builder, LEDGER, PUBLIC, Schemas, runtime};
use crate::store::{Snapshot, State, Store};
use crate::tables::{External, History, LedgerTable, ModelTable, WINDOWS_VIEW, live, runs};
use crate::{Limits, LiveRows, Models, Run, Source, WarehouseError};

/// A warehouse over one pipeline's lake. Cloning is cheap.
#[derive(Clone)]
pub struct Warehouse {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) lake: Lake,
    pub(crate) source: Arc<Source>,
    pub(crate) models: Models,
    pub(crate) limits: Limits,
    pub(crate) store: Store,
    pub(crate) runtime: Arc<RuntimeEnv>,
    live: Option<LiveRows>,
    /// The newest moment that was seen: the next one is found from it.
    seen: Mutex<Option<Moment>>,
    /// The tables of the moment that was asked last: until something is published they are those of all sessions.
    tables: Mutex<Option<(At, Schemas)>>,
}

/// What the tables of a session follow from: the files, the ledger's newest slot, the newest load.
type At = (CatalogPosition, u64, u64);

/// The ledger's commit up to which the warehouse of a pipeline has loaded everything; 0 before the first load.
///
/// # Errors
/// `Store`, `Damaged`.
pub async fn loaded_until(lake: &Lake, pipeline: &str) -> Result<u64, WarehouseError> {
    Ok(Store::new(lake, pipeline).newest().await?.ledger_seq)
}

/// One position of the ledger and the record as of then.
#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) catalog: Catalog,
    pub(crate) state: Snapshot,
}

impl Warehouse {
    /// The warehouse of `source`'s pipeline in `lake`. Nothing is read or written yet.
    ///
    /// # Errors
    /// `Query`: the limits cannot be had.
    pub fn new(
        lake: &Lake,
        source: Source,
        models: Models,
        limits: Limits,
        live: Option<LiveRows>,
    ) -> Result<Self, WarehouseError> {
        let store = Store::new(lake, &source.pipeline);
        let runtime = runtime(lake, &limits)?;
        let (lake, source) = (lake.clone(), Arc::new(source));
        let (seen, tables) = (Mutex::new(None), Mutex::new(None));
        Ok(Self { inner: Arc::new(Inner { lake, source, models, limits, store, runtime, live, seen, tables }) })
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// What a question or a load may use.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// The external table.
    pub fn source(&self) -> &Source {
        &self.inner.source
    }

    /// The models.
    pub fn models(&self) -> &Models {
        &self.inner.models
    }

    /// A session whose tables are those of one position of the ledger, the newest. Nothing in it can be changed.
    ///
    /// # Errors
    /// `Empty`: the pipeline has published nothing. `Ledger`, `Store`, `Damaged`.
    pub async fn session(&self) -> Result<SessionContext, WarehouseError> {
        let Inner { runtime, tables, .. } = self.inner();
        let moment = self.moment().await?;
        let at = (moment.catalog.position(), moment.catalog.newest().seq, moment.state.load);
        let known = tables.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, schemas)) = known.filter(|(known, _)| *known == at) {
            return Ok(Builder::over(runtime, schemas)?.finish());
        }
        let builder = Builder::new(runtime)?;
        self.register(&builder, &moment).await?;
        *tables.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, builder.schemas()));
        Ok(builder.finish())
    }

    /// Puts all tables of one moment into `builder`.
    async fn register(&self, builder: &Builder, moment: &Moment) -> Result<(), WarehouseError> {
        self.lake_tables(builder, moment).await?;
        for model in self.inner.models.iter().filter(|model| model.kind != ModelKind::View) {
            // A model that no load has computed yet has no rows and no types: it is not there.
            if let Some(table) = moment.state.tables.get(&model.name) {
                builder.table(PUBLIC, &model.name, Arc::new(ModelTable::new(table)?))?;
            }
        }
        for (name, table) in &moment.state.tables {
            // Tables of models that were taken out of the folder can still be asked.
            if self.inner.models.get(name).is_none() {
                builder.table(PUBLIC, name, Arc::new(ModelTable::new(table)?))?;
            }
        }
        for model in self.inner.models.iter().filter(|model| model.kind == ModelKind::View) {
            // One over a table that is not there yet is not there either.
            if let Err(error) = builder.view(PUBLIC, &model.name, &model.sql).await {
                tracing::debug!(model = model.name, %error, "the view is left out");
            }
        }
        Ok(())
    }

    async fn lake_tables(&self, builder: &Builder, moment: &Moment) -> QueryResult<()> {
        let Inner { lake, source, live: rows, .. } = self.inner();
        let catalog = &moment.catalog;
        builder.table(PUBLIC, &source.table, Arc::new(External::new(lake, source, catalog)))?;
        let history = History::new(lake, source, catalog);
        builder.table(PUBLIC, &format!("{}_history", source.table), Arc::new(history))?;
        // It costs a read only while a commit is being published.
        let slot = catalog.slot(lake).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the slot of the position cannot be read: the open windows cannot be asked");
            None
        });
        let open = live(source, slot, rows.as_ref());
        builder.table(PUBLIC, &live_name(&source.table), Arc::new(open))?;
        builder.table(PUBLIC, "load_runs", Arc::new(runs(&moment.state)))?;
        for (name, table) in LedgerTable::all(lake, &source.pipeline, catalog.position().seq) {
            builder.table(LEDGER, name, Arc::new(table))?;
        }
        builder.view(LEDGER, "windows", WINDOWS_VIEW).await
    }

    /// The newest position of the ledger, with the record.
    pub(crate) async fn moment(&self) -> Result<Moment, WarehouseError> {
        let Inner { lake, source, store, seen, .. } = self.inner();
        let before = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let moment = match before {
            Some(Moment { catalog, state }) => {
                // The record first: what it has loaded is in the ledger, which is read after it.
                let mut newer = State::clone(&state);
                let state = if store.advance(&mut newer).await? { Arc::new(newer) } else { state };
                let catalog = catalog.advance(lake).await?;
                Moment { catalog, state }
            }
            None => {
                let empty = || WarehouseError::Empty { lake: lake.url().to_owned(), pipeline: source.pipeline.clone() };
                let state = Arc::new(store.newest().await?);
                let catalog = Catalog::read(lake, &source.pipeline).await?.ok_or_else(empty)?;
                Moment { catalog, state }
            }
        };
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment.clone());
        Ok(moment)
    }

    /// The newest loads and deliveries, oldest first.
    ///
    /// # Errors
    /// `Store`, `Damaged`.
    pub async fn runs(&self) -> Result<Vec<Run>, WarehouseError> {
        Ok(self.inner.store.newest().await?.runs.into_iter().collect())
    }

    /// The names that a question can ask, as a person writes them.
    ///
    /// # Errors
    /// As [`Warehouse::session`].
    pub fn table_names(session: &SessionContext) -> Vec<String> {
        let mut names = Vec::new();
        for (schema, prefix) in [(PUBLIC, String::new()), (LEDGER, format!("{LEDGER}."))] {
            let tables = session.catalog(crate::session::CATALOG).and_then(|catalog| catalog.schema(schema));
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
