//! What decoding needs to know about a pipeline, compiled once.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use hashbrown::HashMap;
use turnstile_pipeline::{EmptyText, FieldKind, FieldPolicy, MessageFormat, Pipeline};

use super::column_type::ColumnType;
use super::field_target::FieldTarget;
use super::json_keys::JsonKeys;
use crate::error::EngineError;

/// What decoding needs to know of a pipeline.
#[derive(Debug)]
pub(crate) struct DecodePlan {
    pub(crate) format: MessageFormat,
    pub(crate) names: Vec<String>,
    pub(crate) types: Vec<ColumnType>,
    /// Per field, the members of a JSON object that lead to it.
    pub(crate) paths: Vec<Vec<String>>,
    /// Per column, its field.
    pub(crate) field_of: Vec<usize>,
    pub(crate) event_column: usize,
    pub(crate) extra_is_error: bool,
    /// Whether an empty field of a CSV row is null for a text too.
    pub(crate) empty_text_is_null: bool,
    /// Avro's fields by name.
    pub(crate) keys: HashMap<String, FieldTarget>,
    /// A JSON object's members.
    pub(crate) json_keys: JsonKeys,
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
                FieldKind::Decimal { precision, scale } => ColumnType::Decimal(*precision, *scale),
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
        let target = |field: usize| column_of[field].map_or(FieldTarget::Unused, FieldTarget::Column);
        let keys = names.iter().enumerate().map(|(field, name)| (name.clone(), target(field))).collect();
        let mut json_keys = JsonKeys::default();
        for (at, field) in source.schema.iter().enumerate() {
            json_keys.insert(&field.path, target(at));
        }
        let fields: Vec<Field> = field_of.iter().map(|f| Field::new(&names[*f], types[*f].data_type(), true)).collect();
        Ok(Self {
            format: source.format,
            extra_is_error: matches!(source.extra_fields, FieldPolicy::Error),
            paths: source.schema.iter().map(|field| field.path.clone()).collect(),
            names,
            types,
            field_of,
            event_column,
            empty_text_is_null: source.empty == EmptyText::Null,
            keys,
            json_keys,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// The decoded columns, in order.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}
