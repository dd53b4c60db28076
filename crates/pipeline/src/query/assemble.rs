//! Puts the translated clauses together: what is a key, what an aggregate, what is computed of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Fields as ArrowFields, Schema, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, ScalarValue};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::Span;

use super::syntax::{self, Item, Shape};
use super::text::SqlText;
use super::translate::{Clause, Operand, Translator, column};
use super::window;
use super::{Aggregate, AggregateKind, Query, WINDOW_END, WINDOW_START, WindowSpec, spark_type};
use crate::file::{Fault, PipelineText, read::Placed};
use crate::functions::RegisterFunction;
use crate::schema::{Field, FieldKind};
use crate::source::SourceSettings;
use crate::stream::{DedupSettings, LatePolicy, StreamSettings};

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
    let everything = schema(&source.schema, (0..source.schema.len()).collect::<Vec<_>>().as_slice(), zone);
    let everything = Arc::new(everything.map_err(internal)?);
    let simplifier = simplifier(&everything);
    let mut translator = Translator {
        text: &text,
        schema: &everything,
        simplifier: &simplifier,
        qualifier: &shape.qualifier,
        zone,
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
            let kind = aggregate(expr, |expr| simplify_input.simplify(expr)).map_err(internal)?;
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
            input: Arc::new(schema(&source.schema, &needed.columns, zone).map_err(internal)?),
            event_time: needed.event_time,
            dedup: needed.dedup,
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

fn keep<T>(result: Result<T, Fault>, faults: &mut Vec<Fault>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}

fn simplifier(schema: &DFSchemaRef) -> ExprSimplifier {
    ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(schema)).build())
}

fn zone_of<'a>(source: &'a SourceSettings, stream: &StreamSettings) -> &'a str {
    let event_time = source.schema.iter().find(|field| field.name == stream.event_time);
    match event_time.map(|field| &field.kind) {
        Some(FieldKind::Timestamp { zone, .. }) => zone.name(),
        _ => "UTC",
    }
}

fn instant(name: &str, zone: &str) -> ArrowField {
    ArrowField::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())), false)
}

fn schema(fields: &[Field], columns: &[usize], zone: &str) -> Result<DFSchema, DataFusionError> {
    let decoded = columns.iter().map(|i| ArrowField::new(&fields[*i].name, fields[*i].kind.arrow_type(), true));
    let bounds = [instant(WINDOW_START, zone), instant(WINDOW_END, zone)];
    DFSchema::from_unqualified_fields(ArrowFields::from_iter(decoded.chain(bounds)), HashMap::new())
}

fn condition(translator: &mut Translator<'_>, expr: &ast::Expr) -> Result<Operand, Fault> {
    let operand = translator.translate(expr)?;
    let span = operand.span;
    Ok(Operand { expr: translator.condition(operand)?, span })
}

fn only_window(text: &SqlText, shape: &Shape, event_time: &str) -> Result<WindowSpec, Fault> {
    let mut calls = shape.groups.iter().filter_map(window::call);
    let form = format!("add GROUP BY window({event_time}, '5 minutes')");
    let Some(first) = calls.next() else {
        let place = match shape.groups.first() {
            Some(group) => group.span(),
            None => shape.items.first().map_or(Span::empty(), |item| item.span),
        };
        let message = "the query does not group by a window, so a stream would never finish a row of it";
        return Err(text.fault(place, message).hint(form));
    };
    if let Some(second) = calls.next() {
        return Err(text.fault(second.name.span(), "the query groups by two windows").hint("write a second pipeline"));
    }
    window::read(text, first, event_time, &shape.qualifier)
}

