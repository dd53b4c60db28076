//! The schema of a model's table, derived from its query.

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use turnstile_delivery::TableKind;

use crate::error::WarehouseError;
use crate::model::{Model, ModelKind};
use crate::source::cast_exactly;
use crate::store::{TableColumn, TableHead, storage_type, type_name};

/// What the table is, from what the query computes.
pub(super) fn table_head(model: &Model, schema: &Schema) -> Result<TableHead, WarehouseError> {
    let fault = |reason: String, hint: &str| WarehouseError::from(model.fault(model.sql_line, reason, hint));
    let mut columns = Vec::new();
    for field in schema.fields() {
        let kind = storage_type(field.data_type()).and_then(|kind| type_name(&kind)).ok_or_else(|| {
            let reason =
                format!("column {} has the type {}, which tables do not support", field.name(), field.data_type());
            fault(reason, "cast it: CAST(… AS text), bigint, double, boolean, date, timestamp")
        })?;
        columns.push(TableColumn { name: field.name().clone(), kind });
    }
    let has = |name: &String| columns.iter().any(|column| column.name == *name);
    if let Some(missing) = model.key.iter().chain(&model.window).find(|name| !has(name)) {
        let reason = format!("the SELECT has no column {missing}, which the header names");
        return Err(fault(reason, "give an expression that name with AS"));
    }
    if let Some(window) = &model.window
        && columns.iter().any(|column| column.name == *window && column.kind != "timestamptz")
    {
        let reason = format!("the window column {window} is not a timestamp with time zone");
        return Err(fault(reason, "use the external table's column that holds window.start"));
    }
    let kind = match (&model.kind, &model.window) {
        (ModelKind::Incremental, Some(window)) => TableKind::Incremental { window: window.clone() },
        (ModelKind::Dimension, _) => TableKind::Dimension,
        _ => TableKind::Table,
    };
    Ok(TableHead {
        kind,
        key: model.key.clone(),
        description: model.description.clone(),
        columns,
        model: model.fingerprint(),
    })
}

pub(super) fn to_storage(
    model: &Model,
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, DataFusionError> {
    let columns: Result<Vec<_>, _> = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if !field.is_nullable() && column.null_count() > 0 {
                let fact = format!("the key column {} of {} is null in a row", field.name(), model.name);
                return Err(DataFusionError::Execution(fact));
            }
            // A value that does not fit does not become null: the load ends and names the column.
            cast_exactly(column, field.data_type()).map_err(|error| {
                let column = format!("column {} of {}", field.name(), model.name);
                DataFusionError::from(error).context(column)
            })
        })
        .collect();
    Ok(RecordBatch::try_new(schema.clone(), columns?)?)
}
