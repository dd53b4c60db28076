//! Casts, explicit and implied, by Spark's rules (ANSI: what does not fit is an error, not a null).

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Operator, binary_expr, cast as cast_expr, lit, try_cast};
use sqlparser::ast::{self, ExactNumberInfo};
use sqlparser::tokenizer::Span;

use super::translator::{Operand, Translator, show};
use crate::file::Fault;
use crate::functions::{DoubleFunction, LocalTimeSource, double, local_time, narrowed, text_as, timestamp_text};

/// The Arrow type of a type name in SQL.
pub(crate) fn target(translator: &Translator<'_>, written: &ast::DataType, span: Span) -> Result<DataType, Fault> {
    Ok(match written {
        ast::DataType::Int(None) | ast::DataType::Integer(None) => DataType::Int32,
        ast::DataType::BigInt(None) => DataType::Int64,
        ast::DataType::Double(_) | ast::DataType::DoublePrecision => DataType::Float64,
        ast::DataType::String(None) => DataType::Utf8View,
        ast::DataType::Boolean => DataType::Boolean,
        ast::DataType::Date => DataType::Date32,
        ast::DataType::Timestamp(None, ast::TimezoneInfo::None) => translator.timestamp_type(),
        ast::DataType::Decimal(info) | ast::DataType::Numeric(info) | ast::DataType::Dec(info) => match info {
            ExactNumberInfo::None => DataType::Decimal128(10, 0),
            ExactNumberInfo::Precision(p @ 1..=38) => DataType::Decimal128(*p as u8, 0),
            ExactNumberInfo::PrecisionAndScale(p @ 1..=38, s) if (0..=*p as i64).contains(s) => {
                DataType::Decimal128(*p as u8, *s as i8)
            }
            _ => return Err(translator.fault(span, format!("the type {written} is out of range"))),
        },
        other => {
            let hint = "use int, bigint, double, decimal(p, s), string, boolean, date or timestamp";
            return Err(translator.fault(span, format!("the type {other} is not supported")).hint(hint));
        }
    })
}

/// `DATE '2023-09-22'` and `TIMESTAMP '2023-09-22 14:05:00'`.
pub(crate) fn typed_string(translator: &Translator<'_>, typed: &ast::TypedString, span: Span) -> Result<Expr, Fault> {
    let data_type = target(translator, &typed.data_type, span)?;
    match &typed.value.value {
        ast::Value::SingleQuotedString(text) if matches!(data_type, DataType::Date32 | DataType::Timestamp(..)) => {
            let operand = Operand { expr: lit(ScalarValue::Utf8View(Some(text.clone()))), span };
            cast(translator, operand, &data_type, false)
        }
        _ => Err(translator.fault(span, format!("\"{typed}\" is not supported"))),
    }
}

/// `operand` as `to`. With `safe`, what does not fit is null.
pub(crate) fn cast(translator: &Translator<'_>, operand: Operand, to: &DataType, safe: bool) -> Result<Expr, Fault> {
    let from = translator.type_of(&operand)?;
    if from == *to {
        return Ok(operand.expr);
    }
    let (span, constant) = (operand.span, matches!(operand.expr, Expr::Literal(..)));
    let expr = built(translator, operand, &from, to, safe)?;
    if !constant {
        return Ok(expr);
    }
    // A constant is cast while planning, so that one that does not fit is found before the first row.
    let written = translator.text.between(span);
    match translator.folded(expr, span)? {
        value @ Expr::Literal(..) => Ok(value),
        _ => Err(translator.fault(span, format!("{written} cannot become {}: it is {}", show(to), show(&from)))),
    }
}