fn read_keys(translator: &mut Translator<'_>, shape: &Shape, faults: &mut Vec<Fault>) -> Vec<Expr> {
    translator.clause = Clause::GroupBy;
    let mut keys: Vec<Expr> = Vec::new();
    for group in shape.groups.iter().filter(|group| window::call(group).is_none()) {
        let uses = translator.uses.len();
        let key = named_item(translator, shape, group).and_then(|expr| translator.translate(expr)).and_then(|key| {
            let data_type = translator.type_of(&key)?;
            match spark_type(&data_type) {
                Some(_) => Ok(key.expr),
                None => Err(translator.fault(key.span, format!("rows cannot be grouped by {data_type}"))),
            }
        });
        // A use in GROUP BY is never a stray one.
        translator.uses.truncate(uses);
        match keep(key, faults) {
            Some(key) if !keys.contains(&key) => keys.push(key),
            _ => {}
        }
    }
    keys
}

/// As in Spark, GROUP BY may name an item of the SELECT list by its number, or by its name where no column has it.
fn named_item<'a>(translator: &Translator<'_>, shape: &'a Shape, group: &'a ast::Expr) -> Result<&'a ast::Expr, Fault> {
    match group {
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), span }) => {
            let item = digits.parse::<usize>().ok().and_then(|n| shape.items.get(n.checked_sub(1)?));
            let wrong = || translator.fault(*span, format!("the SELECT list has no item {digits}"));
            item.map(|item| &item.expr).ok_or_else(wrong)
        }
        ast::Expr::Identifier(ident) => {
            let same = |name: &str| name.eq_ignore_ascii_case(&ident.value);
            let is_field = translator.schema.fields().iter().any(|field| same(field.name()));
            let item = shape.items.iter().find(|item| item.aliased && same(&item.name));
            Ok(item.filter(|_| !is_field).map_or(group, |item| &item.expr))
        }
        _ => Ok(group),
    }
}

/// An item of the SELECT list over rows and aggregates.
struct OutputColumn {
    name: String,
    aliased: bool,
    expr: Expr,
    span: Span,
}

fn read_items(translator: &mut Translator<'_>, items: &[Item], faults: &mut Vec<Fault>) -> Vec<OutputColumn> {
    translator.clause = Clause::Select;
    let mut seen = BTreeSet::new();
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        if !seen.insert(item.name.to_lowercase()) {
            let fault = translator.fault(item.span, format!("the result has two columns called \"{}\"", item.name));
            faults.push(fault.hint("name one of them with AS; SQL ignores the letter case of names"));
        }
        if let Some(operand) = keep(translator.translate(&item.expr), faults) {
            let Operand { expr, span } = operand;
            out.push(OutputColumn { name: item.name.clone(), aliased: item.aliased, expr, span });
        }
    }
    out
}

fn column_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

fn aggregate_name(index: usize) -> String {
    format!("__agg{index}")
}

/// A correction computes a window again from its rows; a register needs the readings before them too.
fn refuse_correction(text: &SqlText, faults: &mut Vec<Fault>) {
    use sqlparser::tokenizer::Token;
    for token in &text.tokens {
        let Token::Word(word) = &token.token else { continue };
        let name = word.value.to_ascii_lowercase();
        if ["increase", "resets", "jumps"].contains(&name.as_str()) {
            let message = format!(
                "{name} cannot be used with late = \"correct\": a late reading changes the steps of the windows after it"
            );
            faults.push(text.fault(token.span, message).hint("use late = \"dead-letter\" and a longer watermark"));
            return;
        }
        if name == "having" {
            let message = "HAVING cannot be used with late = \"correct\": a correction that leaves no row would leave the old file";
            faults.push(
                text.fault(token.span, message).hint("filter where the files are read, or use late = \"dead-letter\""),
            );
            return;
        }
    }
}

/// Collects the aggregates of the query and rewrites expressions over rows to expressions over groups.
struct GroupedExprs {
    over_rows: DFSchemaRef,
    /// Each key and the name of its column.
    keys: Vec<(Expr, String, DataType)>,
    aggregates: Vec<Expr>,
}

