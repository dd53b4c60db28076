//! `substring` by Spark's rules: positions count from 1, 0 is taken as 1, negative ones count from the end.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::elementwise::over_arrays;

/// `substring(utf8view, int64[, int64])`, positions and lengths in characters.
pub(crate) fn substring() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Substring { signature }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Substring {
    signature: Signature,
}

impl ScalarUDFImpl for Substring {
    fn name(&self) -> &str {
        "substring"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_arrays(&args, |arrays| {
            // Other functions' texts may be of another Arrow type.
            let text = cast(&arrays[0], &DataType::Utf8View)?;
            let text = text.as_string_view();
            let start = arrays[1].as_primitive::<Int64Type>();
            let length = arrays.get(2).map(|array| array.as_primitive::<Int64Type>());
            let mut out = StringViewBuilder::with_capacity(text.len());
            for row in 0..text.len() {
                let null = text.is_null(row) || start.is_null(row) || length.is_some_and(|length| length.is_null(row));
                if null {
                    out.append_null();
                } else {
                    let length = length.map_or(i64::MAX, |length| length.value(row));
                    out.append_value(part(text.value(row), start.value(row), length));
                }
            }
            Ok(Arc::new(out.finish()))
        })
    }
}

/// As `UTF8String.substringSQL`: the end is counted from the start before the start is cut to the text.
fn part(text: &str, position: i64, length: i64) -> &str {
    let start = match position {
        1.. => position - 1,
        0 => 0,
        _ => (text.chars().count() as i64).saturating_add(position),
    };
    let end = start.saturating_add(length);
    if end <= start || end <= 0 {
        return "";
    }
    let byte = |chars: i64| match usize::try_from(chars) {
        Ok(chars) => text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at),
        Err(_) => 0,
    };
    &text[byte(start)..byte(end)]
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn positions_mean_what_they_mean_in_spark() {
        for (position, length, expected) in [
            (1, 3, "Spa"),
            (0, 3, "Spa"),
            (5, i64::MAX, "k SQL"),
            (-3, i64::MAX, "SQL"),
            (-3, 2, "SQ"),
            (-12, 5, "Sp"),
            (-12, 2, ""),
            (20, 3, ""),
            (2, 0, ""),
            (2, -1, ""),
        ] {
            assert_eq!(part("Spark SQL", position, length), expected, "{position}, {length}");
        }
        assert_eq!(part("añb", 2, 1), "ñ");
    }
}
