//! Puts the translated clauses together: a query out of its filter, its groups and what is computed of them.

use std::sync::Arc;

use arrow::datatypes::{Field as ArrowField, Schema};
use datafusion_common::{DFSchemaRef, DataFusionError};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use sqlparser::tokenizer::Span;

use super::clauses::{condition, keep, only_window, read_items, read_keys, refuse_correction};
use super::grouped_exprs::{GroupedExprs, aggregate_name, arguments, column_name, kind_of};
use super::input::{Needed, schema, zone_of};
use super::syntax::{self, Shape};
use super::text::SqlText;
use super::translator::{Clause, Translator};
use super::{Aggregate, Query, WindowSpec, spark_type};
use crate::file::{Fault, PipelineText, read::Placed};
use crate::source::SourceSettings;
use crate::stream::{LatePolicy, StreamSettings};

/// Plans the query of a pipeline.
pub(crate) fn plan(
    file: &PipelineText,
    sql: &Placed<String>,
    source: &SourceSettings,
    stream: &StreamSettings,
) -> Result<Query, Vec<Fault>> {
    let mut text = SqlText::new(file, &sql.value, &sql.at);
    let mut shape = syntax::parse(&mut text, &source.table)?;
    let internal = |error: DataFusionError| vec![text.fault(Span::empty(), error.strip_backtrace())];
    let zone = zone_of(source, stream);
    let everything = schema(&source.schema, (0..source.schema.len()).collect::<Vec<_>>().as_slice(), true, zone);
    let everything = Arc::new(everything.map_err(internal)?);
    let simplifier = simplifier(&everything);
    let mut translator = Translator {
        text: &text,
        schema: &everything,
        simplifier: &simplifier,
        qualifier: &shape.qualifier,
        zone,
        event_time: &stream.event_time,
        clause: Clause::Where,
        place: Span::empty(),
        aliases: Vec::new(),
        grouped: Vec::new(),
        uses: Vec::new(),
    };
    let mut faults = Vec::new();

    let filter = shape.filter.take().map(|filter| condition(&mut translator, &filter));
    let filter = keep(filter.transpose(), &mut faults).flatten();
    let window = keep(only_window(&text, &shape, &stream.event_time), &mut faults);
    let keys = read_keys(&mut translator, &shape, &mut faults);
    let items = read_items(&mut translator, &shape.items, &mut faults);
    translator.grouped = keys.iter().filter_map(column_name).map(str::to_owned).collect();
    translator.aliases = items.iter().filter(|o| o.aliased).map(|o| (o.name.clone(), o.expr.clone())).collect();
    translator.clause = Clause::Having;
    let having = shape.having.take().map(|having| condition(&mut translator, &having));
    let having = keep(having.transpose(), &mut faults).flatten();
    if stream.late == LatePolicy::Correct {
        refuse_correction(&text, &mut faults);
    }
    let (Some(window), true) = (window, faults.is_empty()) else { return Err(faults) };

    let uses = std::mem::take(&mut translator.uses);
    let mut groups = GroupedExprs::new(&everything, &keys).map_err(internal)?;
    let mut output = Vec::with_capacity(items.len());
    for item in items {
        let expr = groups.over(item.expr).map_err(internal)?;
        faults.extend(groups.stray(&text, &expr, &uses));
        output.push((item.name, expr, item.span));
    }
    let having = match having {
        Some(having) => {
            let expr = groups.over(having.expr).map_err(internal)?;
            faults.extend(groups.stray(&text, &expr, &uses));
            Some(expr)
        }
        None => None,
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let plan = Assembled { filter: filter.map(|filter| filter.expr), keys, groups, having, output };
    plan.finish(&text, shape, window, source, stream, &simplifier)
}

/// The clauses, taken apart and not yet simplified.
struct Assembled {
    filter: Option<Expr>,
    keys: Vec<Expr>,
    groups: GroupedExprs,
    having: Option<Expr>,
    output: Vec<(String, Expr, Span)>,
}

impl Assembled {
    fn finish(
        self,
        text: &SqlText,
        shape: Shape,
        window: WindowSpec,
        source: &SourceSettings,
        stream: &StreamSettings,
        simplify_input: &ExprSimplifier,
    ) -> Result<Query, Vec<Fault>> {
        let internal = |error: DataFusionError| vec![text.fault(Span::empty(), error.strip_backtrace())];
        let zone = zone_of(source, stream);
        let aggregated = self.groups.schema(zone).map_err(internal)?;
        let simplify_output = simplifier(&aggregated);
        let simple = |simplifier: &ExprSimplifier, expr: Expr| simplifier.simplify(expr).map_err(internal);

        let filter = self.filter.map(|expr| simple(simplify_input, expr)).transpose()?;
        let keys = self.keys.into_iter().map(|expr| simple(simplify_input, expr)).collect::<Result<Vec<_>, _>>()?;
        let mut aggregates = Vec::with_capacity(self.groups.aggregates.len());
        for (i, expr) in self.groups.aggregates.into_iter().enumerate() {
            let kind = kind_of(expr, |expr| simplify_input.simplify(expr)).map_err(internal)?;
            aggregates.push(Aggregate { name: aggregate_name(i), kind });
        }
        let having = self.having.map(|expr| simple(&simplify_output, expr)).transpose()?;
        let mut output = Vec::with_capacity(self.output.len());
        let mut fields = Vec::with_capacity(self.output.len());
        let mut faults = Vec::new();
        for (name, expr, span) in self.output {
            let expr = simple(&simplify_output, expr)?;
            let data_type = expr.get_type(aggregated.as_ref()).map_err(internal)?;
            if spark_type(&data_type).is_none() {
                let fault = text
                    .fault(span, format!("the column \"{name}\" would be {data_type}, which no file format supports"));
                faults.push(fault.hint("cast it, as in CAST(… AS string)"));
            }
            let nullable = expr.nullable(aggregated.as_ref()).map_err(internal)?;
            fields.push(ArrowField::new(&name, data_type, nullable));
            output.push((name, expr));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let needed = Needed::of(source, stream, filter.iter().chain(&keys).chain(arguments(&aggregates)));
        Ok(Query {
            sql: text.sql.clone(),
            canonical: shape.canonical,
            table: source.table.clone(),
            window,
            input: Arc::new(schema(&source.schema, &needed.columns, needed.is_ordered, zone).map_err(internal)?),
            event_time: needed.event_time,
            dedup: needed.dedup,
            is_ordered: needed.is_ordered,
            columns: needed.columns,
            filter,
            keys,
            aggregates,
            aggregated,
            having,
            output,
            output_schema: Arc::new(Schema::new(fields)),
        })
    }
}

fn simplifier(schema: &DFSchemaRef) -> ExprSimplifier {
    ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(schema)).build())
}
