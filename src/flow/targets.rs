//! The databases beside the embedded warehouse that a pipeline's tables go to.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use serde_json::{Map, Value};
use turnstile_delivery::bigquery::{BigQuerySettings, BigQueryTarget, ExternalFiles, ExternalFormat, ExternalTable};
use turnstile_delivery::postgres::{PostgresSettings, PostgresTarget};
use turnstile_delivery::{Table, Target, TargetError};
use turnstile_pipeline::{FileFormat, Pipeline, Properties};
use turnstile_warehouse::Warehouse;

use super::warehouse::warehouse_failed;
use crate::exit::Exit;
use crate::report::Failure;

/// Opens the targets that the pipeline names. Nothing is asked of them yet.
pub(crate) fn open_targets(pipeline: &Pipeline) -> anyhow::Result<Vec<Box<dyn Target>>> {
    let Some(warehouse) = &pipeline.warehouse else { return Ok(Vec::new()) };
    let mut targets: Vec<Box<dyn Target>> = Vec::new();
    if let Some(settings) = &warehouse.postgres {
        targets.push(Box::new(open_postgres(settings)?));
    }
    if let Some(settings) = &warehouse.bigquery {
        targets.push(Box::new(open_bigquery(settings)?));
    }
    Ok(targets)
}

fn open_postgres(settings: &Properties) -> anyhow::Result<PostgresTarget> {
    let settings = PostgresSettings::from_pairs(settings.iter(), |name| std::env::var(name).ok());
    let settings = settings.map_err(|error| {
        Failure::new(Exit::Config, format!("[warehouse.postgres] {}: {}", error.key, error.reason)).hint(error.hint)
    })?;
    Ok(PostgresTarget::new(settings))
}

/// Opens BigQuery with the keys of `[warehouse.bigquery]`.
pub(crate) fn open_bigquery(settings: &Properties) -> anyhow::Result<BigQueryTarget> {
    BigQueryTarget::new(bigquery_settings(settings)?).map_err(target_failed)
}

/// Who asks, in the forms that the key `credentials` takes.
const CREDENTIALS: &str = "\"default\", \"none\", { file = \"key.json\" }, { json = \"…\" } or \
                           { prefect_block = \"gcp-credentials/NAME\" }";

fn bigquery_settings(settings: &Properties) -> anyhow::Result<BigQuerySettings> {
    let mut keys = Map::new();
    for (key, value) in settings.iter() {
        if key == "credentials" && !["default", "none"].contains(&value.as_str()) {
            // What stands there may well be a key: it is not repeated.
            let fact = "[warehouse.bigquery] credentials is a text, and none of the two that it can be";
            return Err(Failure::new(Exit::Config, fact).hint(format!("write {CREDENTIALS}")).into());
        }
        let value = match value.parse::<u64>() {
            Ok(number) if BigQuerySettings::NUMBERS.contains(&key.as_str()) => Value::from(number),
            _ => Value::from(value.as_str()),
        };
        match key.split_once('.') {
            Some((outer, inner)) => {
                let table = keys.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(table) = table {
                    table.insert(inner.to_owned(), value);
                }
            }
            None => drop(keys.insert(key.clone(), value)),
        }
    }
    serde_json::from_value(Value::Object(keys)).map_err(|error| {
        Failure::new(Exit::Config, format!("[warehouse.bigquery] {error}"))
            .hint("its keys are in docs/warehouse-bigquery.md")
            .into()
    })
}

