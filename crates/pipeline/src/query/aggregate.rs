//! The aggregate functions of the dialect, by Spark's names.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::{AggregateUDF, Expr, ScalarUDF, cast as cast_expr, lit, when};
use datafusion_functions_aggregate as df;
use sqlparser::tokenizer::Span;

use super::arguments::{Argument, check_arity};
use super::translator::{Clause, Operand, Translator, column};
use super::{MESSAGE_ORDER, cast};
use crate::file::Fault;
use crate::functions::{
    Choice, DoubleFunction, RegisterFunction, SAFE_DIGITS, decimal_sum, double, exact_sum, from_ordered_bits, register,
    row_choice, tuple,
};

/// An aggregate function under all its names.
pub(crate) struct Aggregation {
    names: &'static [&'static str],
    arity: (usize, usize),
    build: fn(&Translator<'_>, &str, Vec<Operand>, Span) -> Result<Built, Fault>,
}

/// What DataFusion computes, and the type that Spark gives the result where it differs.
struct Built {
    function: Arc<AggregateUDF>,
    args: Vec<Expr>,
    output: Option<DataType>,
    /// What is made of the result before that.
    after: Option<ScalarUDF>,
    /// Rows for which it is not true do not count, as with FILTER.
    only: Option<Expr>,
}

fn built(function: Arc<AggregateUDF>, args: Vec<Expr>) -> Result<Built, Fault> {
    Ok(Built { function, args, output: None, after: None, only: None })
}

const AGGREGATES: &[Aggregation] = &[
    row(&["count"], (1, usize::MAX), |t, _, args, _| {
        built(df::count::count_udaf(), combined(t, normalized(t, args)?)?)
    }),
    row(&["count_if"], (1, 1), count_if),
    row(&["sum"], (1, 1), sum),
    row(&["min"], (1, 1), |t, _, args, _| extreme(t, df::min_max::min_udaf(), args)),
    row(&["max"], (1, 1), |t, _, args, _| extreme(t, df::min_max::max_udaf(), args)),
    row(&["min_by"], (2, 2), |t, _, args, _| by("min_by", Choice::First, t, args)),
    row(&["max_by"], (2, 2), |t, _, args, _| by("max_by", Choice::Last, t, args)),
    row(&["first", "first_value", "any_value"], (1, 2), |t, _, args, _| by_time("first", Choice::First, t, args)),
    row(&["last", "last_value"], (1, 2), |t, _, args, _| by_time("last", Choice::Last, t, args)),
    row(&["avg", "mean"], (1, 1), |t, _, args, _| built(df::average::avg_udaf(), doubles(t, args)?)),
    row(&["stddev", "stddev_samp", "std"], (1, 1), |t, _, args, _| built(df::stddev::stddev_udaf(), doubles(t, args)?)),
    row(&["stddev_pop"], (1, 1), |t, _, args, _| built(df::stddev::stddev_pop_udaf(), doubles(t, args)?)),
    row(&["variance", "var_samp"], (1, 1), |t, _, args, _| built(df::variance::var_samp_udaf(), doubles(t, args)?)),
    row(&["var_pop"], (1, 1), |t, _, args, _| built(df::variance::var_pop_udaf(), doubles(t, args)?)),
    row(&["approx_count_distinct", "approx_distinct"], (1, 1), approx_distinct),
    row(&["median"], (1, 1), |t, _, args, _| {
        let mut args = doubles(t, args)?;
        args.push(lit(0.5));
        built(df::percentile_cont::percentile_cont_udaf(), args)
    }),
    row(&["percentile"], (2, 2), |t, name, args, _| {
        built(df::percentile_cont::percentile_cont_udaf(), percentile(t, name, args)?)
    }),
    row(&["percentile_approx", "approx_percentile"], (2, 2), |t, name, args, _| {
        built(df::approx_percentile_cont::approx_percentile_cont_udaf(), percentile(t, name, args)?)
    }),
    row(&["bool_and", "every"], (1, 1), |_, _, args, _| built(df::bool_and_or::bool_and_udaf(), plain(args))),
    row(&["bool_or", "any", "some"], (1, 1), |_, _, args, _| built(df::bool_and_or::bool_or_udaf(), plain(args))),
    row(&["increase"], (1, 2), |t, _, args, _| registers(t, RegisterFunction::Increase, args)),
    row(&["resets"], (1, 1), |t, _, args, _| registers(t, RegisterFunction::Resets, args)),
    row(&["jumps"], (2, 2), |t, _, args, _| registers(t, RegisterFunction::Jumps, args)),
];

