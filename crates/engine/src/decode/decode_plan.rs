//! What decoding needs to know about a pipeline, compiled once.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use hashbrown::HashMap;
use turnstile_pipeline::{FieldKind, FieldPolicy, MessageFormat, Pipeline};

use super::column_type::ColumnType;
use crate::error::EngineError;

/// What a field's name stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FieldTarget {
    /// A column that is built, by its number.
    Column(usize),
    /// A field of the schema that the query does not need.
    Unused,
}

/// What decoding needs to know of a pipeline.
#[derive(Debug)]
pub(crate) struct DecodePlan {
    pub(crate) format: MessageFormat,
    pub(crate) names: Vec<String>,
    pub(crate) types: Vec<ColumnType>,
    /// Per column, its field.
    pub(crate) field_of: Vec<usize>,
    pub(crate) event_column: usize,
    pub(crate) extra_is_error: bool,
    pub(crate) keys: HashMap<String, FieldTarget>,
    pub(crate) schema: SchemaRef,
}

impl DecodePlan {
    pub(crate) fn new(pipeline: &Pipeline) -> Result<Self, EngineError> {
        let source = &pipeline.source;
        let names: Vec<String> = source.schema.iter().map(|f| f.name.clone()).collect();
        let types: Vec<ColumnType> = source
            .schema
            .iter()
            .map(|field| match &field.kind {
                FieldKind::String => ColumnType::Text,
                FieldKind::Int => ColumnType::Int,
                FieldKind::Long => ColumnType::Long,
                FieldKind::Double => ColumnType::Double,
                FieldKind::Boolean => ColumnType::Boolean,
                FieldKind::Timestamp { format, zone } => ColumnType::Timestamp(format.clone(), *zone),
            })
            .collect();
        let field_of = pipeline.query.columns.clone();
        let mut column_of = vec![None; names.len()];
        for (column, field) in field_of.iter().enumerate() {
            column_of[*field] = Some(column);
        }
        let event_column =
            field_of.iter().position(|field| names[*field] == pipeline.stream.event_time).ok_or_else(|| {
                EngineError::Plan(format!("the event time {} is not decoded", pipeline.stream.event_time))
            })?;
        let keys = names
            .iter()
            .enumerate()
            .map(|(field, name)| (name.clone(), column_of[field].map_or(FieldTarget::Unused, FieldTarget::Column)))
            .collect();
        let fields: Vec<Field> = field_of.iter().map(|f| Field::new(&names[*f], types[*f].data_type(), true)).collect();
        Ok(Self {
            format: source.format,
            extra_is_error: matches!(source.extra_fields, FieldPolicy::Error),
            names,
            types,
            field_of,
            event_column,
            keys,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// The decoded columns, in order.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}
