//! A planned expression as a person would write it.

use std::collections::HashMap;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::Expr;
use turnstile_values::human;

use super::{AggregateKind, Query, WINDOW_END, WINDOW_START, spark_type};
use crate::functions::written_arguments;

impl Query {
    /// WHERE, a key or an argument: over the message's fields.
    pub(crate) fn readable_input(&self, expr: &Expr) -> String {
        readable(expr, &HashMap::new())
    }

    /// HAVING or a result column, with keys and aggregates in the places of their columns.
    pub(crate) fn readable_output(&self, expr: &Expr) -> String {
        let mut names: HashMap<&str, String> =
            HashMap::from([(WINDOW_START, "window.start".to_owned()), (WINDOW_END, "window.end".to_owned())]);
        // After the window's two come the keys, then the aggregates.
        let columns = self.aggregated.fields().iter().skip(2).map(|field| field.name().as_str());
        let keys = self.keys.iter().map(|key| self.readable_input(key));
        let aggregates = self.aggregates.iter().map(|aggregate| self.readable_aggregate(&aggregate.kind));
        names.extend(columns.zip(keys.chain(aggregates)));
        readable(expr, &names)
    }

    fn readable_aggregate(&self, kind: &AggregateKind) -> String {
        let text = |expr: &Expr| self.readable_input(expr);
        match kind {
            AggregateKind::Function { udaf, args, distinct, filter } => {
                // The order of `first` and its like is part of the arguments, but not of the query's text.
                let written = written_arguments(udaf).unwrap_or(args.len());
                let args: Vec<String> = args.iter().take(written).map(text).collect();
                let distinct = if *distinct { "DISTINCT " } else { "" };
                let filter = filter.as_ref().map_or_else(String::new, |f| format!(" FILTER (WHERE {})", text(f)));
                format!("{}({distinct}{}){filter}", udaf.name(), args.join(", "))
            }
            AggregateKind::Increase { register, cap: None } => format!("increase({})", text(register)),
            AggregateKind::Increase { register, cap: Some(cap) } => format!("increase({}, {cap})", text(register)),
            AggregateKind::Resets { register } => format!("resets({})", text(register)),
            AggregateKind::Jumps { register, cap } => format!("jumps({}, {cap})", text(register)),
        }
    }
}

/// DataFusion's own text, but columns, constants and casts are first replaced by columns whose names are their texts.
fn readable(expr: &Expr, names: &HashMap<&str, String>) -> String {
    let named = |text: String| Transformed::yes(Expr::Column(Column::from_name(text)));
    let replaced = expr.clone().transform_up(|expr| {
        Ok(match &expr {
            Expr::Column(column) => match names.get(column.name.as_str()) {
                Some(text) => named(text.clone()),
                None => Transformed::no(expr),
            },
            Expr::Literal(value, _) => named(constant(value)),
            Expr::Cast(cast) => {
                let kind = cast.field.data_type();
                named(format!("CAST({} AS {})", cast.expr, spark_type(kind).unwrap_or_else(|| kind.to_string())))
            }
            _ => Transformed::no(expr),
        })
    });
    replaced.map_or_else(|_| expr.to_string(), |replaced| replaced.data.to_string())
}

fn constant(value: &ScalarValue) -> String {
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        ScalarValue::TimestampMicrosecond(Some(us), _) => {
            format!("TIMESTAMP '{}'", human::instant(*us))
        }
        _ => value.to_string(),
    }
}
