//! Arrow types that every Parquet reader knows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

/// The schema to store in a Parquet file: text and bytes as ordinary columns. A writer stores its Arrow schema beside the
/// columns, and Arrow libraries before version 16, pyarrow 14 among them, refuse a file that names a view there. All else
/// stays: without a stored schema the zone of instants would be lost.
///
/// `ArrowWriter` takes views for the text and bytes of this schema, except within lists and structs.
pub fn portable_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(portable_field);
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

fn portable_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(portable_type(field.data_type())))
}

fn portable_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) | DataType::ListView(item) => DataType::List(portable_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(portable_field(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(portable_field(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(portable_field).collect()),
        DataType::Map(entry, sorted) => DataType::Map(portable_field(entry), *sorted),
        DataType::Dictionary(key, value) => DataType::Dictionary(key.clone(), Box::new(portable_type(value))),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_within_lists_and_structs_are_ordinary_too() {
        let text = |kind: DataType| Arc::new(Field::new("item", kind, true));
        let nested = |kind: DataType| {
            let inner = Field::new("s", DataType::Struct(vec![text(kind)].into()), true);
            Schema::new(vec![Field::new("X", DataType::ListView(Arc::new(inner)), true)])
        };
        let portable = portable_schema(&nested(DataType::Utf8View));
        let inner = Field::new("s", DataType::Struct(vec![text(DataType::Utf8)].into()), true);
        assert_eq!(*portable.field(0).data_type(), DataType::List(Arc::new(inner)));
    }
}
