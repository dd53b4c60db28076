//! A pipeline's warehouse, opened: source, models, limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use turnstile_engine::StreamPlan;
use turnstile_lake::Lake;
use turnstile_pipeline::{BUILT_IN_MODELS, Pipeline};
use turnstile_warehouse::{BUILT_IN, Models, Warehouse, WarehouseLimits, WarehouseSource};

use super::fault::warehouse_failed;
use super::live::live_rows;
use super::settings::file_format;
use super::spill_folder::spill_space;
use crate::exit::Exit;
use crate::report::Failure;

/// The external table of a pipeline that names none.
const TABLE: &str = "ext_turnstile";

/// Opens the warehouse of a pipeline over its lake; relative paths in it begin at `folder`.
pub(super) fn open_warehouse(
    lake: &Lake,
    pipeline: &Pipeline,
    folder: &Path,
    plan: Arc<StreamPlan>,
) -> anyhow::Result<Warehouse> {
    let source = source(pipeline, &plan)?;
    let models = read_models(pipeline, folder, &source.table)?;
    let live = live_rows(lake, plan, spill_space(&pipeline.stream));
    Warehouse::new(lake, source, models, limits(pipeline), Some(live)).map_err(warehouse_failed)
}

pub(super) fn source(pipeline: &Pipeline, plan: &StreamPlan) -> anyhow::Result<WarehouseSource> {
    let table = pipeline.warehouse.as_ref().map_or(TABLE, |warehouse| &warehouse.table);
    let columns = Arc::clone(plan.output_schema());
    let source = WarehouseSource::new(&pipeline.name, table, columns, file_format(pipeline));
    let source = source.map_err(|e| Failure::new(Exit::Config, "the query's columns cannot form a table").cause(e))?;
    let (start, end) = pipeline.query.window_columns();
    Ok(source.with_window(start, end))
}

pub(super) fn read_models(pipeline: &Pipeline, folder: &Path, external: &str) -> anyhow::Result<Models> {
    let setting = pipeline.warehouse.as_ref().and_then(|warehouse| warehouse.models.as_deref());
    let models = match setting {
        None => return Ok(Models::default()),
        Some(BUILT_IN_MODELS) => Models::parse(BUILT_IN, external),
        Some(models) => Models::read(&folder.join(models), external),
    };
    models.map_err(|error| warehouse_failed(error.into()))
}

/// The folder that a pipeline file's relative paths begin at.
pub(crate) fn folder_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

fn limits(pipeline: &Pipeline) -> WarehouseLimits {
    let usual = WarehouseLimits::default();
    let Some(warehouse) = &pipeline.warehouse else { return usual };
    let timeout = warehouse.statement_timeout_us.map(|us| Duration::from_micros(us as u64));
    WarehouseLimits {
        memory_bytes: warehouse.memory_bytes.map_or(usual.memory_bytes, |bytes| bytes as usize),
        load_rows: warehouse.load_rows.unwrap_or(usual.load_rows),
        statement_timeout: timeout.unwrap_or(usual.statement_timeout),
        ..usual
    }
}