const fn row(
    names: &'static [&'static str],
    arity: (usize, usize),
    build: fn(&Translator<'_>, &str, Vec<Operand>, Span) -> Result<Built, Fault>,
) -> Aggregation {
    Aggregation { names, arity, build }
}

/// The aggregate called `name`, in lower case.
pub(crate) fn find(name: &str) -> Option<&'static Aggregation> {
    AGGREGATES.iter().find(|aggregation| aggregation.names.contains(&name))
}

/// Every name.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    AGGREGATES.iter().flat_map(|aggregation| aggregation.names.iter().copied())
}

/// What stands around the arguments of a call.
pub(crate) struct AggregateCall<'a> {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<&'a sqlparser::ast::Expr>,
    pub(crate) ignore_nulls: bool,
}

/// Whether IGNORE NULLS may follow a call of `name`, in lower case.
pub(crate) fn takes_null_treatment(name: &str) -> bool {
    ["first", "first_value", "any_value", "last", "last_value"].contains(&name)
}

/// Translates a call; its arguments may not hold aggregates themselves.
pub(crate) fn translate(
    translator: &mut Translator<'_>,
    found: &Aggregation,
    call: AggregateCall<'_>,
    args: &[Argument<'_>],
) -> Result<Expr, Fault> {
    if !translator.clause.sees_groups() {
        let (name, span) = (&call.name, call.span);
        let (place, hint) = match translator.clause {
            Clause::Where => ("WHERE", "filter groups with HAVING"),
            Clause::Argument => ("the argument of another aggregate", "write a second pipeline over the first's files"),
            _ => ("GROUP BY", "rows are grouped before they are aggregated"),
        };
        return Err(translator.fault(span, format!("the aggregate {name} cannot be used in {place}")).hint(hint));
    }
    let clause = std::mem::replace(&mut translator.clause, Clause::Argument);
    let result = inside(translator, found, &call, args);
    translator.clause = clause;
    result
}

fn inside(
    translator: &mut Translator<'_>,
    found: &Aggregation,
    call: &AggregateCall<'_>,
    args: &[Argument<'_>],
) -> Result<Expr, Fault> {
    let AggregateCall { name, span, distinct, filter, ignore_nulls } = call;
    let (name, span, distinct) = (name.as_str(), *span, *distinct);
    let mut operands = Vec::with_capacity(args.len());
    for arg in args {
        operands.push(match arg {
            Argument::Expr(expr) => translator.translate(expr)?,
            Argument::Star if name == "count" && !distinct => Operand { expr: lit(1_i64), span },
            Argument::Star => return Err(translator.fault(span, format!("{name}(*) is not supported"))),
        });
    }
    if distinct && name != "count" {
        let fault = translator.fault(span, format!("{name}(DISTINCT …) is not supported"));
        return Err(
            fault.hint("only count(DISTINCT x) is supported; duplicates of messages are dropped by [stream] dedup")
        );
    }
    if *ignore_nulls && operands.len() == 1 {
        operands.push(Operand { expr: lit(true), span });
    }
    check_arity(translator, name, span, operands.len(), found.arity)?;
    let Built { function, args, output, after, only } = (found.build)(translator, name, operands, span)?;
    let filter = match filter {
        Some(filter) if RegisterFunction::of(&function).is_some() => {
            let fault = translator.fault(sqlparser::ast::Spanned::span(*filter), format!("{name} takes no FILTER"));
            return Err(fault.hint("the previous reading must be one that counts too: filter with WHERE"));
        }
        Some(filter) => {
            let filter = translator.translate(filter)?;
            Some(Box::new(translator.condition(filter)?))
        }
        None => None,
    };
    let filter = match (filter, only) {
        (Some(filter), Some(only)) => Some(Box::new(filter.and(only))),
        (filter, only) => filter.or(only.map(Box::new)),
    };
    let call = AggregateFunction::new_udf(function, args, distinct, filter, Vec::new(), None);
    let call = translator.coerced(Expr::AggregateFunction(call), span)?.expr;
    let call = match after {
        Some(after) => after.call(vec![call]),
        None => call,
    };
    Ok(match output {
        Some(output) => cast_expr(call, output),
        None => call,
    })
}

/// The least or the largest: of doubles by their ordered bits, since Spark's largest number is NaN.
fn extreme(t: &Translator<'_>, function: Arc<AggregateUDF>, args: Vec<Operand>) -> Result<Built, Fault> {
    let mut is_double = false;
    for arg in &args {
        is_double |= t.type_of(arg)? == DataType::Float64;
    }
    if !is_double {
        return built(function, plain(args));
    }
    let args = plain(args).into_iter().map(|arg| double(DoubleFunction::OrderedBits).call(vec![arg])).collect();
    Ok(Built { function, args, output: None, after: Some(from_ordered_bits()), only: None })
}

/// The arguments, with one form of each double that Spark takes for one.
fn normalized(t: &Translator<'_>, args: Vec<Operand>) -> Result<Vec<Operand>, Fault> {
    let one = |arg: Operand| {
        let expr = match t.type_of(&arg)? {
            DataType::Float64 => double(DoubleFunction::Normalized).call(vec![arg.expr]),
            _ => arg.expr,
        };
        Ok(Operand { expr, span: arg.span })
    };
    args.into_iter().map(one).collect()
}

/// Several arguments as one, since a row counts whose arguments are all not null.
fn combined(t: &Translator<'_>, args: Vec<Operand>) -> Result<Vec<Expr>, Fault> {
    if args.len() < 2 {
        return Ok(plain(args));
    }
    let texts = args.into_iter().map(|arg| cast::to_text(t, arg)).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![tuple().call(texts)])
}

/// `min_by(x, y)` and `max_by(x, y)`: of rows with equal `y`, the first or last message.
fn by(name: &'static str, choice: Choice, t: &Translator<'_>, args: Vec<Operand>) -> Result<Built, Fault> {
    let mut args = args.into_iter();
    let (Some(value), Some(rank)) = (args.next(), args.next()) else {
        return built(row_choice(name, choice, 2), Vec::new());
    };
    let is_double = t.type_of(&rank)? == DataType::Float64;
    let rank = if is_double { double(DoubleFunction::OrderedBits).call(vec![rank.expr]) } else { rank.expr };
    let args = [value.expr, rank].into_iter().chain(message_order(t)).collect();
    built(row_choice(name, choice, 2), args)
}

/// `first(x)` and `last(x)`, by event time; of one event time by topic, partition and offset.
fn by_time(name: &'static str, choice: Choice, t: &Translator<'_>, args: Vec<Operand>) -> Result<Built, Fault> {
    let mut args = args.into_iter();
    let Some(value) = args.next() else { return built(row_choice(name, choice, 1), Vec::new()) };
    let skips_nulls = match args.next() {
        None => false,
        Some(Operand { expr: Expr::Literal(ScalarValue::Boolean(Some(skips)), _), .. }) => skips,
        Some(other) => return Err(t.fault(other.span, "whether nulls are skipped must be true or false")),
    };
    let only = skips_nulls.then(|| value.expr.clone().is_not_null());
    let args = std::iter::once(value.expr).chain(message_order(t)).collect();
    Ok(Built { only, ..built(row_choice(name, choice, 1), args)? })
}

/// The order of messages: by event time, then by topic, partition and offset. No two messages share a place.
fn message_order(t: &Translator<'_>) -> impl Iterator<Item = Expr> {
    std::iter::once(column(t.event_time)).chain(MESSAGE_ORDER.map(column))
}

fn plain(args: Vec<Operand>) -> Vec<Expr> {
    args.into_iter().map(|arg| arg.expr).collect()
}

fn doubles(t: &Translator<'_>, args: Vec<Operand>) -> Result<Vec<Expr>, Fault> {
    args.into_iter()
        .map(|arg| {
            refuse_text(t, &arg)?;
            cast::to_double(t, arg)
        })
        .collect()
}

fn refuse_text(t: &Translator<'_>, arg: &Operand) -> Result<(), Fault> {
    if !cast::is_text(&t.type_of(arg)?) {
        return Ok(());
    }
    let written = t.text.between(arg.span);
    let fault = t.fault(arg.span, format!("\"{written}\" is a string, not a number"));
    Err(fault.hint("declare the field as a number in [source.schema], so that text in it is found"))
}

fn count_if(t: &Translator<'_>, _: &str, args: Vec<Operand>, span: Span) -> Result<Built, Fault> {
    let condition = args.into_iter().next().ok_or_else(|| t.fault(span, "count_if takes 1 argument"))?;
    let condition = t.condition(condition)?;
    let counted = when(condition, lit(1_i64)).end().map_err(|error| t.rejected(span, error))?;
    built(df::count::count_udaf(), vec![counted])
}

fn sum(t: &Translator<'_>, _: &str, args: Vec<Operand>, span: Span) -> Result<Built, Fault> {
    let arg = args.into_iter().next().ok_or_else(|| t.fault(span, "sum takes 1 argument"))?;
    refuse_text(t, &arg)?;
    match t.type_of(&arg)? {
        DataType::Int32 | DataType::Int64 => built(exact_sum(), vec![cast::to_long(t, arg)?]),
        DataType::Decimal128(digits, _) if digits > SAFE_DIGITS => built(decimal_sum(), vec![arg.expr]),
        DataType::Decimal128(..) => built(df::sum::sum_udaf(), vec![arg.expr]),
        _ => built(df::sum::sum_udaf(), vec![cast::to_double(t, arg)?]),
    }
}

fn approx_distinct(t: &Translator<'_>, _: &str, args: Vec<Operand>, span: Span) -> Result<Built, Fault> {
    let arg = args.into_iter().next().ok_or_else(|| t.fault(span, "it takes 1 argument"))?;
    let expr = match t.type_of(&arg)? {
        DataType::Int32 | DataType::Int64 | DataType::Timestamp(..) => arg.expr,
        _ => cast::to_text(t, arg)?,
    };
    let function = df::approx_distinct::approx_distinct_udaf();
    Ok(Built { function, args: vec![expr], output: Some(DataType::Int64), after: None, only: None })
}

fn percentile(t: &Translator<'_>, name: &str, args: Vec<Operand>) -> Result<Vec<Expr>, Fault> {
    let mut args = args.into_iter();
    let (Some(value), Some(share)) = (args.next(), args.next()) else { return Ok(Vec::new()) };
    let constant = match cast::to_double(t, share.clone())? {
        Expr::Literal(ScalarValue::Float64(Some(share)), _) if (0.0..=1.0).contains(&share) => lit(share),
        _ => return Err(t.fault(share.span, format!("the share of {name} must be a constant from 0 to 1"))),
    };
    let mut out = doubles(t, vec![value])?;
    out.push(constant);
    Ok(out)
}

fn registers(t: &Translator<'_>, function: RegisterFunction, args: Vec<Operand>) -> Result<Built, Fault> {
    let mut args = args.into_iter();
    let Some(reading) = args.next() else { return built(register(function), Vec::new()) };
    if !matches!(t.type_of(&reading)?, DataType::Int32 | DataType::Int64) {
        let message = format!("the register of {} must be an int or a long", function.name());
        return Err(t.fault(reading.span, message));
    }
    let mut out = vec![cast::to_long(t, reading)?];
    if let Some(cap) = args.next() {
        match cast::to_long(t, cap.clone())? {
            Expr::Literal(ScalarValue::Int64(Some(value)), _) if value > 0 => out.push(lit(value)),
            _ => {
                let message = format!("the cap of {} must be a constant integer above 0", function.name());
                return Err(t.fault(cap.span, message));
            }
        }
    }
    built(register(function), out)
}
