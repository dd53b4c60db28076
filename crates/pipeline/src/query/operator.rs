//! Operators with Spark's meaning.

use arrow::datatypes::{DataType, IntervalDayTime};
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Operator, binary_expr, lit, when};
use sqlparser::ast::BinaryOperator;
use sqlparser::tokenizer::Span;

use super::cast;
use super::common_type::{common, comparable};
use super::translator::{Operand, Translator};
use crate::file::Fault;
use crate::functions::{Arithmetic, checked, moved};
use turnstile_values::DAY_US;

/// `left op right`.
pub(crate) fn binary(
    translator: &Translator<'_>,
    left: Operand,
    op: &BinaryOperator,
    right: Operand,
    span: Span,
) -> Result<Expr, Fault> {
    match op {
        BinaryOperator::And => {
            Ok(binary_expr(translator.condition(left)?, Operator::And, translator.condition(right)?))
        }
        BinaryOperator::Or => Ok(binary_expr(translator.condition(left)?, Operator::Or, translator.condition(right)?)),
        BinaryOperator::Eq => compare(translator, left, Operator::Eq, right),
        BinaryOperator::NotEq => compare(translator, left, Operator::NotEq, right),
        BinaryOperator::Lt => compare(translator, left, Operator::Lt, right),
        BinaryOperator::LtEq => compare(translator, left, Operator::LtEq, right),
        BinaryOperator::Gt => compare(translator, left, Operator::Gt, right),
        BinaryOperator::GtEq => compare(translator, left, Operator::GtEq, right),
        BinaryOperator::Spaceship => compare(translator, left, Operator::IsNotDistinctFrom, right),
        BinaryOperator::Plus => arithmetic(translator, left, Arithmetic::Add, right),
        BinaryOperator::Minus => arithmetic(translator, left, Arithmetic::Subtract, right),
        BinaryOperator::Multiply => arithmetic(translator, left, Arithmetic::Multiply, right),
        BinaryOperator::Divide => divide(translator, left, right),
        BinaryOperator::Modulo => remainder(translator, left, right),
        BinaryOperator::StringConcat => concat(translator, vec![left, right]),
        other => {
            let fault = translator.fault(span, format!("the operator {other} is not supported"));
            Err(match other {
                // The parser takes everything after DIV as its right side, which is not what Spark does.
                BinaryOperator::MyIntegerDivide => fault.hint("write floor(a / b)"),
                _ => fault.hint("see docs/sql.md"),
            })
        }
    }
}

/// A comparison of values of a common type.
pub(crate) fn compare(translator: &Translator<'_>, left: Operand, op: Operator, right: Operand) -> Result<Expr, Fault> {
    let common = common(translator, [&left, &right])?;
    Ok(binary_expr(comparable(translator, left, &common)?, op, comparable(translator, right, &common)?))
}

fn arithmetic(
    translator: &Translator<'_>,
    left: Operand,
    operation: Arithmetic,
    right: Operand,
) -> Result<Expr, Fault> {
    let (left, right) = (number(translator, &left, &right)?, number(translator, &right, &left)?);
    let (left_type, right_type) = (translator.type_of(&left)?, translator.type_of(&right)?);
    if let Some(moved) = moved_time(translator, &left, operation, &right)? {
        return Ok(moved);
    }
    let integer = |data_type: &DataType| matches!(data_type, DataType::Int32 | DataType::Int64);
    if integer(&left_type) && integer(&right_type) {
        let both = if left_type == right_type { left_type } else { DataType::Int64 };
        let args = vec![cast::cast(translator, left, &both, false)?, cast::cast(translator, right, &both, false)?];
        return Ok(checked(operation).call(args));
    }
    let op = match operation {
        Arithmetic::Add => Operator::Plus,
        Arithmetic::Subtract => Operator::Minus,
        Arithmetic::Multiply => Operator::Multiply,
    };
    Ok(binary_expr(left.expr, op, right.expr))
}

