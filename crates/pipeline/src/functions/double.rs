//! Functions of doubles whose results at the edges are Spark's: the square root of a negative is NaN, a whole number beyond
//! 64 bits is the largest one, and rounding goes by the decimal text of the number.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, StringViewArray};
use arrow::compute::binary;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::digits::Digits;
use super::elementwise::over_arrays;

/// What is computed of a double.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum DoubleFunction {
    /// `sqrt(x)`, a double.
    SquareRoot,
    /// A bigint that orders as the doubles do: a NaN is the largest, as in Spark.
    OrderedBits,
    /// The double, 0.0 for both zeros and one NaN for all.
    Normalized,
    /// `sign(x)`, a double: a zero keeps its sign.
    Sign,
    /// `power(x, y)`, a double.
    Power,
    /// `ceil(x)`, a bigint.
    Ceiling,
    /// `floor(x)`, a bigint.
    Floor,
    /// `round(x, places)`, a double: half away from zero.
    Round,
    /// `CAST(x AS string)`: as Java writes it.
    Text,
    /// `CAST(x AS decimal(precision, scale))`: half away from zero. What has too many digits is an error or, when `safe`,
    /// null; what is no number is null.
    Decimal {
        /// 1 to 38.
        precision: u8,
        /// 0 to `precision`.
        scale: i8,
        /// Null instead of an error.
        safe: bool,
    },
}

