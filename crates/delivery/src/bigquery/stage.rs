//! Loads a change's rows into staging tables.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};
use turnstile_values::human;

use super::api::JobMedia;
use super::error::{ErrorClass, refused};
use super::parts::{ParquetParts, short_hex};
use super::script::Staged;
use super::{BigQueryTarget, OURS, columns};
use crate::change::{TableChange, TargetTable};
use crate::error::TargetError;

/// The largest number of files of one change. A query may read 1,000 tables, a load job 10,000 files.
const MAX_PARTS: usize = 900;
/// The folder of staged files, below the stage's prefix.
const STAGE_FOLDER: &str = "turnstile-stage";

impl BigQueryTarget {
    /// Loads the change's rows into staging tables. The names of files that were written for it are added to `objects`.
    pub(super) async fn stage<'a>(
        &self,
        identity: &str,
        change: &'a TableChange,
        objects: &mut Vec<String>,
    ) -> Result<Staged<'a>, TargetError> {
        let table = &*change.table;
        let unreadable = |source| TargetError::Rows { table: table.name.clone(), source };
        let mut parts = ParquetParts::new(change, self.api.settings.part_bytes).map_err(unreadable)?;
        let mut staged = Staged { change, tables: Vec::new(), rows: 0, bounds: None };
        let (mut urls, mut hashes, mut count) = (Vec::new(), Sha256::new(), 0);
        while let Some(part) = parts.next().await.map_err(unreadable)? {
            count += 1;
            if count > MAX_PARTS {
                let reason = format!("the rows for table {} are more than {MAX_PARTS} files", table.name);
                return Err(refused(&self.display_name(), reason, "raise part_bytes"));
            }
            staged.rows += part.rows;
            match &self.store {
                None => {
                    let name = staging_name(identity, table, &part.hash);
                    self.load(&name, table, None, &JobMedia::Upload(part.bytes)).await?;
                    staged.tables.push(name);
                }
                Some(store) => {
                    // The number keeps two files of equal rows apart.
                    let object = format!("{STAGE_FOLDER}/{identity}/{}/{count:05}-{}.parquet", table.name, part.hash);
                    store.put(&object, part.bytes).await?;
                    urls.push(store.url(&object));
                    hashes.update(&part.hash);
                    objects.push(object);
                }
            }
        }
        if !urls.is_empty() {
            let name = staging_name(identity, table, &short_hex(&hashes.finalize()));
            self.load(&name, table, Some(urls), &JobMedia::None).await?;
            staged.tables.push(name);
        }
        staged.bounds = parts.bounds;
        Ok(staged)
    }

    /// Loads one staging table. It is overwritten as a whole with the content that its name stands for, so that this is
    /// idempotent.
    async fn load(
        &self,
        name: &str,
        table: &TargetTable,
        urls: Option<Vec<String>>,
        media: &JobMedia,
    ) -> Result<(), TargetError> {
        let created = self.create_staging_table(name, table).await?;
        let mut load = json!({
            "destinationTable": self.names.reference(name),
            "sourceFormat": "PARQUET",
            "schema": columns::schema(table, &[]),
            "writeDisposition": "WRITE_TRUNCATE",
            "createDisposition": "CREATE_NEVER",
        });
        if let Some(urls) = urls {
            load["sourceUris"] = json!(urls);
        }
        // A table that expired and was recreated is another table: the job that loaded the first one must not be found.
        let job = format!("{name}_{created}");
        let body = json!({"configuration": {"load": load}});
        self.api.run(&job, &body, media).await.map_err(|error| self.error(error))?;
        Ok(())
    }

    /// Creates a staging table that expires; returns its creation time as BigQuery reports it.
    async fn create_staging_table(&self, name: &str, table: &TargetTable) -> Result<String, TargetError> {
        let lives = Duration::from_secs(u64::from(self.api.settings.stage_hours) * 3_600);
        let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + lives;
        let body = json!({
            "tableReference": self.names.reference(name),
            "schema": columns::schema(table, &[]),
            "expirationTime": until.as_millis().to_string(),
            "description": "Rows of a turnstile delivery in progress; expires by itself.",
        });
        let made = match self.api.call(name, Method::POST, &self.names.tables(), Some(&body)).await {
            Err(error) if error.is(ErrorClass::Exists) => {
                self.api.call(name, Method::GET, &format!("{}/{name}", self.names.tables()), None).await
            }
            other => other,
        };
        let made = made.map_err(|error| self.error(error))?;
        Ok(made["creationTime"].as_str().unwrap_or("0").to_owned())
    }

    /// Removes staging tables and files. What cannot be removed expires (tables) or is removed by the bucket's lifecycle
    /// rule (files).
    pub(super) async fn clean_up(&self, staged: &[Staged<'_>], objects: &[String]) {
        for name in staged.iter().flat_map(|change| &change.tables) {
            let path = format!("{}/{name}", self.names.tables());
            match self.api.call(name, Method::DELETE, &path, None).await {
                Ok(_) => {}
                Err(error) if error.is(ErrorClass::NotFound) => {}
                Err(error) => tracing::warn!(table = %name, ?error, "a staging table remains until it expires"),
            }
        }
        let Some(store) = &self.store else { return };
        for object in objects {
            if let Err(error) = store.delete(object).await {
                tracing::warn!(url = %store.url(object), error = human::error(&error), "a staged file remains");
            }
        }
    }
}

/// `turnstile_stage_DELIVERY_TABLE_CONTENT`.
fn staging_name(identity: &str, table: &TargetTable, content: &str) -> String {
    format!("{OURS}stage_{identity}_{}_{content}", table.name)
}
