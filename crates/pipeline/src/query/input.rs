//! The rows that a query reads: which fields are decoded, and the bounds of the row's window beside them.

use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::{DataType, Field as ArrowField, Fields as ArrowFields, TimeUnit};
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_expr::Expr;

use super::{MESSAGE_ORDER, WINDOW_END, WINDOW_START};
use crate::schema::{Field, FieldKind};
use crate::source::SourceSettings;
use crate::stream::{DedupSettings, StreamSettings};

/// The fields that have to be decoded, and where two kinds of them stand among those.
pub(super) struct Needed {
    pub(super) columns: Vec<usize>,
    pub(super) event_time: usize,
    pub(super) dedup: Vec<usize>,
    /// Whether an expression refers to the order of messages.
    pub(super) is_ordered: bool,
}

impl Needed {
    pub(super) fn of<'a>(
        source: &SourceSettings,
        stream: &StreamSettings,
        exprs: impl Iterator<Item = &'a Expr>,
    ) -> Self {
        let dedup_names: &[String] = match &stream.dedup {
            DedupSettings::Fields(names) => names,
            DedupSettings::Off | DedupSettings::Value => &[],
        };
        let mut names: BTreeSet<&str> = dedup_names.iter().map(String::as_str).collect();
        names.insert(&stream.event_time);
        for expr in exprs {
            names.extend(expr.column_refs().into_iter().map(|column| column.name.as_str()));
        }
        let is_ordered = MESSAGE_ORDER.iter().any(|name| names.contains(name));
        let needed = |i: &usize| names.contains(source.schema[*i].name.as_str());
        let columns: Vec<usize> = (0..source.schema.len()).filter(needed).collect();
        let place = |name: &str| columns.iter().position(|i| source.schema[*i].name == name);
        let event_time = place(&stream.event_time).unwrap_or_default();
        let dedup = dedup_names.iter().filter_map(|name| place(name)).collect();
        Self { columns, event_time, dedup, is_ordered }
    }
}

/// The columns at `columns` of `fields`, the order of messages if `is_ordered`, then the bounds of the window, in time zone
/// `zone`.
pub(super) fn schema(
    fields: &[Field],
    columns: &[usize],
    is_ordered: bool,
    zone: &str,
) -> Result<DFSchema, DataFusionError> {
    let decoded = columns.iter().map(|i| ArrowField::new(&fields[*i].name, fields[*i].kind.arrow_type(), true));
    let types = [DataType::Utf8View, DataType::Int32, DataType::Int64];
    let order = MESSAGE_ORDER.into_iter().zip(types).map(|(name, data_type)| ArrowField::new(name, data_type, false));
    let order = order.filter(|_| is_ordered);
    let all = decoded.chain(order).chain(window_bounds(zone));
    DFSchema::from_unqualified_fields(ArrowFields::from_iter(all), HashMap::new())
}

/// The columns with the start and the end of a window.
pub(super) fn window_bounds(zone: &str) -> [ArrowField; 2] {
    [instant(WINDOW_START, zone), instant(WINDOW_END, zone)]
}

fn instant(name: &str, zone: &str) -> ArrowField {
    ArrowField::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())), false)
}

/// The time zone of the event time: the name that its field gives, or UTC.
pub(super) fn zone_of<'a>(source: &'a SourceSettings, stream: &StreamSettings) -> &'a str {
    let event_time = source.schema.iter().find(|field| field.name == stream.event_time);
    match event_time.map(|field| &field.kind) {
        Some(FieldKind::Timestamp { zone, .. }) => zone.name(),
        _ => "UTC",
    }
}
