//! The scalar functions of the dialect, by Spark's names.

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Operator, binary_expr, cast as cast_expr, lit, try_cast, when};
use datafusion_functions::{core, datetime, math, regex, string, unicode};

use super::arguments::Call;
use super::cast;
use super::common_type::{common, comparable, unified, unified_pair};
use super::operator;
use super::translator::{Operand, Translator};
use crate::file::Fault;
use crate::functions::{
    DoubleFunction, LocalTimeSource, TimeUnitName, date_format, double, local_time, substring, truncated,
};
use crate::timestamp::TimestampPattern;
use turnstile_values::suggest;

/// A function under all its names.
pub(crate) struct Scalar {
    pub(crate) names: &'static [&'static str],
    /// Least and most arguments.
    pub(crate) arity: (usize, usize),
    pub(crate) build: fn(&Translator<'_>, Call) -> Result<Expr, Fault>,
}

const fn row(
    names: &'static [&'static str],
    arity: (usize, usize),
    build: fn(&Translator<'_>, Call) -> Result<Expr, Fault>,
) -> Scalar {
    Scalar { names, arity, build }
}

/// All of them. Names that end in `_of` cannot be written: they stand for `trim(LEADING … FROM …)`.
pub(crate) const SCALARS: &[Scalar] = &[
    // Text.
    row(&["upper", "ucase"], (1, 1), |t, c| Ok(string::upper().call(texts(t, c)?))),
    row(&["lower", "lcase"], (1, 1), |t, c| Ok(string::lower().call(texts(t, c)?))),
    row(&["trim", "btrim"], (1, 2), |t, c| Ok(string::btrim().call(texts(t, c)?))),
    row(&["ltrim"], (1, 1), |t, c| Ok(string::ltrim().call(texts(t, c)?))),
    row(&["rtrim"], (1, 1), |t, c| Ok(string::rtrim().call(texts(t, c)?))),
    row(&["ltrim_of"], (1, 2), |t, c| Ok(string::ltrim().call(texts(t, c)?))),
    row(&["rtrim_of"], (1, 2), |t, c| Ok(string::rtrim().call(texts(t, c)?))),
    row(&["substring", "substr"], (2, 3), |t, c| Ok(substring().call(text_then_longs(t, c)?))),
    row(&["left"], (2, 2), left),
    row(&["right"], (2, 2), right),
    row(&["length", "len", "char_length", "character_length"], (1, 1), |t, c| {
        Ok(unicode::character_length().call(texts(t, c)?))
    }),
    row(&["replace"], (3, 3), |t, c| Ok(string::replace().call(texts(t, c)?))),
    row(&["translate"], (3, 3), |t, c| Ok(unicode::translate().call(texts(t, c)?))),
    row(&["split_part"], (3, 3), split_part),
    row(&["lpad"], (2, 3), |t, c| Ok(unicode::lpad().call(pad_args(t, c)?))),
    row(&["rpad"], (2, 3), |t, c| Ok(unicode::rpad().call(pad_args(t, c)?))),
    row(&["repeat"], (2, 2), |t, c| Ok(string::repeat().call(text_then_longs(t, c)?))),
    row(&["reverse"], (1, 1), |t, c| Ok(unicode::reverse().call(texts(t, c)?))),
    row(&["concat"], (1, usize::MAX), |t, c| operator::concat(t, c.args)),
    row(&["concat_ws"], (2, usize::MAX), |t, c| Ok(string::concat_ws().call(texts(t, c)?))),
    row(&["startswith"], (2, 2), |t, c| Ok(string::starts_with().call(texts(t, c)?))),
    row(&["endswith"], (2, 2), |t, c| Ok(string::ends_with().call(texts(t, c)?))),
    row(&["contains"], (2, 2), |t, c| Ok(string::contains().call(texts(t, c)?))),
    row(&["instr"], (2, 2), |t, c| Ok(unicode::strpos().call(texts(t, c)?))),
    row(&["position", "locate"], (2, 3), locate),
    row(&["regexp_like", "regexp", "rlike"], (2, 2), |t, c| Ok(regex::regexp_like().call(texts(t, c)?))),
    // Conditions and nulls.
    row(&["if"], (3, 3), |t, c| {
        let [condition, yes, no] = three(t, c)?;
        let span = condition.span;
        let (yes, no) = unified_pair(t, yes, no)?;
        branch(t, t.condition(condition)?, yes, Some(no), span)
    }),
    row(&["nullif"], (2, 2), |t, c| {
        let [a, b] = two(t, c)?;
        let (span, kept) = (a.span, a.expr.clone());
        let equal = operator::compare(t, a, Operator::Eq, b)?;
        branch(t, Expr::Not(Box::new(equal.is_true())), kept, None, span)
    }),
    row(&["coalesce"], (1, usize::MAX), |t, c| Ok(core::coalesce().call(unified(t, c.args)?))),
    row(&["nvl", "ifnull"], (2, 2), |t, c| Ok(core::coalesce().call(unified(t, c.args)?))),
    row(&["nvl2"], (3, 3), |t, c| {
        let [tested, yes, no] = three(t, c)?;
        let (yes, no) = unified_pair(t, yes, no)?;
        branch(t, tested.expr.is_not_null(), yes, Some(no), tested.span)
    }),
    row(&["isnull"], (1, 1), |t, c| Ok(one(t, c)?.expr.is_null())),
    row(&["isnotnull"], (1, 1), |t, c| Ok(one(t, c)?.expr.is_not_null())),
    row(&["greatest"], (2, usize::MAX), |t, c| Ok(core::greatest().call(ordered(t, c)?))),
    row(&["least"], (2, usize::MAX), |t, c| Ok(core::least().call(ordered(t, c)?))),
    // Numbers.
    row(&["abs"], (1, 1), |_, c| Ok(math::abs().call(plain(c)))),
    row(&["ceil", "ceiling"], (1, 1), |t, c| whole(t, c, DoubleFunction::Ceiling)),
    row(&["floor"], (1, 1), |t, c| whole(t, c, DoubleFunction::Floor)),
    row(&["round"], (1, 2), round),
    row(&["sqrt"], (1, 1), |t, c| Ok(double(DoubleFunction::SquareRoot).call(doubles(t, c)?))),
    row(&["exp"], (1, 1), |t, c| Ok(math::exp().call(doubles(t, c)?))),
    row(&["power", "pow"], (2, 2), |t, c| Ok(double(DoubleFunction::Power).call(doubles(t, c)?))),
    row(&["sign", "signum"], (1, 1), |t, c| Ok(double(DoubleFunction::Sign).call(doubles(t, c)?))),
    row(&["ln"], (1, 1), |t, c| logarithm(t, c, |x| math::ln().call(vec![x]))),
    row(&["log10"], (1, 1), |t, c| logarithm(t, c, |x| math::log10().call(vec![x]))),
    row(&["log2"], (1, 1), |t, c| logarithm(t, c, |x| math::log2().call(vec![x]))),
    row(&["mod"], (2, 2), |t, c| {
        let span = c.span;
        let [a, b] = two(t, c)?;
        operator::binary(t, a, &sqlparser::ast::BinaryOperator::Modulo, b, span)
    }),
    row(&["try_divide"], (2, 2), |t, c| {
        let [a, b] = two(t, c)?;
        operator::divide(t, a, b)
    }),
    // Time.
    row(&["date_format"], (2, 2), format_date),
    row(&["year"], (1, 1), |t, c| part(t, c, "year")),
    row(&["quarter"], (1, 1), |t, c| part(t, c, "quarter")),
    row(&["month"], (1, 1), |t, c| part(t, c, "month")),
    row(&["weekofyear"], (1, 1), |t, c| part(t, c, "week")),
    row(&["day", "dayofmonth"], (1, 1), |t, c| part(t, c, "day")),
    row(&["dayofyear"], (1, 1), |t, c| part(t, c, "doy")),
    row(&["dayofweek"], (1, 1), |t, c| Ok(part(t, c, "dow")? + lit(1_i32))),
    row(&["weekday"], (1, 1), |t, c| Ok((part(t, c, "dow")? + lit(6_i32)) % lit(7_i32))),
    row(&["hour"], (1, 1), |t, c| part(t, c, "hour")),
    row(&["minute"], (1, 1), |t, c| part(t, c, "minute")),
    row(&["second"], (1, 1), |t, c| part(t, c, "second")),
    row(&["date_trunc"], (2, 2), date_trunc),
    row(&["date"], (1, 1), |t, c| cast_to(t, c, &DataType::Date32)),
    row(&["to_date"], (1, 2), |t, c| {
        let operand = by_pattern(t, c, false)?;
        cast::cast(t, operand, &DataType::Date32, false)
    }),
    row(&["timestamp"], (1, 1), |t, c| cast::to_timestamp(t, one(t, c)?)),
    row(&["to_timestamp"], (1, 2), |t, c| {
        let operand = by_pattern(t, c, false)?;
        cast::to_timestamp(t, operand)
    }),
    row(&["try_to_timestamp"], (2, 2), |t, c| Ok(by_pattern(t, c, true)?.expr)),
    row(&["unix_seconds"], (1, 1), |t, c| {
        let operand = one(t, c)?;
        let span = operand.span;
        let instant = Operand { expr: cast::to_timestamp(t, operand)?, span };
        cast::cast(t, instant, &DataType::Int64, false)
    }),
    row(&["unix_timestamp", "to_unix_timestamp"], (1, 2), |t, c| {
        let operand = by_pattern(t, c, false)?;
        Ok(cast::whole_seconds(cast::to_timestamp(t, operand)?))
    }),
    // Casts that are written as calls.
    row(&["string"], (1, 1), |t, c| cast_to(t, c, &DataType::Utf8View)),
    row(&["int"], (1, 1), |t, c| cast_to(t, c, &DataType::Int32)),
    row(&["bigint"], (1, 1), |t, c| cast_to(t, c, &DataType::Int64)),
    row(&["double"], (1, 1), |t, c| cast_to(t, c, &DataType::Float64)),
    row(&["boolean"], (1, 1), |t, c| cast_to(t, c, &DataType::Boolean)),
];

