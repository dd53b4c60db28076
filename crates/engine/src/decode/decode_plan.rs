//! What decoding needs to know about a pipeline, compiled once.

use arrow::datatypes::DataType;
use hashbrown::HashMap;
use turnstile_pipeline::{
    EmptyText, Field as SchemaField, FieldKind, FieldPolicy, MessageFormat, MessageMetadata, Pipeline,
};

use super::column_type::ColumnType;
use super::field_target::FieldTarget;
use super::json_keys::JsonKeys;
use crate::error::EngineError;

/// A column that Kafka fills.
#[derive(Debug)]
pub(crate) struct MetadataColumn {
    /// Where it stands among the columns of the query.
    pub(crate) column: usize,
    pub(crate) kind: MessageMetadata,
    pub(crate) data_type: DataType,
}

/// Where the event time comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EventTimeSource {
    /// One of the columns of the value.
    Column(usize),
    /// Kafka's timestamp of the message.
    MessageTimestamp,
}

/// What decoding needs to know of a pipeline. Fields and columns are those of the value, unless said otherwise.
#[derive(Debug)]
pub(crate) struct DecodePlan {
    pub(crate) format: MessageFormat,
    pub(crate) names: Vec<String>,
    pub(crate) types: Vec<ColumnType>,
    /// Per field, the members of a JSON object that lead to it.
    pub(crate) paths: Vec<Vec<String>>,
    /// Per column, its field.
    pub(crate) field_of: Vec<usize>,
    /// Columns of the query that are no fields of the value, ascending.
    pub(crate) metadata: Vec<MetadataColumn>,
    pub(crate) event_time: EventTimeSource,
    pub(crate) event_name: String,
    pub(crate) extra_is_error: bool,
    /// Whether an empty field of a CSV row is null for a text too.
    pub(crate) empty_text_is_null: bool,
    /// Avro's fields by name.
    pub(crate) keys: HashMap<String, FieldTarget>,
    /// A JSON object's members.
    pub(crate) json_keys: JsonKeys,
    /// How many inner objects those lead through.
    pub(crate) json_objects: usize,
}

impl DecodePlan {
    pub(crate) fn new(pipeline: &Pipeline) -> Result<Self, EngineError> {
        let source = &pipeline.source;
        // Fields of the value alone; `place` is where each field of the schema stands among them.
        let fields: Vec<&SchemaField> = source.schema.iter().filter(|field| field.metadata.is_none()).collect();
        let place = |field: usize| source.schema[..field].iter().filter(|field| field.metadata.is_none()).count();
        let names: Vec<String> = fields.iter().map(|f| f.name.clone()).collect();
        let types: Vec<ColumnType> = fields.iter().map(|field| column_type(&field.kind)).collect();
        let (mut field_of, mut metadata) = (Vec::new(), Vec::new());
        for (column, field) in pipeline.query.columns.iter().enumerate() {
            match source.schema[*field].metadata {
                None => field_of.push(place(*field)),
                Some(kind) => {
                    metadata.push(MetadataColumn { column, kind, data_type: source.schema[*field].kind.arrow_type() })
                }
            }
        }
        let mut column_of = vec![None; names.len()];
        for (column, field) in field_of.iter().enumerate() {
            column_of[*field] = Some(column);
        }
        let event_name = &pipeline.stream.event_time;
        let event_time = match source.schema.iter().find(|field| field.name == *event_name).map(|field| field.metadata)
        {
            Some(Some(MessageMetadata::Timestamp)) => EventTimeSource::MessageTimestamp,
            _ => EventTimeSource::Column(
                field_of
                    .iter()
                    .position(|field| names[*field] == *event_name)
                    .ok_or_else(|| EngineError::Plan(format!("the event time {event_name} is not decoded")))?,
            ),
        };
        let target = |field: usize| column_of[field].map_or(FieldTarget::Unused, FieldTarget::Column);
        let keys = names.iter().enumerate().map(|(field, name)| (name.clone(), target(field))).collect();
        let (mut json_keys, mut json_objects) = (JsonKeys::default(), 0);
        for (at, field) in fields.iter().enumerate() {
            json_keys.insert(&field.path, target(at), &mut json_objects);
        }
        Ok(Self {
            format: source.format,
            extra_is_error: matches!(source.extra_fields, FieldPolicy::Error),
            paths: fields.iter().map(|field| field.path.clone()).collect(),
            names,
            types,
            field_of,
            metadata,
            event_time,
            event_name: event_name.clone(),
            empty_text_is_null: source.empty == EmptyText::Null,
            keys,
            json_keys,
            json_objects,
        })
    }
}

fn column_type(kind: &FieldKind) -> ColumnType {
    match kind {
        FieldKind::String => ColumnType::Text,
        FieldKind::Int => ColumnType::Int,
        FieldKind::Long => ColumnType::Long,
        FieldKind::Double => ColumnType::Double,
        FieldKind::Boolean => ColumnType::Boolean,
        FieldKind::Decimal { precision, scale } => ColumnType::Decimal(*precision, *scale),
        FieldKind::Timestamp { format, zone } => ColumnType::Timestamp(format.clone(), *zone),
    }
}
