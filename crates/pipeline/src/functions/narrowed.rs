//! Casts that may lose something: to fewer digits, or to whole numbers.
//!
//! DataFusion's optimizer takes a cast out of a comparison with a constant, which is right only where a cast loses nothing; this
//! function it leaves alone.

use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::elementwise::over_arrays;

/// `CAST(number AS to)`. What does not fit is an error or, when `safe`, null.
pub(crate) fn narrowed(to: DataType, safe: bool) -> ScalarUDF {
    ScalarUDF::from(Narrowed { to, safe, signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Narrowed {
    to: DataType,
    safe: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Narrowed {
    fn name(&self) -> &str {
        match self.to {
            DataType::Int32 => "narrowed_to_int",
            DataType::Int64 => "narrowed_to_bigint",
            _ => "narrowed_to_decimal",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let options = CastOptions { safe: self.safe, ..CastOptions::default() };
        over_arrays(&args, |arrays| Ok(cast_with_options(&arrays[0], &self.to, &options)?))
    }
}
