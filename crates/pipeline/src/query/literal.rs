//! Constants, with the types that Spark gives them.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, lit};
use sqlparser::ast::{self, DateTimeField, Value};
use sqlparser::tokenizer::Span;
use turnstile_values::duration;

use super::translator::Translator;
use crate::file::Fault;

/// A constant: integers are int or bigint, numbers with a point are double, text is string.
pub(crate) fn value(value: &Value) -> Result<ScalarValue, String> {
    match value {
        Value::Number(digits, long) if *long => {
            digits.parse().map(|v| ScalarValue::Int64(Some(v))).map_err(|_| format!("{digits}L does not fit bigint"))
        }
        Value::Number(digits, _) => number(digits),
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => {
            Ok(ScalarValue::Utf8View(Some(unescape(text))))
        }
        Value::Boolean(value) => Ok(ScalarValue::Boolean(Some(*value))),
        Value::Null => Ok(ScalarValue::Null),
        other => Err(format!("the constant {other} is not supported")),
    }
}

/// A number without its suffix.
pub(crate) fn number(digits: &str) -> Result<ScalarValue, String> {
    if let Ok(value) = digits.parse::<i32>() {
        return Ok(ScalarValue::Int32(Some(value)));
    }
    if let Ok(value) = digits.parse::<i64>() {
        return Ok(ScalarValue::Int64(Some(value)));
    }
    if digits.trim_start_matches('-').chars().all(|c| c.is_ascii_digit()) {
        return Err(format!("{digits} does not fit bigint"));
    }
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(ScalarValue::Float64(Some(value))),
        _ => Err(format!("{digits} is not a number")),
    }
}

/// Spark's escapes in string constants; `\%` and `\_` keep their backslash for LIKE.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('0') => out.push('\0'),
            Some('Z') => out.push('\u{1a}'),
            Some(c @ ('%' | '_')) => out.extend(['\\', c]),
            Some(c) => out.push(c),
            None => out.push('\\'),
        }
    }
    out
}

/// `INTERVAL 5 MINUTES`, `INTERVAL '5' MINUTE`: a fixed number of microseconds, as Spark's day-time intervals.
pub(crate) fn interval(translator: &Translator<'_>, interval: &ast::Interval, span: Span) -> Result<Expr, Fault> {
    let refused = |message: &str| {
        Err(translator.fault(span, message).hint("write INTERVAL 5 MINUTES, with days, hours, minutes or seconds"))
    };
    if interval.last_field.is_some() {
        return refused("an interval of two fields is not supported");
    }
    let count = match interval.value.as_ref() {
        ast::Expr::Value(value) => match &value.value {
            Value::Number(text, _) | Value::SingleQuotedString(text) => text.trim().to_owned(),
            _ => return refused("this interval is not supported"),
        },
        _ => return refused("an interval must be constant"),
    };
    let (sign, count) = match count.strip_prefix('-') {
        Some(count) => (-1, count),
        None => (1, count.as_str()),
    };
    let unit = match &interval.leading_field {
        Some(
            field @ (DateTimeField::Week(None)
            | DateTimeField::Weeks
            | DateTimeField::Day
            | DateTimeField::Days
            | DateTimeField::Hour
            | DateTimeField::Hours
            | DateTimeField::Minute
            | DateTimeField::Minutes
            | DateTimeField::Second
            | DateTimeField::Seconds
            | DateTimeField::Millisecond
            | DateTimeField::Milliseconds
            | DateTimeField::Microsecond
            | DateTimeField::Microseconds),
        ) => field.to_string(),
        Some(_) => return refused("an interval of months or years has no fixed length and is not supported"),
        None => return refused("an interval needs its unit"),
    };
    let us = duration::parse_us(&format!("{count} {unit}"))
        .map_err(|error| translator.fault(span, "the interval").caused_by(error))?
        .checked_mul(sign * 1_000);
    match us {
        Some(nanos) => Ok(lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, nanos))))),
        None => refused("the interval is too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_has_the_type_that_spark_gives_it() {
        assert_eq!(number("1"), Ok(ScalarValue::Int32(Some(1))));
        assert_eq!(number("-9223372036854775808"), Ok(ScalarValue::Int64(Some(i64::MIN))));
        assert_eq!(number("1.5e3"), Ok(ScalarValue::Float64(Some(1500.0))));
        assert!(number("9223372036854775808").is_err());
        assert_eq!(unescape(r"a\nb\\d\%\'"), "a\nb\\d\\%'");
    }
}