fn wrong_count(t: &Translator<'_>, name: &str, span: sqlparser::tokenizer::Span) -> Fault {
    t.fault(span, format!("{name} was called with the wrong number of arguments"))
}

fn one(t: &Translator<'_>, call: Call) -> Result<Operand, Fault> {
    let Call { name, span, args } = call;
    let [a] = <[Operand; 1]>::try_from(args).map_err(|_| wrong_count(t, &name, span))?;
    Ok(a)
}

fn two(t: &Translator<'_>, call: Call) -> Result<[Operand; 2], Fault> {
    let Call { name, span, args } = call;
    args.try_into().map_err(|_| wrong_count(t, &name, span))
}

fn three(t: &Translator<'_>, call: Call) -> Result<[Operand; 3], Fault> {
    let Call { name, span, args } = call;
    args.try_into().map_err(|_| wrong_count(t, &name, span))
}

fn plain(call: Call) -> Vec<Expr> {
    call.args.into_iter().map(|arg| arg.expr).collect()
}

fn texts(t: &Translator<'_>, call: Call) -> Result<Vec<Expr>, Fault> {
    call.args.into_iter().map(|arg| cast::to_text(t, arg)).collect()
}

fn doubles(t: &Translator<'_>, call: Call) -> Result<Vec<Expr>, Fault> {
    call.args.into_iter().map(|arg| cast::to_double(t, arg)).collect()
}

