//! What BigQuery needs besides loads: its tables, and which of the files in the lake are current.

use std::sync::Arc;

use turnstile_delivery::bigquery::{ExternalFiles, ExternalFormat, ExternalTable};
use turnstile_pipeline::{FileFormat, Pipeline};
use turnstile_warehouse::Warehouse;

use super::context::Context;
use super::fault::warehouse_failed;
use super::targets::target_failed;
use crate::exit::Exit;
use crate::report::Failure;

/// Creates dataset, external table and tables in BigQuery, or says how with `dry_run`. One line for each that was created.
pub(crate) async fn deploy_bigquery(context: &Context, dry_run: bool) -> anyhow::Result<Vec<String>> {
    let pipeline = context.pipeline();
    let missing = || {
        Failure::new(Exit::Config, format!("pipeline {:?} has no [warehouse.bigquery]", pipeline.name))
            .hint("add it with project and dataset: docs/warehouse-bigquery.md")
    };
    let settings = pipeline.warehouse.as_ref().ok_or_else(missing)?;
    let target = context.targets()?.bigquery.as_ref().ok_or_else(missing)?;
    let warehouse = context.warehouse().await?;
    let tables = warehouse.tables().await.map_err(warehouse_failed)?;
    let external = external(pipeline, &settings.table, warehouse).await?;
    let mut target = target.lock().await;
    if dry_run {
        return Ok(vec![target.plan(&tables, external.as_ref()).map_err(target_failed)?]);
    }
    target.deploy(&tables, external.as_ref()).await.map_err(target_failed)
}

/// Tells BigQuery's external table which of the lake's files are current, where the pipeline has one.
pub(crate) async fn list_for_bigquery(context: &Context) -> anyhow::Result<()> {
    let Some(settings) = &context.pipeline().warehouse else { return Ok(()) };
    let Some(target) = &context.targets()?.bigquery else { return Ok(()) };
    let external = external(context.pipeline(), &settings.table, context.warehouse().await?).await?;
    let Some(external) = external else { return Ok(()) };
    target.lock().await.list_files(&external).await.map_err(target_failed)
}

/// A table over the files as they are. A lake elsewhere cannot be read from there: only the models' tables are created.
async fn external(pipeline: &Pipeline, name: &str, warehouse: &Warehouse) -> anyhow::Result<Option<ExternalTable>> {
    if !pipeline.lake.url.starts_with("gs://") {
        return Ok(None);
    }
    let files = warehouse.current_files().await.map_err(warehouse_failed)?;
    Ok(Some(ExternalTable {
        name: name.to_lowercase(),
        description: format!("The current files of pipeline {}", pipeline.name),
        url: pipeline.lake.url.clone(),
        format: match pipeline.lake.format {
            FileFormat::CsvGz => ExternalFormat::CsvGz,
            FileFormat::Parquet => ExternalFormat::Parquet,
        },
        schema: Arc::clone(&warehouse.source().files),
        index_column: pipeline.lake.index_column,
        files: ExternalFiles::Listed(files),
    }))
}
