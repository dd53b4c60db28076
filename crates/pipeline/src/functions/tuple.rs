//! Several values as one, to count distinct combinations: `count(DISTINCT a, b)`.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::elementwise::over_arrays;

/// `tuple(text, …)`: a text that two rows share only if they share every argument; null if any argument is.
pub(crate) fn tuple() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Tuple { signature }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Tuple {
    signature: Signature,
}

impl ScalarUDFImpl for Tuple {
    fn name(&self) -> &str {
        "tuple"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_arrays(&args, |arrays| {
            let texts: Vec<_> = arrays.iter().map(|array| array.as_string_view()).collect();
            let rows = arrays.first().map_or(0, |array| array.len());
            let mut out = StringViewBuilder::with_capacity(rows);
            let mut text = String::new();
            for row in 0..rows {
                if texts.iter().any(|column| column.is_null(row)) {
                    out.append_null();
                    continue;
                }
                text.clear();
                for column in &texts {
                    let value = column.value(row);
                    // The length says where a value ends, whatever it contains.
                    let _ = write!(text, "{}:{value}", value.len());
                }
                out.append_value(&text);
            }
            Ok(Arc::new(out.finish()))
        })
    }
}
