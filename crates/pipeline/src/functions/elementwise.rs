//! What functions of arrays have in common: constants in, a constant out.

use arrow::array::ArrayRef;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs};

/// Calls `compute` with all arguments as arrays of one length; of constants alone the result is one.
pub(crate) fn over_arrays(
    args: &ScalarFunctionArgs,
    compute: impl FnOnce(&[ArrayRef]) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let result = compute(&ColumnarValue::values_to_arrays(&args.args)?)?;
    constant_or_array(constant, result)
}

/// A result as a constant, which an array of one value stands for, or as it is.
pub(crate) fn constant_or_array(constant: bool, result: ArrayRef) -> Result<ColumnarValue> {
    Ok(match constant {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
        false => ColumnarValue::Array(result),
    })
}
