//! Integer arithmetic that fails instead of wrapping, as Spark's ANSI mode does.

use std::sync::{Arc, LazyLock};

use arrow::array::Datum;
use arrow::compute::kernels::numeric;
use arrow::datatypes::DataType;
use datafusion_common::{Result, utils::take_function_args};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::elementwise::constant_or_array;

/// An operation on two integers of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
}

/// The function of an operation. Both arguments must have the same integer type, which is the result's.
pub(crate) fn checked(operation: Arithmetic) -> Arc<ScalarUDF> {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply]
            .map(|operation| Arc::new(ScalarUDF::from(Checked { operation, signature: any_two() })))
    });
    Arc::clone(&FUNCTIONS[operation as usize])
}

fn any_two() -> Signature {
    Signature::any(2, Volatility::Immutable)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Arithmetic,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Arithmetic::Add => "checked_add",
            Arithmetic::Subtract => "checked_subtract",
            Arithmetic::Multiply => "checked_multiply",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = take_function_args(self.name(), &args.args)?;
        let (left_datum, right_datum) = (datum(left)?, datum(right)?);
        let result = match self.operation {
            Arithmetic::Add => numeric::add(left_datum.as_ref(), right_datum.as_ref()),
            Arithmetic::Subtract => numeric::sub(left_datum.as_ref(), right_datum.as_ref()),
            Arithmetic::Multiply => numeric::mul(left_datum.as_ref(), right_datum.as_ref()),
        }?;
        let constant = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        constant_or_array(constant, result)
    }
}

fn datum(value: &ColumnarValue) -> Result<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(array) => Box::new(Arc::clone(array)),
        ColumnarValue::Scalar(scalar) => Box::new(scalar.to_scalar()?),
    })
}