/// Creates dataset, external table and tables in BigQuery, or says how with `dry_run`. One line for each that was made.
pub(crate) async fn deploy_bigquery(
    pipeline: &Pipeline,
    tables: &[Arc<Table>],
    columns: SchemaRef,
    files: Vec<String>,
    dry_run: bool,
) -> anyhow::Result<Vec<String>> {
    let settings = pipeline.warehouse.as_ref().and_then(|warehouse| Some((warehouse, warehouse.bigquery.as_ref()?)));
    let (warehouse, settings) = settings.ok_or_else(|| {
        Failure::new(Exit::Config, format!("pipeline {:?} has no [warehouse.bigquery]", pipeline.name))
            .hint("add it with project and dataset: docs/warehouse-bigquery.md")
    })?;
    let mut target = open_bigquery(settings)?;
    let external = external(pipeline, &warehouse.table, columns, files);
    if dry_run {
        return Ok(vec![target.plan(tables, external.as_ref()).map_err(target_failed)?]);
    }
    target.deploy(tables, external.as_ref()).await.map_err(target_failed)
}

/// Tells BigQuery's external table which of the lake's files are current, where the pipeline has one.
pub(crate) async fn list_for_bigquery(pipeline: &Pipeline, warehouse: &Warehouse) -> anyhow::Result<()> {
    let Some(settings) = &pipeline.warehouse else { return Ok(()) };
    let Some(bigquery) = &settings.bigquery else { return Ok(()) };
    let files = warehouse.current_files().await.map_err(warehouse_failed)?;
    let columns = Arc::clone(&warehouse.source().files);
    let Some(external) = external(pipeline, &settings.table, columns, files) else { return Ok(()) };
    open_bigquery(bigquery)?.list_files(&external).await.map_err(target_failed)
}

/// A table over the files as they are. A lake elsewhere cannot be read from there: only the models' tables are made.
fn external(pipeline: &Pipeline, name: &str, schema: SchemaRef, files: Vec<String>) -> Option<ExternalTable> {
    pipeline.lake.url.starts_with("gs://").then(|| ExternalTable {
        name: name.to_lowercase(),
        description: format!("The current files of pipeline {}", pipeline.name),
        url: pipeline.lake.url.clone(),
        format: match pipeline.lake.format {
            FileFormat::CsvGz => ExternalFormat::CsvGz,
            FileFormat::Parquet => ExternalFormat::Parquet,
        },
        schema,
        index_column: pipeline.lake.index_column,
        files: ExternalFiles::Listed(files),
    })
}

/// A target did not take a delivery.
pub(crate) fn target_failed(error: TargetError) -> anyhow::Error {
    let fact = error.to_string();
    let (exit, hint) = match &error {
        TargetError::Unreachable { .. } => {
            (Exit::Failed, "the next load tries again; the stream and the other tables go on".to_owned())
        }
        TargetError::Refused { hint, .. } => (Exit::Config, hint.clone()),
        TargetError::Moved { .. } => (Exit::Fenced, "load again".to_owned()),
        TargetError::Rows { .. } => (Exit::Lake, "nothing was changed there; load again".to_owned()),
    };
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let failure = Failure::new(exit, fact).hint(hint);
    match cause {
        Some(cause) => failure.cause(anyhow::anyhow!(cause)).into(),
        None => failure.into(),
    }
}

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &TargetError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> anyhow::Result<BigQuerySettings> {
        let all = [("project", "p"), ("dataset", "d")].iter().chain(pairs);
        let all = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        bigquery_settings(&Properties::from(all.collect::<std::collections::BTreeMap<_, _>>()))
    }

    #[test]
    fn a_key_where_a_word_belongs_is_not_repeated() {
        let error = format!("{:?}", read(&[("credentials", "{\"private_key\": \"hunter2\"}")]).unwrap_err());
        assert!(error.contains("credentials") && !error.contains("hunter2"), "{error}");
        assert!(read(&[("credentials", "none")]).is_ok());
        let json = read(&[("credentials.json", "{}")]).unwrap();
        assert!(format!("{json:?}").contains("Json(secret)"));
    }

    #[test]
    fn digits_are_a_number_where_one_belongs_and_else_a_name() {
        let settings = read(&[("project", "123456"), ("dataset", "2026"), ("job_secs", "5")]).unwrap();
        assert_eq!((&*settings.project, &*settings.dataset, settings.job_secs), ("123456", "2026", 5));
    }
}