fn built(
    translator: &Translator<'_>,
    operand: Operand,
    from: &DataType,
    to: &DataType,
    safe: bool,
) -> Result<Expr, Fault> {
    let plain = |expr: Expr| if safe { try_cast(expr, to.clone()) } else { cast_expr(expr, to.clone()) };
    Ok(match (from, to) {
        _ if from.is_null() => plain(operand.expr),
        (DataType::Timestamp(..), DataType::Utf8View) => timestamp_text().call(vec![operand.expr]),
        (DataType::Timestamp(..), DataType::Int64) => seconds(operand.expr, true),
        (DataType::Timestamp(..), DataType::Float64) => seconds(operand.expr, false),
        (DataType::Date32, DataType::Timestamp(..)) => {
            local_time(LocalTimeSource::Date, translator.zone()).call(vec![operand.expr])
        }
        (DataType::Timestamp(..), DataType::Timestamp(..) | DataType::Date32)
        | (DataType::Date32, DataType::Utf8View) => plain(operand.expr),
        (DataType::Float64, DataType::Utf8View) => double(DoubleFunction::Text).call(vec![operand.expr]),
        (DataType::Float64, DataType::Decimal128(precision, scale)) => {
            let (precision, scale) = (*precision, *scale);
            double(DoubleFunction::Decimal { precision, scale, safe }).call(vec![operand.expr])
        }
        (DataType::Decimal128(..), DataType::Int32 | DataType::Int64 | DataType::Decimal128(..))
        | (DataType::Int64, DataType::Int32 | DataType::Decimal128(..))
        | (DataType::Int32, DataType::Decimal128(..))
        | (DataType::Float64, DataType::Int32 | DataType::Int64) => narrowed(to.clone(), safe).call(vec![operand.expr]),
        _ if is_text(from) && is_text(to) => plain(operand.expr),
        _ if is_text(from) => text_as(to.clone(), translator.zone(), safe).call(vec![operand.expr]),
        (DataType::Timestamp(..) | DataType::Date32, _) | (_, DataType::Timestamp(..) | DataType::Date32) => {
            let message = format!("{} cannot become {}", show(from), show(to));
            return Err(translator.fault(operand.span, message));
        }
        _ => plain(operand.expr),
    })
}

/// `operand` as text.
pub(crate) fn to_text(translator: &Translator<'_>, operand: Operand) -> Result<Expr, Fault> {
    if is_text(&translator.type_of(&operand)?) {
        return Ok(operand.expr);
    }
    cast(translator, operand, &DataType::Utf8View, false)
}

/// `operand` as a double.
pub(crate) fn to_double(translator: &Translator<'_>, operand: Operand) -> Result<Expr, Fault> {
    refuse_time(translator, &operand, "a number")?;
    cast(translator, operand, &DataType::Float64, false)
}

/// `operand` as a bigint.
pub(crate) fn to_long(translator: &Translator<'_>, operand: Operand) -> Result<Expr, Fault> {
    refuse_time(translator, &operand, "an integer")?;
    cast(translator, operand, &DataType::Int64, false)
}

/// `operand` as an instant: dates and text are taken as local time of the event time's zone.
pub(crate) fn to_timestamp(translator: &Translator<'_>, operand: Operand) -> Result<Expr, Fault> {
    match translator.type_of(&operand)? {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Ok(operand.expr),
        _ => cast(translator, operand, &translator.timestamp_type(), false),
    }
}

fn refuse_time(translator: &Translator<'_>, operand: &Operand, wanted: &str) -> Result<(), Fault> {
    match translator.type_of(operand)? {
        from @ (DataType::Timestamp(..) | DataType::Date32) => {
            let written = translator.text.between(operand.span);
            Err(translator.fault(operand.span, format!("\"{written}\" is {}, not {wanted}", show(&from))))
        }
        _ => Ok(()),
    }
}

/// Seconds since the epoch, rounded down when `whole`.
fn seconds(instant: Expr, whole: bool) -> Expr {
    // A double holds microseconds exactly until the year 2255, so the quotient's floor is the true one.
    let us = cast_expr(cast_expr(instant, DataType::Int64), DataType::Float64);
    let seconds = us / lit(1e6);
    if whole { cast_expr(datafusion_functions::math::floor().call(vec![seconds]), DataType::Int64) } else { seconds }
}

/// Seconds since the epoch without their fraction, which before 1970 is rounded up: Spark's `unix_timestamp`.
pub(crate) fn whole_seconds(instant: Expr) -> Expr {
    binary_expr(cast_expr(instant, DataType::Int64), Operator::Divide, lit(1_000_000_i64))
}

/// Whether a type is text.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}
