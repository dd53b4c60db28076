//! The type that values of several types have in common, by Spark's rules in ANSI mode.

use arrow::datatypes::DataType;
use datafusion_expr::Expr;

use super::cast;
use super::translator::{Operand, Translator, show};
use crate::file::Fault;
use crate::functions::{DoubleFunction, double};

/// The type that all `operands` have in common.
///
/// # Errors
/// At the first one whose type does not go with the types before it.
pub(crate) fn common<'a>(
    translator: &Translator<'_>,
    operands: impl IntoIterator<Item = &'a Operand>,
) -> Result<DataType, Fault> {
    let mut common = DataType::Null;
    for operand in operands {
        let data_type = translator.type_of(operand)?;
        common = of_two(&common, &data_type).ok_or_else(|| {
            let message = format!("this is {}, beside {}", show(&data_type), show(&common));
            translator.fault(operand.span, message).hint("CAST one of them to the type of the other")
        })?;
    }
    Ok(common)
}

/// All `operands`, cast to the type that they have in common.
///
/// # Errors
/// As [`common`].
pub(crate) fn unified(translator: &Translator<'_>, operands: Vec<Operand>) -> Result<Vec<Expr>, Fault> {
    let common = common(translator, &operands)?;
    operands.into_iter().map(|operand| cast::cast(translator, operand, &common, false)).collect()
}

/// As [`unified`], of two.
pub(crate) fn unified_pair(translator: &Translator<'_>, left: Operand, right: Operand) -> Result<(Expr, Expr), Fault> {
    let common = common(translator, [&left, &right])?;
    Ok((cast::cast(translator, left, &common, false)?, cast::cast(translator, right, &common, false)?))
}

/// `operand` as `common`, to be compared: doubles have one zero, and one NaN, which is the largest number; a computed one may
/// have a sign, and compare as the least.
pub(crate) fn comparable(translator: &Translator<'_>, operand: Operand, common: &DataType) -> Result<Expr, Fault> {
    let value = cast::cast(translator, operand, common, false)?;
    Ok(match common {
        DataType::Float64 => double(DoubleFunction::Normalized).call(vec![value]),
        _ => value,
    })
}

/// The type that values of both types can be cast to without loss. Text beside another type is read as one of it.
fn of_two(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Boolean, Date32, Decimal128, Float64, Int32, Int64, Null, Timestamp, Utf8View};
    if left == right {
        return Some(left.clone());
    }
    Some(match (left, right) {
        (Null, other) | (other, Null) => other.clone(),
        (one, other) if cast::is_text(one) && cast::is_text(other) => Utf8View,
        (Int32, Int64) | (Int64, Int32) => Int64,
        (Int32 | Int64 | Decimal128(..), Float64) | (Float64, Int32 | Int64 | Decimal128(..)) => Float64,
        (Decimal128(..) | Int32 | Int64, Decimal128(..)) | (Decimal128(..), Int32 | Int64) => {
            let ((p, s), (q, t)) = (digits_of(left)?, digits_of(right)?);
            let (scale, whole) = (s.max(t), (p as i8 - s).max(q as i8 - t));
            Decimal128((whole + scale).min(38) as u8, scale)
        }
        (Date32, Timestamp(..)) => right.clone(),
        (Timestamp(..), Date32) => left.clone(),
        (text, other) | (other, text) if cast::is_text(text) => match other {
            Int32 | Int64 => Int64,
            Float64 | Decimal128(..) => Float64,
            Boolean | Date32 | Timestamp(..) => other.clone(),
            _ => return None,
        },
        _ => return None,
    })
}

/// Precision and scale of a type of whole or decimal numbers.
fn digits_of(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((20, 0)),
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}
