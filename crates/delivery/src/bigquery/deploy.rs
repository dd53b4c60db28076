//! Creates what rows need: the dataset, tables, the position's table, the external table.

use std::sync::Arc;

use arrow::datatypes::DataType;
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use super::error::{ErrorClass, refused};
use super::script::create_position;
use super::store::{BucketStore, split};
use super::{BigQueryTarget, ExternalFiles, ExternalTable, OURS, POSITION, columns};
use crate::change::{TableKind, TargetTable};
use crate::error::TargetError;

/// How many columns may cluster a table. Source: BigQuery's "Clustered tables".
const CLUSTER_COLUMNS: usize = 4;

impl BigQueryTarget {
    /// Creates what is missing of the dataset, the tables, the position and the external table, and checks what
    /// exists. Safe to repeat. Returns the names of what it created.
    ///
    /// # Errors
    /// `Refused`: an existing table has other columns (column and both types are named), a permission is missing.
    /// `Unreachable`: retry.
    pub async fn deploy(
        &mut self,
        tables: &[Arc<TargetTable>],
        external: Option<&ExternalTable>,
    ) -> Result<Vec<String>, TargetError> {
        self.checked.clear();
        let mut made = self.ensure(tables).await?;
        if let Some(external) = external {
            self.check_external(external)?;
            self.list_files(external).await?;
            made.extend(self.ensure_external(external).await?);
        }
        Ok(made)
    }

    /// The requests and the SQL by which [`BigQueryTarget::deploy`] creates everything in an empty project. Sends no request.
    ///
    /// # Errors
    /// `Refused`: a table that BigQuery cannot hold.
    pub fn plan(&self, tables: &[Arc<TargetTable>], external: Option<&ExternalTable>) -> Result<String, TargetError> {
        let pretty = |body: &Value| serde_json::to_string_pretty(body).unwrap_or_default();
        let root = format!("POST /bigquery/v2/projects/{}", self.names.project);
        let below = format!("{root}/{}", self.names.tables());
        let mut plan = vec![format!("{root}/datasets\n{}", pretty(&self.dataset_body()))];
        plan.push(format!("{};", create_position(&self.names)));
        for table in tables {
            self.check_table(table)?;
            plan.push(format!("{below}\n{}", pretty(&self.table_body(table))));
        }
        if let Some(external) = external {
            self.check_external(external)?;
            plan.push(format!("{below}\n{}", pretty(&self.external_body(external))));
        }
        Ok(plan.join("\n\n") + "\n")
    }

    /// Writes the list of files that the external table reads from now on; does nothing for one that reads all files.
    /// The list is one object and replaced as a whole: a query sees one version of it.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`: from the bucket.
    pub async fn list_files(&self, external: &ExternalTable) -> Result<(), TargetError> {
        let ExternalFiles::Listed(files) = &external.files else { return Ok(()) };
        let store = BucketStore::open(&self.api.settings, &external.url, &self.tokens)
            .map_err(|error| error.into_refusal(&self.display_name()))?;
        store.put(&external.list_name(), Bytes::from(external.list_text(files))).await
    }

    /// Creates and checks everything but the external table; tables that were checked before are skipped.
    pub(super) async fn ensure(&mut self, tables: &[Arc<TargetTable>]) -> Result<Vec<String>, TargetError> {
        let mut made = Vec::new();
        let known = |table: &TargetTable| self.checked.get(&table.name) == Some(&table.schema);
        if !self.checked.is_empty() && tables.iter().all(|table| known(table)) {
            return Ok(made);
        }
        if self.ensure_dataset().await? {
            made.push(self.names.dataset.clone());
        }
        self.ensure_position().await?;
        for table in tables {
            self.check_table(table)?;
            if self.ensure_table(table).await? {
                made.push(table.name.clone());
            }
            self.checked.insert(table.name.clone(), Arc::clone(&table.schema));
        }
        Ok(made)
    }

    async fn ensure_dataset(&self) -> Result<bool, TargetError> {
        let path = format!("datasets/{}", self.names.dataset);
        match self.api.call("the dataset", Method::GET, &path, None).await {
            Ok(found) => {
                let there = found["location"].as_str().unwrap_or_default();
                let location = &self.api.settings.location;
                if there.eq_ignore_ascii_case(location) {
                    return Ok(false);
                }
                let reason = format!("the dataset is in {there}, but the settings say {location}");
                Err(refused(&self.display_name(), reason, "set location to that of the dataset: jobs run there"))
            }
            Err(error) if error.is(ErrorClass::NotFound) => {
                let made = self.api.call("the dataset", Method::POST, "datasets", Some(&self.dataset_body())).await;
                match made {
                    Err(error) if !error.is(ErrorClass::Exists) => Err(self.error(error)),
                    other => Ok(other.is_ok()),
                }
            }
            Err(error) => Err(self.error(error)),
        }
    }

    async fn ensure_position(&self) -> Result<(), TargetError> {
        let path = format!("{}/{POSITION}", self.names.tables());
        match self.api.call(POSITION, Method::GET, &path, None).await {
            Ok(_) => Ok(()),
            Err(error) if error.is(ErrorClass::NotFound) => {
                let made = self.api.query(POSITION, &create_position(&self.names)).await;
                made.map_err(|error| self.error(error))
            }
            Err(error) => Err(self.error(error)),
        }
    }

    async fn ensure_table(&self, table: &TargetTable) -> Result<bool, TargetError> {
        let body = self.table_body(table);
        let (made, found) = self.create(&table.name, &body).await?;
        self.compare(&table.name, &body["schema"], &found["schema"])?;
        let (want, have) = (&body["timePartitioning"]["field"], &found["timePartitioning"]["field"]);
        if want != have {
            let describe =
                |field: &Value| field.as_str().map_or("no column".to_owned(), |name| format!("column {name}"));
            let reason = format!(
                "table {} should be partitioned by {}, but is partitioned by {}",
                table.name,
                describe(want),
                describe(have)
            );
            return Err(refused(
                &self.display_name(),
                reason,
                "rename the existing table, or deliver to another dataset",
            ));
        }
        Ok(made)
    }