fn text_then_longs(t: &Translator<'_>, call: Call) -> Result<Vec<Expr>, Fault> {
    let mut args = call.args.into_iter();
    let text = args.next().map(|arg| cast::to_text(t, arg));
    text.into_iter().chain(args.map(|arg| cast::to_long(t, arg))).collect()
}

fn pad_args(t: &Translator<'_>, call: Call) -> Result<Vec<Expr>, Fault> {
    let cast_arg = |(i, arg)| if i == 1 { cast::to_long(t, arg) } else { cast::to_text(t, arg) };
    call.args.into_iter().enumerate().map(cast_arg).collect()
}

fn split_part(t: &Translator<'_>, call: Call) -> Result<Expr, Fault> {
    let [text, delimiter, number] = three(t, call)?;
    let args = vec![cast::to_text(t, text)?, cast::to_text(t, delimiter)?, cast::to_long(t, number)?];
    Ok(string::split_part().call(args))
}

/// The place of a text in another, from 1, at or after a start; 0 where it is not, and where the start is null or below 1.
fn locate(t: &Translator<'_>, call: Call) -> Result<Expr, Fault> {
    let span = call.span;
    let mut args = call.args.into_iter();
    let (Some(wanted), Some(text)) = (args.next(), args.next()) else {
        return Err(wrong_count(t, &call.name, span));
    };
    let (wanted, text) = (cast::to_text(t, wanted)?, cast::to_text(t, text)?);
    let place = |text: Expr| cast_expr(unicode::strpos().call(vec![text, wanted.clone()]), DataType::Int32);
    let Some(start) = args.next() else { return Ok(place(text)) };
    let start = cast::to_long(t, start)?;
    let is_early = binary_expr(start.clone(), Operator::Lt, lit(1_i64));
    // Constants are computed in all branches: what is left before the text must fit.
    let from = branch(t, is_early.clone(), lit(1_i64), Some(start.clone()), span)?;
    let found = place(substring().call(vec![text.clone(), from.clone()]));
    let before = try_cast(from - lit(1_i64), DataType::Int32);
    let moved = branch(
        t,
        binary_expr(found.clone(), Operator::Gt, lit(0_i32)),
        binary_expr(found.clone(), Operator::Plus, before),
        Some(found),
        span,
    )?;
    // An empty text is at once everywhere.
    let is_empty = binary_expr(wanted.clone(), Operator::Eq, lit(ScalarValue::Utf8View(Some(String::new()))));
    let known = text.clone().is_not_null().and(wanted.is_not_null());
    let early = branch(t, known, lit(0_i32), None, span)?;
    let moved = branch(t, is_empty.and(text.is_not_null()), lit(1_i32), Some(moved), span)?;
    let placed = branch(t, is_early, early, Some(moved), span)?;
    branch(t, start.is_null(), lit(0_i32), Some(placed), span)
}