impl GroupedExprs {
    fn new(over_rows: &DFSchemaRef, keys: &[Expr]) -> Result<Self, DataFusionError> {
        let named = keys.iter().enumerate().map(|(i, key)| {
            let name = column_name(key).map_or_else(|| format!("__key{i}"), str::to_owned);
            Ok((key.clone(), name, key.get_type(over_rows.as_ref())?))
        });
        let keys = named.collect::<Result<_, DataFusionError>>()?;
        Ok(Self { over_rows: Arc::clone(over_rows), keys, aggregates: Vec::new() })
    }

    fn over(&mut self, expr: Expr) -> Result<Expr, DataFusionError> {
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
    fn stray(&self, text: &SqlText, expr: &Expr, uses: &[(String, Span)]) -> Option<Fault> {
        let known = |name: &str| name.starts_with("__") || self.keys.iter().any(|(_, key, _)| key == name);
        let mut stray: Vec<&str> =
            expr.column_refs().into_iter().map(|column| column.name.as_str()).filter(|name| !known(name)).collect();
        stray.sort_unstable();
        let name = *stray.first()?;
        let span = uses.iter().find(|(used, _)| used == name).map_or(Span::empty(), |(_, span)| *span);
        let fault = text.fault(span, format!("the column \"{name}\" is neither grouped by nor inside an aggregate"));
        Some(fault.hint(format!("add {name} to GROUP BY, or write sum({name}), max({name}) or the like")))
    }

    fn schema(&self, zone: &str) -> Result<DFSchemaRef, DataFusionError> {
        let bounds = [instant(WINDOW_START, zone), instant(WINDOW_END, zone)];
        let keys = self.keys.iter().map(|(_, name, data_type)| ArrowField::new(name, data_type.clone(), true));
        let mut fields: Vec<ArrowField> = bounds.into_iter().chain(keys).collect();
        for (i, aggregate) in self.aggregates.iter().enumerate() {
            let (_, field) = aggregate.to_field(self.over_rows.as_ref())?;
            fields.push(ArrowField::new(aggregate_name(i), field.data_type().clone(), field.is_nullable()));
        }
        Ok(Arc::new(DFSchema::from_unqualified_fields(fields.into(), HashMap::new())?))
    }
}

fn aggregate(
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

fn arguments(aggregates: &[Aggregate]) -> impl Iterator<Item = &Expr> {
    aggregates.iter().flat_map(|aggregate| match &aggregate.kind {
        AggregateKind::Function { args, filter, .. } => args.iter().chain(filter).collect::<Vec<_>>(),
        AggregateKind::Increase { register, .. }
        | AggregateKind::Resets { register }
        | AggregateKind::Jumps { register, .. } => vec![register],
    })
}

/// The fields that have to be decoded, and where two kinds of them stand among those.
struct Needed {
    columns: Vec<usize>,
    event_time: usize,
    dedup: Vec<usize>,
}

impl Needed {
    fn of<'a>(source: &SourceSettings, stream: &StreamSettings, exprs: impl Iterator<Item = &'a Expr>) -> Self {
        let dedup_names: &[String] = match &stream.dedup {
            DedupSettings::Fields(names) => names,
            DedupSettings::Off | DedupSettings::Value => &[],
        };
        let mut names: BTreeSet<&str> = dedup_names.iter().map(String::as_str).collect();
        names.insert(&stream.event_time);
        for expr in exprs {
            names.extend(expr.column_refs().into_iter().map(|column| column.name.as_str()));
        }
        let needed = |i: &usize| names.contains(source.schema[*i].name.as_str());
        let columns: Vec<usize> = (0..source.schema.len()).filter(needed).collect();
        let place = |name: &str| columns.iter().position(|i| source.schema[*i].name == name);
        let event_time = place(&stream.event_time).unwrap_or_default();
        let dedup = dedup_names.iter().filter_map(|name| place(name)).collect();
        Self { columns, event_time, dedup }
    }
}