    async fn ensure_external(&self, external: &ExternalTable) -> Result<Option<String>, TargetError> {
        let body = self.external_body(external);
        let (made, found) = self.create(&external.name, &body).await?;
        let (want, have) = (&body["externalDataConfiguration"], &found["externalDataConfiguration"]);
        if found["type"] != "EXTERNAL" && have.is_null() {
            let reason = format!("table {} exists and is not an external table", external.name);
            return Err(refused(&self.display_name(), reason, "rename the existing table"));
        }
        // BigQuery reports the columns in one of two places.
        let columns = if have["schema"].is_null() { &found["schema"] } else { &have["schema"] };
        self.compare(&external.name, &want["schema"], columns)?;
        if !made && (want["sourceUris"] != have["sourceUris"] || want["fileSetSpecType"] != have["fileSetSpecType"]) {
            let path = format!("{}/{}", self.names.tables(), external.name);
            let change = json!({ "externalDataConfiguration": want });
            let changed = self.api.call(&external.name, Method::PATCH, &path, Some(&change)).await;
            changed.map_err(|error| self.error(error))?;
        }
        Ok(made.then(|| external.name.clone()))
    }

    /// Creates a table if it is missing. Returns whether it did, and the table's resource.
    async fn create(&self, name: &str, body: &Value) -> Result<(bool, Value), TargetError> {
        let path = format!("{}/{name}", self.names.tables());
        let found = match self.api.call(name, Method::GET, &path, None).await {
            Err(error) if error.is(ErrorClass::NotFound) => {
                match self.api.call(name, Method::POST, &self.names.tables(), Some(body)).await {
                    Ok(made) => return Ok((true, made)),
                    // Another process created it first.
                    Err(error) if error.is(ErrorClass::Exists) => self.api.call(name, Method::GET, &path, None).await,
                    Err(error) => Err(error),
                }
            }
            other => other,
        };
        Ok((false, found.map_err(|error| self.error(error))?))
    }

    fn compare(&self, table: &str, want: &Value, have: &Value) -> Result<(), TargetError> {
        match columns::difference(want, have) {
            None => Ok(()),
            Some(difference) => {
                let hint = "rename the existing table, or deliver to another dataset";
                Err(refused(&self.display_name(), format!("table {table}: {difference}"), hint))
            }
        }
    }

    fn dataset_body(&self) -> Value {
        json!({
            "datasetReference": {"projectId": self.names.project, "datasetId": self.names.dataset},
            "location": self.api.settings.location,
            "description": "Tables that turnstile loads.",
        })
    }

    fn table_body(&self, table: &TargetTable) -> Value {
        let mut required: Vec<&str> = table.key.iter().map(String::as_str).collect();
        let mut body = json!({
            "tableReference": self.names.reference(&table.name),
            "description": table.description,
        });
        let mut ordered: Vec<&String> = table.key.iter().collect();
        if let TableKind::Incremental { window } = &table.kind {
            required.push(window);
            body["timePartitioning"] = json!({"type": "DAY", "field": window});
            ordered.retain(|key| *key != window);
        }
        ordered.retain(|key| table.schema.field_with_name(key).is_ok_and(|f| !f.data_type().is_floating()));
        ordered.truncate(CLUSTER_COLUMNS);
        if !ordered.is_empty() {
            body["clustering"] = json!({ "fields": ordered });
        }
        body["schema"] = columns::schema(table, &required);
        body
    }

    fn external_body(&self, external: &ExternalTable) -> Value {
        json!({
            "tableReference": self.names.reference(&external.name),
            "description": external.description,
            "externalDataConfiguration": external.configuration(),
        })
    }

    fn check_table(&self, table: &TargetTable) -> Result<(), TargetError> {
        let name = &table.name;
        let refuse = |reason: String| Err(refused(&self.display_name(), reason, "change the model"));
        if !is_name(name) || name.starts_with(OURS) {
            return refuse(format!("{name} is not a valid table name: a-z, 0-9 and _, not starting with {OURS}"));
        }
        for field in table.schema.fields() {
            if columns::type_name(field.data_type()).is_none() {
                let kind = field.data_type();
                return refuse(format!("table {name}, column {}: BigQuery has no type for {kind}", field.name()));
            }
            if !field.name().chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return refuse(format!("table {name}: {} is not a valid column name", field.name()));
            }
        }
        let missing = table.key.iter().find(|key| table.schema.field_with_name(key).is_err());
        if let Some(key) = missing {
            return refuse(format!("table {name} has no column {key}, which its key names"));
        }
        match &table.kind {
            TableKind::Table => Ok(()),
            _ if table.key.is_empty() => refuse(format!("table {name} has no key")),
            TableKind::Incremental { window } => match table.schema.field_with_name(window).map(|f| f.data_type()) {
                Ok(DataType::Timestamp(_, Some(_))) => Ok(()),
                _ => refuse(format!("table {name}: its window, column {window}, is not a timestamp with a time zone")),
            },
            TableKind::Dimension => Ok(()),
        }
    }

    fn check_external(&self, external: &ExternalTable) -> Result<(), TargetError> {
        if !is_name(&external.name) || split(&external.url).is_none() {
            let reason = format!("cannot create an external table {} over {}", external.name, external.url);
            return Err(refused(
                &self.display_name(),
                reason,
                "it reads gs://BUCKET/PREFIX; its name contains only a-z, 0-9 and _",
            ));
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