/// Values of one type, to be compared.
fn ordered(t: &Translator<'_>, call: Call) -> Result<Vec<Expr>, Fault> {
    let common = common(t, &call.args)?;
    call.args.into_iter().map(|arg| comparable(t, arg, &common)).collect()
}

/// A time that is written by a pattern, when the call gives one; else its argument as it is.
fn by_pattern(t: &Translator<'_>, call: Call, safe: bool) -> Result<Operand, Fault> {
    let span = call.span;
    if call.args.len() == 1 {
        return one(t, call);
    }
    let [text, pattern] = two(t, call)?;
    let written = constant_text(t, &pattern)?;
    let parsed = TimestampPattern::parse(&written).and_then(|parsed| parsed.check_readable().map(|()| parsed));
    let source = LocalTimeSource::Text { pattern: parsed.map_err(|m| t.fault(pattern.span, m))?, safe };
    match t.type_of(&text)? {
        // Spark ignores the pattern for what is a time already.
        DataType::Timestamp(..) | DataType::Date32 => Ok(text),
        _ => Ok(Operand { expr: local_time(source, t.zone()).call(vec![cast::to_text(t, text)?]), span }),
    }
}

fn left(t: &Translator<'_>, call: Call) -> Result<Expr, Fault> {
    let [text, length] = two(t, call)?;
    Ok(substring().call(vec![cast::to_text(t, text)?, lit(1_i64), cast::to_long(t, length)?]))
}

fn right(t: &Translator<'_>, call: Call) -> Result<Expr, Fault> {
    let [text, length] = two(t, call)?;
    let span = length.span;
    let length = cast::to_long(t, length)?;
    let text = cast::to_text(t, text)?;
    let tail = substring().call(vec![text.clone(), Expr::Negative(Box::new(length.clone()))]);
    let nothing = branch(t, text.is_not_null(), lit(ScalarValue::Utf8View(Some(String::new()))), None, span)?;
    branch(t, binary_expr(length, Operator::LtEq, lit(0_i64)), nothing, Some(tail), span)
}

