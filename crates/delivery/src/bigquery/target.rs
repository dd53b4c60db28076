//! The target itself: its position, and how a delivery is applied.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::api::{Api, CallError, Job, JobMedia, query};
use super::credentials::Tokens;
use super::error::{ErrorClass, refused};
use super::script::{INCOMPLETE, Staged, compose};
use super::store::BucketStore;
use super::{BigQuerySettings, Names, POSITION, parts};
use crate::change::foreign_warehouse;
use crate::change::{Delivery, LoadPosition};
use crate::error::{TargetError, TargetSettingsError};
use crate::target::{Delivered, Target};

/// A BigQuery dataset that receives deliveries.
#[derive(Debug)]
pub struct BigQueryTarget {
    pub(super) api: Api,
    pub(super) names: Names,
    pub(super) store: Option<BucketStore>,
    pub(super) tokens: Arc<Tokens>,
    /// Tables that were checked and match; cleared after every error.
    pub(super) checked: HashMap<String, SchemaRef>,
}

impl BigQueryTarget {
    /// Reads settings and credentials; sends no request yet.
    ///
    /// # Errors
    /// Names the setting that cannot be used: also the credentials, or the bucket of `stage`.
    pub fn new(settings: BigQuerySettings) -> Result<Self, TargetSettingsError> {
        settings.check()?;
        let tokens = Arc::new(Tokens::new(settings.credentials.clone(), &settings.name())?);
        let store = match &settings.stage {
            Some(url) => Some(BucketStore::open(&settings, url, &tokens)?),
            None => None,
        };
        let names = Names::of(&settings);
        Ok(Self { api: Api::new(settings, Arc::clone(&tokens))?, names, store, tokens, checked: HashMap::new() })
    }

    /// Its name in messages.
    pub(super) fn display_name(&self) -> String {
        self.api.settings.name()
    }

    pub(super) fn error(&self, error: CallError) -> TargetError {
        error.into_error(&self.display_name())
    }

    async fn read_position(&self) -> Result<Option<LoadPosition>, TargetError> {
        // Listing a table's rows is free and needs no job, unlike the shortest query.
        let path = format!("{}/{POSITION}/data?maxResults=2", self.names.tables());
        let rows = match self.api.call(POSITION, Method::GET, &path, None).await {
            Ok(list) => list["rows"].as_array().cloned().unwrap_or_default(),
            Err(error) if error.is(ErrorClass::NotFound) => return Ok(None),
            Err(error) => return Err(self.error(error)),
        };
        match rows.as_slice() {
            [row] => Ok(position(row)),
            other => {
                let found = format!("{POSITION} holds {} rows instead of one", other.len());
                Err(refused(
                    &self.display_name(),
                    found,
                    "restore that table by time travel, or start with an empty dataset",
                ))
            }
        }
    }

    async fn deliver(&mut self, delivery: &Delivery) -> Result<Delivered, TargetError> {
        let at = self.read_position().await?;
        if at.as_ref() == Some(&delivery.to) {
            return Ok(already_applied());
        }
        if let Some(at) = delivery.foreign_position(at.as_ref(), self.api.settings.adopt.as_deref()) {
            let (reason, hint) = foreign_warehouse(at, &delivery.to, "use another `dataset`");
            return Err(refused(&self.display_name(), reason, hint));
        }
        if at != delivery.from {
            return Err(TargetError::Moved { target: self.display_name(), at });
        }
        if let Some(table) = delivery.partially_replaced_table() {
            let reason = format!("table {table} would keep rows of another warehouse");
            return Err(refused(&self.display_name(), reason, "report this: such a delivery replaces every table"));
        }
        self.ensure(&delivery.tables).await?;
        let identity = identity(&self.names, delivery);
        let mut staged = Vec::with_capacity(delivery.changes.len());
        let mut objects = Vec::new();
        for change in &delivery.changes {
            staged.push(self.stage(&identity, change, &mut objects).await?);
        }
        let job = match self.commit(&identity, delivery, &staged).await? {
            Some(job) => job,
            None => return Ok(already_applied()),
        };
        let rows = staged.iter().map(|change| change.rows).sum();
        // The position's own row is among what the script overwrote.
        let replaced = self.api.replaced_rows(&job.id).await.saturating_sub(1);
        self.clean_up(&staged, &objects).await;
        Ok(Delivered { already: job.found, rows, replaced })
    }

    /// Runs the script. `None`: the script failed, but the position says that this delivery has been applied.
    async fn commit(
        &self,
        identity: &str,
        delivery: &Delivery,
        staged: &[Staged<'_>],
    ) -> Result<Option<Job>, TargetError> {
        let sql = compose(&self.names, delivery, staged).map_err(|table| {
            let reason =
                format!("the windows to replace in table {table} are too many and too irregular for one query");
            refused(&self.display_name(), reason, "deliver fewer loads at once, or the whole table")
        })?;
        let name = format!("turnstile_{identity}_commit_{}", parts::short_hex(&Sha256::digest(&sql)));
        match self.api.run(&name, &query(&sql), &JobMedia::None).await {
            Ok(job) => Ok(Some(job)),
            Err(error) => match self.read_position().await? {
                at if at.as_ref() == Some(&delivery.to) => Ok(None),
                at if at != delivery.from => Err(TargetError::Moved { target: self.display_name(), at }),
                _ => Err(self.classify_commit(error)),
            },
        }
    }

    /// A staging table that expired between its load and the script is loaded again by the next attempt.
    fn classify_commit(&self, error: CallError) -> TargetError {
        match error {
            CallError::Api(error) if error.message.contains(INCOMPLETE) => {
                TargetError::Unreachable { target: self.display_name(), source: Box::new(error) }
            }
            other => self.error(other),
        }
    }
}

impl Target for BigQueryTarget {
    fn name(&self) -> &str {
        "bigquery"
    }

    fn position(&mut self) -> BoxFuture<'_, Result<Option<LoadPosition>, TargetError>> {
        async move { self.read_position().await }.boxed()
    }

    fn apply<'a>(&'a mut self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Delivered, TargetError>> {
        async move {
            let result = self.deliver(delivery).await;
            if result.is_err() {
                self.checked.clear();
            }
            result
        }
        .boxed()
    }
}

fn already_applied() -> Delivered {
    Delivered { already: true, ..Delivered::default() }
}

/// Identifies a delivery to this dataset from one position to another, in 16 hexadecimal digits.
fn identity(names: &Names, delivery: &Delivery) -> String {
    let what = (&names.project, &names.dataset, &delivery.from, &delivery.to);
    parts::short_hex(&Sha256::digest(format!("{what:?}")))
}

/// The position's row as `tabledata.list` gives it: a list of values, each a string or null.
fn position(row: &Value) -> Option<LoadPosition> {
    let value = |at: usize| row["f"][at]["v"].as_str();
    Some(LoadPosition {
        warehouse: value(0)?.to_owned(),
        load: value(1)?.parse().ok()?,
        ledger_seq: value(2)?.parse().ok()?,
    })
}
