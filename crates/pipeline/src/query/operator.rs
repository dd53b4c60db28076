//! Operators with Spark's meaning.

use arrow::datatypes::DataType;
use datafusion_expr::{Expr, Operator, binary_expr, lit};
use sqlparser::ast::BinaryOperator;
use sqlparser::tokenizer::Span;

use super::cast;
use super::translator::{Operand, Translator};
use crate::file::Fault;
use crate::functions::{Arithmetic, checked};

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

/// A comparison: text beside a number, a boolean or a time is read as one.
pub(crate) fn compare(translator: &Translator<'_>, left: Operand, op: Operator, right: Operand) -> Result<Expr, Fault> {
    let (left_type, right_type) = (translator.type_of(&left)?, translator.type_of(&right)?);
    if cast::is_text(&left_type) && !cast::is_text(&right_type) {
        let left = like_type(translator, left, &right)?;
        return Ok(binary_expr(left, op, right.expr));
    }
    let right = like_type(translator, right, &left)?;
    Ok(binary_expr(left.expr, op, right))
}

/// `operand`, read as what `other` is when it is text and `other` is not.
pub(crate) fn like_type(translator: &Translator<'_>, operand: Operand, other: &Operand) -> Result<Expr, Fault> {
    let (from, to) = (translator.type_of(&operand)?, translator.type_of(other)?);
    if !cast::is_text(&from) || cast::is_text(&to) || to.is_null() {
        return Ok(operand.expr);
    }
    let to = match to {
        DataType::Int32 | DataType::Int64 => DataType::Int64,
        DataType::Decimal128(..) => DataType::Float64,
        other => other,
    };
    cast::cast(translator, operand, &to, false)
}

fn arithmetic(
    translator: &Translator<'_>,
    left: Operand,
    operation: Arithmetic,
    right: Operand,
) -> Result<Expr, Fault> {
    let (left, right) = (number(translator, &left, &right)?, number(translator, &right, &left)?);
    let (left_type, right_type) = (translator.type_of(&left)?, translator.type_of(&right)?);
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
    let (left, right) = (cast::to_double(translator, left)?, cast::to_double(translator, right)?);
    Ok(left / null_if_zero(right, lit(0.0)))
}

fn remainder(translator: &Translator<'_>, left: Operand, right: Operand) -> Result<Expr, Fault> {
    let (left, right) = (number(translator, &left, &right)?, number(translator, &right, &left)?);
    let zero = match translator.type_of(&right)? {
        DataType::Int64 => lit(0_i64),
        DataType::Int32 => lit(0_i32),
        _ => lit(0.0),
    };
    Ok(binary_expr(left.expr, Operator::Modulo, null_if_zero(right.expr, zero)))
}

fn null_if_zero(divisor: Expr, zero: Expr) -> Expr {
    // A constant divisor needs no check, and most divisors of ratios are columns.
    match &divisor {
        Expr::Literal(..) if divisor != zero => divisor,
        _ => datafusion_functions::core::nullif().call(vec![divisor, zero]),
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
