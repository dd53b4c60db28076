//! The target itself: where it stands, and how a delivery is applied.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::api::{Api, CallError, Feed, Job, query};
use super::credentials::Tokens;
use super::fault::{Sort, refused};
use super::script::{INCOMPLETE, Staged, compose};
use super::store::Store;
use super::{BigQuerySettings, Names, POSITION, parts};
use crate::change::foreign_rows;
use crate::{Delivered, Delivery, Position, Target, TargetError};

/// A BigQuery dataset that receives deliveries.
#[derive(Debug)]
pub struct BigQueryTarget {
    pub(super) api: Api,
    pub(super) names: Names,
    pub(super) store: Option<Store>,
    pub(super) tokens: Arc<Tokens>,
    /// Tables that were found to be as they should; as many as the delivery names. Forgotten at every error.
    pub(super) checked: HashMap<String, SchemaRef>,
}

impl BigQueryTarget {
    /// Reads settings and credentials; asks nobody yet.
    ///
    /// # Errors
    /// `Refused`: a setting or the credentials cannot be used.
    pub fn new(settings: BigQuerySettings) -> Result<Self, TargetError> {
        settings.check()?;
        let tokens = Arc::new(Tokens::new(settings.credentials.clone(), &settings.name())?);
        let store = match &settings.stage {
            Some(url) => Some(Store::open(&settings, url, &tokens)?),
            None => None,
        };
        let names = Names::of(&settings);
        Ok(Self { api: Api::new(settings, Arc::clone(&tokens))?, names, store, tokens, checked: HashMap::new() })
    }

    /// What messages call it.
    pub(super) fn title(&self) -> String {
        self.api.settings.name()
    }

    pub(super) fn error(&self, error: CallError) -> TargetError {
        error.into_error(&self.title())
    }

    async fn read_position(&self) -> Result<Option<Position>, TargetError> {
        // Listing a table's rows costs nothing and needs no job, unlike the shortest query.
        let path = format!("{}/{POSITION}/data?maxResults=2", self.names.tables());
        let rows = match self.api.call(POSITION, Method::GET, &path, None).await {
            Ok(list) => list["rows"].as_array().cloned().unwrap_or_default(),
            Err(error) if error.is(Sort::NotFound) => return Ok(None),
            Err(error) => return Err(self.error(error)),
        };
        match rows.as_slice() {
            [row] => Ok(position(row)),
            other => {
                let found = format!("{POSITION} holds {} rows instead of one", other.len());
                Err(refused(&self.title(), found, "restore that table by time travel, or start with an empty dataset"))
            }
        }
    }

    async fn deliver(&mut self, delivery: &Delivery) -> Result<Delivered, TargetError> {
        let at = self.read_position().await?;
        if at.as_ref() == Some(&delivery.to) {
            return Ok(already());
        }
        if let Some(at) = delivery.foreign(at.as_ref(), self.api.settings.adopt.as_deref()) {
            let (reason, hint) = foreign_rows(at, &delivery.to, "take another `dataset`");
            return Err(refused(&self.title(), reason, hint));
        }
        if at != delivery.from {
            return Err(TargetError::Moved { target: self.title(), at });
        }
        if let Some(table) = delivery.leaves_foreign_rows() {
            let reason = format!("table {table} would keep rows of another warehouse");
            return Err(refused(&self.title(), reason, "report this: such a delivery replaces every table"));
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
            None => return Ok(already()),
        };
        let rows = staged.iter().map(|change| change.rows).sum();
        // The position's own row is among what the script overwrote.
        let replaced = self.api.changed(&job.id).await.saturating_sub(1);
        self.tidy(&staged, &objects).await;
        Ok(Delivered { already: job.found, rows, replaced })
    }

    /// Runs the script. `None`: the position says that this delivery is applied, though this script failed.
    async fn commit(
        &self,
        identity: &str,
        delivery: &Delivery,
        staged: &[Staged<'_>],
    ) -> Result<Option<Job>, TargetError> {
        let sql = compose(&self.names, delivery, staged).map_err(|table| {
            let reason =
                format!("the windows to replace in table {table} are too many and too irregular for one query");
            refused(&self.title(), reason, "deliver fewer loads at once, or the whole table")
        })?;
        let name = format!("turnstile_{identity}_commit_{}", parts::hex(&Sha256::digest(&sql)));
        match self.api.run(&name, &query(&sql), &Feed::Nothing).await {
            Ok(job) => Ok(Some(job)),
            Err(error) => match self.read_position().await? {
                at if at.as_ref() == Some(&delivery.to) => Ok(None),
                at if at != delivery.from => Err(TargetError::Moved { target: self.title(), at }),
                _ => Err(self.judged(error)),
            },
        }
    }

    /// A staging table that ran out between its load and the script is loaded again by the next try.
    fn judged(&self, error: CallError) -> TargetError {
        match error {
            CallError::Fault(fault) if fault.message.contains(INCOMPLETE) => {
                TargetError::Unreachable { target: self.title(), source: Box::new(fault) }
            }
            other => self.error(other),
        }
    }
}

impl Target for BigQueryTarget {
    fn name(&self) -> &str {
        "bigquery"
    }

    fn position(&mut self) -> BoxFuture<'_, Result<Option<Position>, TargetError>> {
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

fn already() -> Delivered {
    Delivered { already: true, ..Delivered::default() }
}

/// Which delivery this is, in 16 hexadecimal digits: of this dataset, from one position to another.
fn identity(names: &Names, delivery: &Delivery) -> String {
    let what = (&names.project, &names.dataset, &delivery.from, &delivery.to);
    parts::hex(&Sha256::digest(format!("{what:?}")))
}

/// The position's row as `tabledata.list` gives it: a list of values, each a text or null.
fn position(row: &Value) -> Option<Position> {
    let value = |at: usize| row["f"][at]["v"].as_str();
    Some(Position {
        warehouse: value(0)?.to_owned(),
        load: value(1)?.parse().ok()?,
        ledger_seq: value(2)?.parse().ok()?,
    })
}