/// An instant plus or minus a constant interval: its whole days are days of the calendar, as in Spark.
fn moved_time(
    translator: &Translator<'_>,
    left: &Operand,
    operation: Arithmetic,
    right: &Operand,
) -> Result<Option<Expr>, Fault> {
    let (instant, interval, sign) = match (&left.expr, operation, &right.expr) {
        (_, Arithmetic::Add, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _)) => {
            (left, interval, 1)
        }
        (_, Arithmetic::Subtract, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _)) => {
            (left, interval, -1)
        }
        (Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _), Arithmetic::Add, _) => {
            (right, interval, 1)
        }
        _ => return Ok(None),
    };
    let us = sign * interval.nanoseconds / 1_000;
    match translator.type_of(instant)? {
        DataType::Timestamp(..) => {}
        DataType::Date32 if us % DAY_US == 0 => {
            let days =
                i32::try_from(us / DAY_US).map_err(|_| translator.fault(instant.span, "the interval is too long"))?;
            let days = lit(ScalarValue::IntervalDayTime(Some(IntervalDayTime::new(days, 0))));
            return Ok(Some(binary_expr(instant.expr.clone(), Operator::Plus, days)));
        }
        DataType::Date32 => {}
        _ => return Ok(None),
    }
    let instant = cast::to_timestamp(translator, instant.clone())?;
    Ok(Some(moved(us, translator.zone()).call(vec![instant])))
}

/// Text in arithmetic is a number: a bigint beside an integer, a double otherwise.
fn number(translator: &Translator<'_>, operand: &Operand, other: &Operand) -> Result<Operand, Fault> {
    if !cast::is_text(&translator.type_of(operand)?) {
        return Ok(operand.clone());
    }
    let to = match translator.type_of(other)? {
        DataType::Int32 | DataType::Int64 => DataType::Int64,
        _ => DataType::Float64,
    };
    Ok(Operand { expr: cast::cast(translator, operand.clone(), &to, false)?, span: operand.span })
}

/// `-operand`; the smallest integer has no counterpart and is an error.
pub(crate) fn negate(translator: &Translator<'_>, operand: Operand) -> Result<Expr, Fault> {
    match translator.type_of(&operand)? {
        DataType::Int32 | DataType::Int64 => {
            let zero = Operand { expr: lit(0_i32), span: operand.span };
            arithmetic(translator, zero, Arithmetic::Subtract, operand)
        }
        _ => Ok(Expr::Negative(Box::new(operand.expr))),
    }
}

/// `/` is the division of doubles; by zero it is null.
pub(crate) fn divide(translator: &Translator<'_>, left: Operand, right: Operand) -> Result<Expr, Fault> {
    let span = right.span;
    let (left, right) = (cast::to_double(translator, left)?, cast::to_double(translator, right)?);
    Ok(left / null_if_zero(translator, Operand { expr: right, span }, lit(0.0))?)
}

fn remainder(translator: &Translator<'_>, left: Operand, right: Operand) -> Result<Expr, Fault> {
    let (left, right) = (number(translator, &left, &right)?, number(translator, &right, &left)?);
    let zero = match translator.type_of(&right)? {
        DataType::Int64 => lit(0_i64),
        DataType::Int32 => lit(0_i32),
        _ => lit(0.0),
    };
    Ok(binary_expr(left.expr, Operator::Modulo, null_if_zero(translator, right, zero)?))
}

fn null_if_zero(translator: &Translator<'_>, divisor: Operand, zero: Expr) -> Result<Expr, Fault> {
    // A constant divisor needs no check, and most divisors of ratios are columns.
    match &divisor.expr {
        Expr::Literal(value, _) if *value != ScalarValue::Float64(Some(-0.0)) && divisor.expr != zero => {
            Ok(divisor.expr)
        }
        // A comparison takes both zeros of a double for one.
        _ => when(binary_expr(divisor.expr.clone(), Operator::NotEq, zero), divisor.expr)
            .end()
            .map_err(|error| translator.rejected(divisor.span, error)),
    }
}

/// Text after text; null when one of them is null.
pub(crate) fn concat(translator: &Translator<'_>, parts: Vec<Operand>) -> Result<Expr, Fault> {
    let mut joined: Option<Expr> = None;
    for part in parts {
        let part = cast::to_text(translator, part)?;
        joined = Some(match joined {
            Some(before) => binary_expr(before, Operator::StringConcat, part),
            None => part,
        });
    }
    Ok(joined.unwrap_or_else(|| lit("")))
}
