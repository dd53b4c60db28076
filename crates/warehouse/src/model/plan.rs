//! Whether models' queries fit the tables that they read, found out without a row.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use turnstile_delivery::TargetTable;

use super::{Model, ModelError, ModelKind, Models};
use crate::question::advise;
use crate::session::{Builder, PUBLIC};
use crate::store::TableHead;
use crate::tables::empty_tables;
use crate::{Source, Warehouse, WarehouseError};

impl Models {
    /// Plans every model's query and checks over tables without rows. The tables that the stored ones will make, in
    /// their order.
    ///
    /// # Errors
    /// A model that cannot be computed: file, line, what is wrong, what to do. Nothing is read to find it.
    pub async fn plan(&self, source: &Source) -> Result<Vec<Arc<TargetTable>>, ModelError> {
        let heads = self.heads(source).await?;
        let table = |(model, head): (&Model, TableHead)| {
            let schema = head.schema().map_err(|e| model.fault(1, e.to_string(), ""))?;
            let (name, description) = (model.name.clone(), model.description.clone());
            Ok(Arc::new(TargetTable { name, description, schema, key: head.key, kind: head.kind }))
        };
        heads.into_iter().map(table).collect()
    }

    async fn heads(&self, source: &Source) -> Result<Vec<(&Model, TableHead)>, ModelError> {
        let wrong = |model: &Model, line: usize, error: &DataFusionError, session: &Builder| {
            let tables = Warehouse::table_names(session.session());
            let advice = advise(error, &tables);
            let line = advice.place.map_or(line, |(at, _)| line + at - 1);
            model.fault(line, advice.fact, advice.hint.unwrap_or_default())
        };
        let no_session = |e: DataFusionError| ModelError {
            path: source.table.clone(),
            line: 1,
            reason: e.to_string(),
            hint: String::new(),
        };
        let session = Builder::new(&Arc::new(RuntimeEnv::default())).map_err(no_session)?;
        empty_tables(&session, source).await.map_err(no_session)?;
        let mut heads = Vec::new();
        for model in self.iter() {
            let fault = |e: DataFusionError| wrong(model, model.sql_line, &e, &session);
            let plan = crate::session::plan(session.session(), &model.sql).await.map_err(fault)?;
            let frame = session.session().execute_logical_plan(plan).await.map_err(fault)?;
            if model.kind == ModelKind::View {
                session.view(PUBLIC, &model.name, &model.sql).await.map_err(fault)?;
            } else {
                let head = crate::load::head(model, frame.schema().as_arrow()).map_err(|e| match e {
                    WarehouseError::Model(fault) => fault,
                    other => model.fault(model.sql_line, other.to_string(), ""),
                })?;
                let schema = head.schema().map_err(|e| model.fault(1, e.to_string(), ""))?;
                let none = RecordBatch::new_empty(schema.clone());
                let table = MemTable::try_new(schema, vec![vec![none]]).map_err(fault)?;
                session.table(PUBLIC, &model.name, Arc::new(table)).map_err(fault)?;
                heads.push((model, head));
            }
            // Types are compared, and functions chosen, when the plan is made ready to run.
            frame.create_physical_plan().await.map_err(fault)?;
        }
        for model in self.iter() {
            for check in &model.checks {
                let fault = |e: DataFusionError| {
                    let advice = advise(&e, &[]);
                    model.fault(1, format!("{}: {}", check.text(), advice.fact), advice.hint.unwrap_or_default())
                };
                let sql = check.sql(model, &source.table);
                let frame = session.session().sql(&sql).await.map_err(fault)?;
                frame.create_physical_plan().await.map_err(fault)?;
            }
        }
        Ok(heads)
    }
}
