//! The scalar functions of the dialect, by Spark's names.

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Operator, binary_expr, cast as cast_expr, lit, when};
use datafusion_functions::{core, datetime, math, regex, string, unicode};

use super::arguments::Call;
use super::cast;
use super::operator;
use super::translator::{Operand, Translator};
use crate::file::Fault;
use crate::functions::{date_format, substring};
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
    row(&["position", "locate"], (2, 2), |t, c| Ok(unicode::strpos().call(texts(t, c)?.into_iter().rev().collect()))),
    row(&["regexp_like", "regexp", "rlike"], (2, 2), |t, c| Ok(regex::regexp_like().call(texts(t, c)?))),
    // Conditions and nulls.
    row(&["if", "iff"], (3, 3), |t, c| {
        let [condition, yes, no] = three(t, c)?;
        let span = condition.span;
        branch(t, t.condition(condition)?, yes.expr, Some(no.expr), span)
    }),
    row(&["nullif"], (2, 2), |t, c| {
        let [a, b] = two(t, c)?;
        let b = operator::like_type(t, b, &a)?;
        Ok(core::nullif().call(vec![a.expr, b]))
    }),
    row(&["coalesce"], (1, usize::MAX), |_, c| Ok(core::coalesce().call(plain(c)))),
    row(&["nvl", "ifnull"], (2, 2), |_, c| Ok(core::coalesce().call(plain(c)))),
    row(&["nvl2"], (3, 3), |t, c| {
        let [tested, yes, no] = three(t, c)?;
        branch(t, tested.expr.is_not_null(), yes.expr, Some(no.expr), tested.span)
    }),
    row(&["isnull"], (1, 1), |t, c| Ok(one(t, c)?.expr.is_null())),
    row(&["isnotnull"], (1, 1), |t, c| Ok(one(t, c)?.expr.is_not_null())),
    row(&["greatest"], (2, usize::MAX), |_, c| Ok(core::greatest().call(plain(c)))),
    row(&["least"], (2, usize::MAX), |_, c| Ok(core::least().call(plain(c)))),
    // Numbers.
    row(&["abs"], (1, 1), |_, c| Ok(math::abs().call(plain(c)))),
    row(&["ceil", "ceiling"], (1, 1), |t, c| whole(t, c, |x| math::ceil().call(vec![x]))),
    row(&["floor"], (1, 1), |t, c| whole(t, c, |x| math::floor().call(vec![x]))),
    row(&["round"], (1, 2), round),
    row(&["sqrt"], (1, 1), |t, c| Ok(math::sqrt().call(doubles(t, c)?))),
    row(&["exp"], (1, 1), |t, c| Ok(math::exp().call(doubles(t, c)?))),
    row(&["power", "pow"], (2, 2), |t, c| Ok(math::power().call(doubles(t, c)?))),
    row(&["sign", "signum"], (1, 1), |t, c| Ok(math::signum().call(doubles(t, c)?))),
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
    row(&["weekofyear", "week"], (1, 1), |t, c| part(t, c, "week")),
    row(&["day", "dayofmonth"], (1, 1), |t, c| part(t, c, "day")),
    row(&["dayofyear", "doy"], (1, 1), |t, c| part(t, c, "doy")),
    row(&["dayofweek"], (1, 1), |t, c| Ok(part(t, c, "dow")? + lit(1_i32))),
    row(&["weekday"], (1, 1), |t, c| Ok((part(t, c, "dow")? + lit(6_i32)) % lit(7_i32))),
    row(&["hour"], (1, 1), |t, c| part(t, c, "hour")),
    row(&["minute"], (1, 1), |t, c| part(t, c, "minute")),
    row(&["second"], (1, 1), |t, c| part(t, c, "second")),
    row(&["date_trunc"], (2, 2), date_trunc),
    row(&["to_date", "date"], (1, 1), |t, c| cast_to(t, c, &DataType::Date32)),
    row(&["to_timestamp", "timestamp"], (1, 1), |t, c| cast::to_timestamp(t, one(t, c)?)),
    row(&["unix_timestamp", "to_unix_timestamp", "unix_seconds"], (1, 1), |t, c| {
        let Operand { expr, span } = one(t, c)?;
        let instant = Operand { expr: cast::to_timestamp(t, Operand { expr, span })?, span };
        cast::cast(t, instant, &DataType::Int64, false)
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

fn left(t: &Translator<'_>, call: Call) -> Result<Expr, Fault> {
    let [text, length] = two(t, call)?;
    Ok(substring().call(vec![cast::to_text(t, text)?, lit(1_i64), cast::to_long(t, length)?]))
}

fn right(t: &Translator<'_>, call: Call) -> Result<Expr, Fault> {
    let [text, length] = two(t, call)?;
    let span = length.span;
    let length = cast::to_long(t, length)?;
    let tail = substring().call(vec![cast::to_text(t, text)?, Expr::Negative(Box::new(length.clone()))]);
    let nothing = lit(ScalarValue::Utf8View(Some(String::new())));
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
fn whole(t: &Translator<'_>, call: Call, round: impl Fn(Expr) -> Expr) -> Result<Expr, Fault> {
    let operand = one(t, call)?;
    match t.type_of(&operand)? {
        DataType::Int32 | DataType::Int64 => cast::to_long(t, operand),
        _ => Ok(cast_expr(round(cast::to_double(t, operand)?), DataType::Int64)),
    }
}

/// Half away from zero, as Spark's `round`; always a double.
fn round(t: &Translator<'_>, call: Call) -> Result<Expr, Fault> {
    let mut args = call.args.into_iter();
    let number = args.next().map(|arg| cast::to_double(t, arg));
    let places = args.next().map(|arg| cast::to_long(t, arg));
    Ok(math::round().call(number.into_iter().chain(places).collect::<Result<_, _>>()?))
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
        "year" | "yyyy" | "yy" => "year",
        "quarter" => "quarter",
        "month" | "mm" | "mon" => "month",
        "week" => "week",
        "day" | "dd" => "day",
        "hour" => "hour",
        "minute" => "minute",
        "second" => "second",
        "millisecond" => "millisecond",
        "microsecond" => "microsecond",
        _ => {
            let known = ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond"];
            return Err(t.fault(unit.span, format!("date_trunc has no unit \"{word}\"")).hint(suggest(&word, known)));
        }
    };
    Ok(datetime::date_trunc().call(vec![lit(unit), cast::to_timestamp(t, time)?]))
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
