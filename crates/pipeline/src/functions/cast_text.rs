//! Text as numbers, booleans, dates and instants, by Spark's rules: blanks around it are ignored, what does not fit is an error
//! or, when asked, null.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array};
use arrow::array::{Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::digits::Digits;
use super::elementwise::over_arrays;
use crate::timestamp::cast_text::{self, trimmed};

/// `CAST(text AS to)`; local times are those of `zone`. What is not of the type is an error or, when `safe`, null.
pub(crate) fn text_as(to: DataType, zone: Tz, safe: bool) -> ScalarUDF {
    ScalarUDF::from(TextAs { to, zone, safe, signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextAs {
    to: DataType,
    zone: Tz,
    safe: bool,
    signature: Signature,
}

impl ScalarUDFImpl for TextAs {
    fn name(&self) -> &str {
        match self.to {
            DataType::Int32 => "text_as_int",
            DataType::Int64 => "text_as_bigint",
            DataType::Float64 => "text_as_double",
            DataType::Decimal128(..) => "text_as_decimal",
            DataType::Boolean => "text_as_boolean",
            DataType::Date32 => "text_as_date",
            _ => "text_as_timestamp",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_arrays(&args, |arrays| {
            let texts = cast(&arrays[0], &DataType::Utf8View)?;
            let texts = texts.as_string_view();
            Ok(match &self.to {
                DataType::Int32 => {
                    Arc::new(Int32Array::from(self.each(texts, |text| trimmed(text).parse().ok())?)) as ArrayRef
                }
                DataType::Int64 => Arc::new(Int64Array::from(self.each(texts, |text| trimmed(text).parse().ok())?)),
                DataType::Float64 => Arc::new(Float64Array::from(self.each(texts, double)?)),
                DataType::Boolean => Arc::new(BooleanArray::from(self.each(texts, boolean)?)),
                DataType::Date32 => Arc::new(Date32Array::from(self.each(texts, cast_text::date)?)),
                DataType::Decimal128(precision, scale) => {
                    let numbers = self.each(texts, |text| decimal(text, *precision, *scale))?;
                    Arc::new(Decimal128Array::from(numbers).with_precision_and_scale(*precision, *scale)?)
                }
                DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                    let instants = self.each(texts, |text| cast_text::timestamp(text, self.zone))?;
                    Arc::new(TimestampMicrosecondArray::from(instants).with_timezone_opt(zone.clone()))
                }
                other => return exec_err!("text is not cast to {other}"),
            })
        })
    }
}

impl TextAs {
    fn each<T>(&self, texts: &StringViewArray, read: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>> {
        let mut out = Vec::with_capacity(texts.len());
        for text in texts {
            out.push(match text.map(|text| (text, read(text))) {
                None => None,
                Some((text, None)) if !self.safe => return exec_err!("\"{text}\" is no {}", self.wanted()),
                Some((_, value)) => value,
            });
        }
        Ok(out)
    }

    fn wanted(&self) -> &str {
        self.name().trim_start_matches("text_as_")
    }
}

/// As Java's `Double.parseDouble`, and Spark's words for what is no number.
fn double(text: &str) -> Option<f64> {
    let text = trimmed(text);
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).filter(|digits| Digits::parse(digits).is_some());
    match digits.unwrap_or(text).parse::<f64>() {
        Ok(number) if number.is_nan() => text.eq_ignore_ascii_case("nan").then_some(number),
        Ok(number) => Some(number),
        Err(_) => None,
    }
}

fn boolean(text: &str) -> Option<bool> {
    match trimmed(text).to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let scale = i64::from(scale);
    let unscaled = Digits::parse(trimmed(text))?.rounded(scale).unscaled(scale)?;
    (unscaled.unsigned_abs() < 10_u128.pow(u32::from(precision))).then_some(unscaled)
}
