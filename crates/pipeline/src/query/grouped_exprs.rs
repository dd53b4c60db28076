//! Expressions over groups: which parts of the query are keys, which aggregates, what is computed of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, ScalarValue};
use datafusion_expr::{Expr, ExprSchemable};
use sqlparser::tokenizer::Span;

use super::input::window_bounds;
use super::text::SqlText;
use super::translator::column;
use super::{Aggregate, AggregateKind};
use crate::file::Fault;
use crate::functions::RegisterFunction;

/// Collects the aggregates of the query and rewrites expressions over rows to expressions over groups.
pub(super) struct GroupedExprs {
    over_rows: DFSchemaRef,
    /// Each key and the name of its column.
    keys: Vec<(Expr, String, DataType)>,
    pub(super) aggregates: Vec<Expr>,
}

impl GroupedExprs {
    pub(super) fn new(over_rows: &DFSchemaRef, keys: &[Expr]) -> Result<Self, DataFusionError> {
        let named = keys.iter().enumerate().map(|(i, key)| {
            let name = column_name(key).map_or_else(|| format!("__key{i}"), str::to_owned);
            Ok((key.clone(), name, key.get_type(over_rows.as_ref())?))
        });
        let keys = named.collect::<Result<_, DataFusionError>>()?;
        Ok(Self { over_rows: Arc::clone(over_rows), keys, aggregates: Vec::new() })
    }

    pub(super) fn over(&mut self, expr: Expr) -> Result<Expr, DataFusionError> {
        let rewritten = expr.transform_down(|expr| {
            if let Some((_, name, _)) = self.keys.iter().find(|(key, ..)| *key == expr) {
                return Ok(Transformed::new(column(name), true, TreeNodeRecursion::Jump));
            }
            if !matches!(expr, Expr::AggregateFunction(_)) {
                return Ok(Transformed::no(expr));
            }
            let index = self.aggregates.iter().position(|other| *other == expr).unwrap_or_else(|| {
                self.aggregates.push(expr);
                self.aggregates.len() - 1
            });
            Ok(Transformed::new(column(&aggregate_name(index)), true, TreeNodeRecursion::Jump))
        })?;
        Ok(rewritten.data)
    }

    /// The fault of a column in `expr` that groups do not have.
    pub(super) fn stray(&self, text: &SqlText, expr: &Expr, uses: &[(String, Span)]) -> Option<Fault> {
        let known = |name: &str| name.starts_with("__") || self.keys.iter().any(|(_, key, _)| key == name);
        let mut stray: Vec<&str> =
            expr.column_refs().into_iter().map(|column| column.name.as_str()).filter(|name| !known(name)).collect();
        stray.sort_unstable();
        let name = *stray.first()?;
        let span = uses.iter().find(|(used, _)| used == name).map_or(Span::empty(), |(_, span)| *span);
        let fault = text.fault(span, format!("the column \"{name}\" is neither grouped by nor inside an aggregate"));
        Some(fault.hint(format!("add {name} to GROUP BY, or write sum({name}), max({name}) or the like")))
    }

    pub(super) fn schema(&self, zone: &str) -> Result<DFSchemaRef, DataFusionError> {
        let bounds = window_bounds(zone);
        let keys = self.keys.iter().map(|(_, name, data_type)| ArrowField::new(name, data_type.clone(), true));
        let mut fields: Vec<ArrowField> = bounds.into_iter().chain(keys).collect();
        for (i, aggregate) in self.aggregates.iter().enumerate() {
            let (_, field) = aggregate.to_field(self.over_rows.as_ref())?;
            fields.push(ArrowField::new(aggregate_name(i), field.data_type().clone(), field.is_nullable()));
        }
        Ok(Arc::new(DFSchema::from_unqualified_fields(fields.into(), HashMap::new())?))
    }
}

/// The name of a column; `None` for anything else.
pub(super) fn column_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// The column that holds the aggregate at `index`.
pub(super) fn aggregate_name(index: usize) -> String {
    format!("__agg{index}")
}

/// What the engine is to compute for an aggregate of the query, its arguments simplified.
pub(super) fn kind_of(
    expr: Expr,
    simplify: impl Fn(Expr) -> Result<Expr, DataFusionError>,
) -> Result<AggregateKind, DataFusionError> {
    let Expr::AggregateFunction(call) = expr else {
        return Err(DataFusionError::Internal("an expression that is not an aggregate".to_owned()));
    };
    let args = call.params.args.into_iter().map(&simplify).collect::<Result<Vec<_>, _>>()?;
    let cap = match args.get(1) {
        Some(Expr::Literal(ScalarValue::Int64(cap), _)) => *cap,
        _ => None,
    };
    let missing = || DataFusionError::Internal("a register function without its arguments".to_owned());
    let register = || args.first().cloned().ok_or_else(missing);
    Ok(match RegisterFunction::of(&call.func) {
        Some(RegisterFunction::Increase) => AggregateKind::Increase { register: register()?, cap },
        Some(RegisterFunction::Resets) => AggregateKind::Resets { register: register()? },
        Some(RegisterFunction::Jumps) => AggregateKind::Jumps { register: register()?, cap: cap.ok_or_else(missing)? },
        None => AggregateKind::Function {
            udaf: call.func,
            args,
            distinct: call.params.distinct,
            filter: call.params.filter.map(|filter| simplify(*filter)).transpose()?,
        },
    })
}

/// The expressions over rows that the aggregates evaluate.
pub(super) fn arguments(aggregates: &[Aggregate]) -> impl Iterator<Item = &Expr> {
    aggregates.iter().flat_map(|aggregate| match &aggregate.kind {
        AggregateKind::Function { args, filter, .. } => args.iter().chain(filter).collect::<Vec<_>>(),
        AggregateKind::Increase { register, .. }
        | AggregateKind::Resets { register }
        | AggregateKind::Jumps { register, .. } => vec![register],
    })
}