fn branch(
    t: &Translator<'_>,
    condition: Expr,
    yes: Expr,
    no: Option<Expr>,
    span: sqlparser::tokenizer::Span,
) -> Result<Expr, Fault> {
    let mut builder = when(condition, yes);
    let built = match no {
        Some(no) => builder.otherwise(no),
        None => builder.end(),
    };
    built.map_err(|error| t.rejected(span, error))
}

/// The nearest integer on one side, as a bigint.
fn whole(t: &Translator<'_>, call: Call, round: DoubleFunction) -> Result<Expr, Fault> {
    let operand = one(t, call)?;
    match t.type_of(&operand)? {
        DataType::Int32 | DataType::Int64 => cast::to_long(t, operand),
        _ => Ok(double(round).call(vec![cast::to_double(t, operand)?])),
    }
}

/// Half away from zero, by the decimal text of the number, as Spark's `round`; always a double.
fn round(t: &Translator<'_>, call: Call) -> Result<Expr, Fault> {
    let mut args = call.args.into_iter();
    let number = args.next().map(|arg| cast::to_double(t, arg));
    let places = args.next().map_or(Ok(lit(0_i64)), |arg| cast::to_long(t, arg));
    Ok(double(DoubleFunction::Round).call(number.into_iter().chain([places]).collect::<Result<_, _>>()?))
}

/// Null where Spark gives null: at zero and below.
fn logarithm(t: &Translator<'_>, call: Call, function: impl Fn(Expr) -> Expr) -> Result<Expr, Fault> {
    let operand = one(t, call)?;
    let span = operand.span;
    let number = cast::to_double(t, operand)?;
    branch(t, binary_expr(number.clone(), Operator::Gt, lit(0.0)), function(number), None, span)
}

fn cast_to(t: &Translator<'_>, call: Call, to: &DataType) -> Result<Expr, Fault> {
    cast::cast(t, one(t, call)?, to, false)
}

/// A part of a date or of an instant's local time, as an int.
fn part(t: &Translator<'_>, call: Call, name: &str) -> Result<Expr, Fault> {
    let operand = one(t, call)?;
    let time = match t.type_of(&operand)? {
        DataType::Date32 => operand.expr,
        _ => cast::to_timestamp(t, operand)?,
    };
    Ok(datetime::date_part().call(vec![lit(name), time]))
}

fn date_trunc(t: &Translator<'_>, call: Call) -> Result<Expr, Fault> {
    let [unit, time] = two(t, call)?;
    let word = constant_text(t, &unit)?.to_lowercase();
    let unit = match word.as_str() {
        "year" | "yyyy" | "yy" => TimeUnitName::Year,
        "quarter" => TimeUnitName::Quarter,
        "month" | "mm" | "mon" => TimeUnitName::Month,
        "week" => TimeUnitName::Week,
        "day" | "dd" => TimeUnitName::Day,
        "hour" => TimeUnitName::Hour,
        "minute" => TimeUnitName::Minute,
        "second" => TimeUnitName::Second,
        "millisecond" => TimeUnitName::Millisecond,
        "microsecond" => TimeUnitName::Microsecond,
        _ => {
            let known = ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond"];
            return Err(t.fault(unit.span, format!("date_trunc has no unit \"{word}\"")).hint(suggest(&word, known)));
        }
    };
    Ok(truncated(unit, t.zone()).call(vec![cast::to_timestamp(t, time)?]))
}

fn format_date(t: &Translator<'_>, call: Call) -> Result<Expr, Fault> {
    let [time, pattern] = two(t, call)?;
    let text = constant_text(t, &pattern)?;
    TimestampPattern::parse(&text).map_err(|message| t.fault(pattern.span, message))?;
    Ok(date_format().call(vec![cast::to_timestamp(t, time)?, pattern.expr]))
}

fn constant_text(t: &Translator<'_>, operand: &Operand) -> Result<String, Fault> {
    match &operand.expr {
        Expr::Literal(scalar, _) => match scalar.try_as_str() {
            Some(Some(text)) => Ok(text.to_owned()),
            _ => Err(t.fault(operand.span, "this argument must be a string")),
        },
        _ => Err(t.fault(operand.span, "this argument must be a constant string")),
    }
}
