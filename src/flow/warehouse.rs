//! A pipeline's warehouse, opened: source, models, limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use turnstile_engine::Plan;
use turnstile_lake::Lake;
use turnstile_pipeline::{BUILT_IN_MODELS, Pipeline};
use turnstile_warehouse::{BUILT_IN, Limits, Models, Source, Warehouse, WarehouseError};

use super::fault::{engine_failed, lake_failed};
use super::live::live_rows;
use super::start::{file_format, store_options};
use crate::exit::Exit;
use crate::report::Failure;

/// The external table of a pipeline that names none.
const TABLE: &str = "ext_turnstile";

/// Opens the warehouse of `pipeline`, whose file lies in `folder`, to ask it: nothing is created.
pub(crate) async fn open_to_ask(pipeline: &Pipeline, folder: &Path) -> anyhow::Result<Warehouse> {
    let lake = Lake::open_for_reading(&pipeline.lake.url, &store_options(pipeline)).await.map_err(lake_failed)?;
    open(pipeline, folder, &lake)
}

/// Opens the warehouse of `pipeline`, whose file lies in `folder`, to load it.
pub(crate) async fn open_to_load(pipeline: &Pipeline, folder: &Path) -> anyhow::Result<Warehouse> {
    let lake = Lake::open(&pipeline.lake.url, &store_options(pipeline)).await.map_err(lake_failed)?;
    open(pipeline, folder, &lake)
}

fn open(pipeline: &Pipeline, folder: &Path, lake: &Lake) -> anyhow::Result<Warehouse> {
    let plan = Arc::new(Plan::new(pipeline).map_err(engine_failed)?);
    let source = source(pipeline, &plan)?;
    let models = models(pipeline, folder, &source.table)?;
    let live = live_rows(lake, plan);
    Warehouse::new(lake, source, models, limits(pipeline), Some(live)).map_err(warehouse_failed)
}

fn source(pipeline: &Pipeline, plan: &Plan) -> anyhow::Result<Source> {
    let table = pipeline.warehouse.as_ref().map_or(TABLE, |warehouse| &warehouse.table);
    let columns = Arc::clone(plan.output_schema());
    let source = Source::new(&pipeline.name, table, columns, file_format(pipeline));
    let source = source.map_err(|e| Failure::new(Exit::Config, "the query's columns make no table").cause(e))?;
    let (start, end) = pipeline.query.window_columns();
    Ok(source.with_window(start, end))
}

/// Whether the models of a pipeline are right, as far as their files tell.
pub(crate) fn check_models(pipeline: &Pipeline, folder: &Path) -> anyhow::Result<()> {
    let plan = Plan::new(pipeline).map_err(engine_failed)?;
    models(pipeline, folder, &source(pipeline, &plan)?.table).map(drop)
}

/// The models of a pipeline, or why they are wrong.
pub(crate) fn models(pipeline: &Pipeline, folder: &Path, external: &str) -> anyhow::Result<Models> {
    let setting = pipeline.warehouse.as_ref().and_then(|warehouse| warehouse.models.as_deref());
    let models = match setting {
        None => return Ok(Models::default()),
        Some(BUILT_IN_MODELS) => Models::parse(BUILT_IN, external),
        Some(models) => Models::read(&folder.join(models), external),
    };
    models.map_err(|error| warehouse_failed(error.into()))
}

/// Plans the models of a pipeline over its columns, without reading a row: whether a load can compute them.
pub(crate) async fn plan_models(pipeline: &Pipeline, models: &Models) -> anyhow::Result<()> {
    let plan = Plan::new(pipeline).map_err(engine_failed)?;
    let source = source(pipeline, &plan)?;
    models.plan(&source).await.map(drop).map_err(|error| warehouse_failed(error.into()))
}

/// The folder that a pipeline file's relative paths begin at.
pub(crate) fn folder_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

fn limits(pipeline: &Pipeline) -> Limits {
    let usual = Limits::default();
    let Some(warehouse) = &pipeline.warehouse else { return usual };
    let timeout = warehouse.statement_timeout_us.map(|us| Duration::from_micros(us as u64));
    Limits {
        memory_bytes: warehouse.memory_bytes.map_or(usual.memory_bytes, |bytes| bytes as usize),
        load_rows: warehouse.load_rows.unwrap_or(usual.load_rows),
        statement_timeout: timeout.unwrap_or(usual.statement_timeout),
        ..usual
    }
}

/// The warehouse refused or failed.
pub(crate) fn warehouse_failed(error: WarehouseError) -> anyhow::Error {
    let fact = error.to_string();
    let (exit, hint): (Exit, String) = match &error {
        WarehouseError::Empty { .. } => {
            (Exit::Lake, "wait for the first window to close, or see `turnstile status`".to_owned())
        }
        WarehouseError::Store(_) => (Exit::Lake, "nothing was changed; the next load goes on from there".to_owned()),
        WarehouseError::Ledger(_) => (Exit::Ledger, "`turnstile audit` says more; nothing was loaded".to_owned()),
        WarehouseError::File { .. } => (
            Exit::Lake,
            "`turnstile audit` lists every file that is not as the ledger says; nothing was loaded".to_owned(),
        ),
        WarehouseError::Damaged { .. } => {
            (Exit::Lake, "docs/warehouse.md, \"Starting over\", says how to load everything anew".to_owned())
        }
        WarehouseError::Model(error) => (Exit::Config, error.hint.clone()),
        WarehouseError::Compute { .. } => (Exit::Failed, "correct the model; nothing was loaded".to_owned()),
        WarehouseError::Tests { .. } => {
            (Exit::Difference, "nothing was loaded: the tables are as they were before; see load_runs".to_owned())
        }
        WarehouseError::Moved => (Exit::Fenced, "load again".to_owned()),
        WarehouseError::Changed { models } => (
            Exit::Config,
            format!("make its table anew with `turnstile models run --full-refresh {}`", models.join(" ")),
        ),
        WarehouseError::Query(_) => (Exit::Failed, "`\\d` in `turnstile sql` lists tables and columns".to_owned()),
    };
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let failure = Failure::new(exit, fact).hint(hint);
    match cause {
        Some(cause) => failure.cause(anyhow::anyhow!(cause)).into(),
        None => failure.into(),
    }
}