/// The function. Its first argument is a double; the second is a bigint of [`DoubleFunction::Round`] and a double of
/// [`DoubleFunction::Power`].
pub(crate) fn double(function: DoubleFunction) -> ScalarUDF {
    let arguments = if matches!(function, DoubleFunction::Round | DoubleFunction::Power) { 2 } else { 1 };
    ScalarUDF::from(OfDouble { function, signature: Signature::any(arguments, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfDouble {
    function: DoubleFunction,
    signature: Signature,
}

impl ScalarUDFImpl for OfDouble {
    fn name(&self) -> &str {
        match self.function {
            DoubleFunction::SquareRoot => "sqrt_or_nan",
            DoubleFunction::OrderedBits => ORDERED_BITS,
            DoubleFunction::Normalized => "normalized_double",
            DoubleFunction::Sign => "sign_of_double",
            DoubleFunction::Power => "power_of_double",
            DoubleFunction::Ceiling => "ceil_to_bigint",
            DoubleFunction::Floor => "floor_to_bigint",
            DoubleFunction::Round => "round_half_up",
            DoubleFunction::Text => "text_of_double",
            DoubleFunction::Decimal { .. } => "decimal_of_double",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.function {
            DoubleFunction::SquareRoot
            | DoubleFunction::Normalized
            | DoubleFunction::Sign
            | DoubleFunction::Power
            | DoubleFunction::Round => DataType::Float64,
            DoubleFunction::OrderedBits | DoubleFunction::Ceiling | DoubleFunction::Floor => DataType::Int64,
            DoubleFunction::Text => DataType::Utf8View,
            DoubleFunction::Decimal { precision, scale, .. } => DataType::Decimal128(precision, scale),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_arrays(&args, |arrays| {
            let numbers = arrays[0].as_primitive::<Float64Type>();
            Ok(match self.function {
                DoubleFunction::SquareRoot => Arc::new(numbers.unary::<_, Float64Type>(f64::sqrt)) as ArrayRef,
                DoubleFunction::OrderedBits => Arc::new(numbers.unary::<_, Int64Type>(ordered_bits)),
                DoubleFunction::Normalized => Arc::new(numbers.unary::<_, Float64Type>(normalized_double)),
                DoubleFunction::Sign => {
                    Arc::new(numbers.unary::<_, Float64Type>(|x| if x == 0.0 { x } else { x.signum() }))
                }
                DoubleFunction::Power => {
                    Arc::new(binary::<_, _, _, Float64Type>(numbers, arrays[1].as_primitive::<Float64Type>(), power)?)
                }
                // A cast saturates, and makes NaN 0, as Java's does.
                DoubleFunction::Ceiling => Arc::new(numbers.unary::<_, Int64Type>(|x| x.ceil() as i64)),
                DoubleFunction::Floor => Arc::new(numbers.unary::<_, Int64Type>(|x| x.floor() as i64)),
                DoubleFunction::Round => Arc::new(rounded(numbers, arrays[1].as_primitive::<Int64Type>())),
                DoubleFunction::Text => Arc::new(texts(numbers)),
                DoubleFunction::Decimal { precision, scale, safe } => {
                    Arc::new(decimals(numbers, precision, scale, safe)?)
                }
            })
        })
    }
}

/// The name of [`DoubleFunction::OrderedBits`].
pub(crate) const ORDERED_BITS: &str = "ordered_bits";

/// One zero and one NaN: doubles that Spark takes for equal are equal bit for bit.
pub fn normalized_double(number: f64) -> f64 {
    if number.is_nan() { f64::NAN } else { number + 0.0 }
}

/// The bits of a double, those of a negative one turned over but for the sign: as f64::total_cmp has it.
fn ordered_bits(number: f64) -> i64 {
    flipped(normalized_double(number).to_bits() as i64)
}

fn flipped(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The double of which [`DoubleFunction::OrderedBits`] made a bigint.
pub(crate) fn from_ordered_bits() -> ScalarUDF {
    ScalarUDF::from(FromOrderedBits { signature: Signature::exact(vec![DataType::Int64], Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FromOrderedBits {
    signature: Signature,
}

impl ScalarUDFImpl for FromOrderedBits {
    fn name(&self) -> &str {
        "double_of_ordered_bits"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_arrays(&args, |arrays| {
            let bits = arrays[0].as_primitive::<Int64Type>();
            Ok(Arc::new(bits.unary::<_, Float64Type>(|bits| f64::from_bits(flipped(bits) as u64))))
        })
    }
}

/// As Java's `Math.pow`, which knows no power of 1 that is no number.
fn power(base: f64, exponent: f64) -> f64 {
    let is_none = exponent.is_nan() || base.abs() == 1.0 && exponent.is_infinite();
    if is_none { f64::NAN } else { base.powf(exponent) }
}

fn rounded(numbers: &Float64Array, places: &Int64Array) -> Float64Array {
    let row = |(number, places): (Option<f64>, Option<i64>)| Some(round(number?, places?));
    numbers.iter().zip(places).map(row).collect()
}

fn texts(numbers: &Float64Array) -> StringViewArray {
    numbers.iter().map(|number| number.map(java_text)).collect()
}

/// A double as Java's `Double.toString` writes it.
pub(crate) fn java_text(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        // A zero keeps its sign here.
        0.0 if number.is_sign_negative() => "-0.0".to_owned(),
        _ => Digits::of_double_in_java(number).java_text(),
    }
}

fn decimals(numbers: &Float64Array, precision: u8, scale: i8, safe: bool) -> Result<Decimal128Array> {
    let mut out = Vec::with_capacity(numbers.len());
    for number in numbers {
        let Some(number) = number.filter(|number| number.is_finite()) else {
            out.push(None);
            continue;
        };
        let unscaled = Digits::of_double(number).rounded(i64::from(scale)).unscaled(i64::from(scale));
        let fits = unscaled.filter(|unscaled| unscaled.unsigned_abs() < 10u128.pow(u32::from(precision)));
        match fits {
            None if !safe => return exec_err!("{number} does not fit decimal({precision},{scale})"),
            fits => out.push(fits),
        }
    }
    let array: Decimal128Array = out.into_iter().collect();
    Ok(array.with_precision_and_scale(precision, scale)?)
}

/// `number` with `places` digits after the point (before it, when negative).
fn round(number: f64, places: i64) -> f64 {
    if places == 0 && number.abs() < (1u64 << 52) as f64 {
        // Halves are exact in binary. Spark's result has no negative zero.
        return number.round() + 0.0;
    }
    if number.is_finite() { Digits::of_double(number).rounded(places).value() } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every right value is what Spark 4.2 returns for `round(x, places)`.
    #[test]
    fn rounding_goes_by_the_shortest_decimal_text() {
        for (number, places, expected) in [
            (1.005, 2, 1.01),
            (0.285, 2, 0.29),
            (1.255, 2, 1.26),
            (-1.255, 2, -1.26),
            (2.5, 0, 3.0),
            (-2.5, 0, -3.0),
            (0.499_999_999_999_999_94, 0, 0.0),
            (9.995, 2, 10.0),
            (999.5, 0, 1000.0),
            (1234.5, -2, 1200.0),
            (1250.0, -2, 1300.0),
            (49.0, -2, 0.0),
            (50.0, -2, 100.0),
            (5.0, -3, 0.0),
            (1e300, 2, 1e300),
            (1.5e-300, 2, 0.0),
            (0.1, 300, 0.1),
        ] {
            assert_eq!(round(number, places), expected, "round({number}, {places})");
        }
        for number in [-0.0, -0.4, -0.004] {
            let places = if number == -0.004 { 2 } else { 0 };
            assert!(round(number, places).is_sign_positive(), "{number}");
        }
        assert!(round(f64::NAN, 2).is_nan());
        assert_eq!(round(f64::NEG_INFINITY, 2), f64::NEG_INFINITY);
    }

    #[test]
    fn ordered_bits_order_as_doubles_do_with_nan_last() {
        let sorted = [f64::NEG_INFINITY, f64::MIN, -1.5, -5e-324, 0.0, 5e-324, 1.0, f64::MAX, f64::INFINITY, f64::NAN];
        assert!(sorted.windows(2).all(|pair| ordered_bits(pair[0]) < ordered_bits(pair[1])));
        assert_eq!(ordered_bits(-0.0), ordered_bits(0.0));
        assert_eq!(ordered_bits(-f64::NAN), ordered_bits(f64::NAN));
        for number in &sorted[..9] {
            assert_eq!(f64::from_bits(flipped(ordered_bits(*number)) as u64), *number);
        }
    }
}
