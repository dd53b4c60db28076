//! The databases beside the embedded warehouse that a pipeline's tables go to.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Mutex;
use turnstile_delivery::bigquery::{BigQuerySettings, BigQueryTarget, ExternalFiles, ExternalFormat, ExternalTable};
use turnstile_delivery::postgres::{PostgresSettings, PostgresTarget};
use turnstile_delivery::{Target, TargetError};
use turnstile_pipeline::{FileFormat, Pipeline, Properties};
use turnstile_warehouse::Warehouse;

use super::context::Context;
use super::fault::warehouse_failed;
use crate::exit::Exit;
use crate::report::Failure;

/// The targets that a pipeline names, open. Whoever speaks with one has it for that time.
pub(crate) struct Targets {
    postgres: Option<Mutex<PostgresTarget>>,
    bigquery: Option<Mutex<BigQueryTarget>>,
}

impl Targets {
    /// Opens the targets of `pipeline`. Nothing is asked of them yet.
    pub(crate) fn open(pipeline: &Pipeline) -> anyhow::Result<Self> {
        let settings = pipeline.warehouse.as_ref();
        let postgres = settings.and_then(|settings| settings.postgres.as_ref()).map(open_postgres).transpose()?;
        let bigquery = settings.and_then(|settings| settings.bigquery.as_ref()).map(open_bigquery).transpose()?;
        Ok(Self { postgres: postgres.map(Mutex::new), bigquery: bigquery.map(Mutex::new) })
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mutex<dyn Target>> {
        let postgres = self.postgres.as_ref().map(|target| target as &Mutex<dyn Target>);
        postgres.into_iter().chain(self.bigquery.as_ref().map(|target| target as &Mutex<dyn Target>))
    }
}

fn open_postgres(settings: &Properties) -> anyhow::Result<PostgresTarget> {
    let settings = PostgresSettings::from_pairs(settings.iter(), |name| std::env::var(name).ok());
    let settings = settings.map_err(|error| {
        Failure::new(Exit::Config, format!("[warehouse.postgres] {}: {}", error.key, error.reason)).hint(error.hint)
    })?;
    Ok(PostgresTarget::new(settings))
}

fn open_bigquery(settings: &Properties) -> anyhow::Result<BigQueryTarget> {
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

/// A target did not take a delivery.
pub(crate) fn target_failed(error: TargetError) -> anyhow::Error {
    let (exit, hint) = match &error {
        TargetError::Unreachable { .. } => {
            (Exit::Failed, "the next load tries again; the stream and the other tables go on".to_owned())
        }
        TargetError::Refused { hint, .. } => (Exit::Config, hint.clone()),
        TargetError::Moved { .. } => (Exit::Fenced, "load again".to_owned()),
        TargetError::Rows { .. } => (Exit::Lake, "nothing was changed there; load again".to_owned()),
    };
    Failure::of(exit, error).hint(hint).into()
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
