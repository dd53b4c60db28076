//! Checks models' queries against the tables that they read, without rows.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use turnstile_delivery::TargetTable;

use super::table_head::table_head;
use crate::error::WarehouseError;
use crate::model::{Model, ModelError, ModelKind, Models};
use crate::query::explain_error;
use crate::session::{PUBLIC, SessionBuilder};
use crate::source::WarehouseSource;
use crate::store::TableHead;
use crate::tables::register_empty_tables;
use crate::warehouse::Warehouse;

impl Models {
    /// Plans every model's query and checks over tables without rows. The tables that the stored ones will make, in
    /// their order.
    ///
    /// # Errors
    /// A model that cannot be computed: file, line, what is wrong, what to do. Nothing is read to find it.
    pub async fn plan(&self, source: &WarehouseSource) -> Result<Vec<Arc<TargetTable>>, ModelError> {
        let heads = self.heads(source).await?;
        let table = |(model, head): (&Model, TableHead)| {
            let schema = head.schema().map_err(|e| unplannable(model, e))?;
            let (name, description) = (model.name.clone(), model.description.clone());
            Ok(Arc::new(TargetTable { name, description, schema, key: head.key, kind: head.kind }))
        };
        heads.into_iter().map(table).collect()
    }

    async fn heads(&self, source: &WarehouseSource) -> Result<Vec<(&Model, TableHead)>, ModelError> {
        let wrong = |model: &Model, line: usize, error: &DataFusionError, session: &SessionBuilder| {
            let tables = Warehouse::table_names(session.session());
            let explained = explain_error(error, &tables);
            let line = explained.position.map_or(line, |(at, _)| line + at - 1);
            model.fault(line, explained.fact, explained.hint.unwrap_or_default())
        };
        let no_session =
            |e: DataFusionError| ModelError::new(&source.table, 1, "the session cannot be opened", "").caused_by(e);
        let session = SessionBuilder::new(&Arc::new(RuntimeEnv::default())).map_err(no_session)?;
        register_empty_tables(&session, source).await.map_err(no_session)?;
        let mut heads = Vec::new();
        for model in self.iter() {
            let fault = |e: DataFusionError| wrong(model, model.sql_line, &e, &session);
            let plan = crate::session::plan(session.session(), &model.sql).await.map_err(fault)?;
            let frame = session.session().execute_logical_plan(plan).await.map_err(fault)?;
            if model.kind == ModelKind::View {
                session.view(PUBLIC, &model.name, &model.sql).await.map_err(fault)?;
            } else {
                let head = table_head(model, frame.schema().as_arrow()).map_err(|e| unplannable(model, e))?;
                let schema = head.schema().map_err(|e| unplannable(model, e))?;
                let none = RecordBatch::new_empty(schema.clone());
                let table = MemTable::try_new(schema, vec![vec![none]]).map_err(fault)?;
                session.table(PUBLIC, &model.name, Arc::new(table)).map_err(fault)?;
                heads.push((model, head));
            }
            // Types are compared, and functions chosen, when the physical plan is created.
            frame.create_physical_plan().await.map_err(fault)?;
        }
        for model in self.iter() {
            for check in &model.checks {
                let fault = |e: DataFusionError| {
                    let explained = explain_error(&e, &[]);
                    let reason = format!("{}: {}", check.text(), explained.fact);
                    model.fault(1, reason, explained.hint.unwrap_or_default())
                };
                let sql = check.sql(model, &source.table);
                let frame = session.session().sql(&sql).await.map_err(fault)?;
                frame.create_physical_plan().await.map_err(fault)?;
            }
        }
        Ok(heads)
    }
}

/// A model whose table cannot be described.
fn unplannable(model: &Model, error: WarehouseError) -> ModelError {
    match error {
        WarehouseError::Model(error) => error,
        other => model.fault(model.sql_line, "its table cannot be planned", "").caused_by(other),
    }
}
