//! A change's rows in staging tables, by load jobs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::api::Feed;
use super::fault::{Sort, refused};
use super::parts::{Parts, hex};
use super::script::Staged;
use super::{BigQueryTarget, OURS, columns};
use crate::{Table, TableChange, TargetError};

/// Most files that one change may have. A query reads 1,000 tables at the most, a load job 10,000 files.
const PARTS: usize = 900;
/// The folder of staged files, below the stage's prefix.
const FOLDER: &str = "turnstile-stage";

impl BigQueryTarget {
    /// Brings the change's rows into staging tables. `objects` takes the names of files that were written for it.
    pub(super) async fn stage<'a>(
        &self,
        identity: &str,
        change: &'a TableChange,
        objects: &mut Vec<String>,
    ) -> Result<Staged<'a>, TargetError> {
        let table = &*change.table;
        let unreadable = |source| TargetError::Rows { table: table.name.clone(), source };
        let mut parts = Parts::new(change, self.api.settings.part_bytes).map_err(unreadable)?;
        let mut staged = Staged { change, tables: Vec::new(), rows: 0, bounds: None };
        let (mut urls, mut hashes, mut count) = (Vec::new(), Sha256::new(), 0);
        while let Some(part) = parts.next().await.map_err(unreadable)? {
            count += 1;
            if count > PARTS {
                let reason = format!("the rows for table {} are more than {PARTS} files", table.name);
                return Err(refused(&self.title(), reason, "raise part_bytes"));
            }
            staged.rows += part.rows;
            match &self.store {
                None => {
                    let name = staging_name(identity, table, &part.hash);
                    self.load(&name, table, None, &Feed::Upload(part.bytes)).await?;
                    staged.tables.push(name);
                }
                Some(store) => {
                    // The number keeps two files of equal rows apart.
                    let object = format!("{FOLDER}/{identity}/{}/{count:05}-{}.parquet", table.name, part.hash);
                    store.put(&object, part.bytes).await?;
                    urls.push(store.url(&object));
                    hashes.update(&part.hash);
                    objects.push(object);
                }
            }
        }
        if !urls.is_empty() {
            let name = staging_name(identity, table, &hex(&hashes.finalize()));
            self.load(&name, table, Some(urls), &Feed::Nothing).await?;
            staged.tables.push(name);
        }
        staged.bounds = parts.bounds;
        Ok(staged)
    }

    /// Fills one staging table. It is overwritten as a whole with what its name stands for, so that it does not matter
    /// how often this is done.
    async fn load(&self, name: &str, table: &Table, urls: Option<Vec<String>>, feed: &Feed) -> Result<(), TargetError> {
        let made = self.make_staging(name, table).await?;
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
        // A table that expired and was made again is another one: the job that filled the first is not found for it.
        let job = format!("{name}_{made}");
        let body = json!({"configuration": {"load": load}});
        self.api.run(&job, &body, feed).await.map_err(|error| self.error(error))?;
        Ok(())
    }

    /// Makes a staging table that removes itself; returns when it was made, as BigQuery counts.
    async fn make_staging(&self, name: &str, table: &Table) -> Result<String, TargetError> {
        let lives = Duration::from_secs(u64::from(self.api.settings.stage_hours) * 3_600);
        let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + lives;
        let body = json!({
            "tableReference": self.names.reference(name),
            "schema": columns::schema(table, &[]),
            "expirationTime": until.as_millis().to_string(),
            "description": "Rows of a turnstile delivery on their way; removes itself.",
        });
        let made = match self.api.call(name, Method::POST, &self.names.tables(), Some(&body)).await {
            Err(error) if error.is(Sort::Exists) => {
                self.api.call(name, Method::GET, &format!("{}/{name}", self.names.tables()), None).await
            }
            other => other,
        };
        let made = made.map_err(|error| self.error(error))?;
        Ok(made["creationTime"].as_str().unwrap_or("0").to_owned())
    }

    /// Removes what the delivery needed only for a while. What stays, staging tables, expires; a bucket's lifecycle rule
    /// removes files.
    pub(super) async fn tidy(&self, staged: &[Staged<'_>], objects: &[String]) {
        for name in staged.iter().flat_map(|change| &change.tables) {
            let path = format!("{}/{name}", self.names.tables());
            match self.api.call(name, Method::DELETE, &path, None).await {
                Ok(_) => {}
                Err(error) if error.is(Sort::NotFound) => {}
                Err(error) => tracing::warn!(table = %name, ?error, "a staging table stays until it expires"),
            }
        }
        let Some(store) = &self.store else { return };
        for object in objects {
            if let Err(error) = store.delete(object).await {
                tracing::warn!(url = %store.url(object), %error, "a staged file stays");
            }
        }
    }
}

/// `turnstile_stage_DELIVERY_TABLE_CONTENT`.
fn staging_name(identity: &str, table: &Table, content: &str) -> String {
    format!("{OURS}stage_{identity}_{}_{content}", table.name)
}
