//! Local times as instants: a date is midnight of a zone, text is read by a pattern.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, TimeUnit};
use chrono_tz::Tz;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::elementwise::over_arrays;
use crate::timestamp::{LocalTime, TimestampPattern};

/// What a local time is read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LocalTimeSource {
    /// `midnight(date)`.
    Date,
    /// `timestamp_by_pattern(text)`; what does not fit is an error or, when `safe`, null.
    Text {
        /// How the text is written.
        pattern: TimestampPattern,
        /// Null instead of an error.
        safe: bool,
    },
}

/// The function of one argument, whose result is an instant in `zone`. What a clock change repeats means its first
/// occurrence, what it skips moves forward by the length of the gap.
pub(crate) fn local_time(source: LocalTimeSource, zone: Tz) -> ScalarUDF {
    ScalarUDF::from(InstantOf { source, zone, signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct InstantOf {
    source: LocalTimeSource,
    zone: Tz,
    signature: Signature,
}

impl ScalarUDFImpl for InstantOf {
    fn name(&self) -> &str {
        match self.source {
            LocalTimeSource::Date => "midnight",
            LocalTimeSource::Text { .. } => "timestamp_by_pattern",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(self.zone.name().into())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_arrays(&args, |arrays| {
            let instants = match &self.source {
                LocalTimeSource::Date => self.midnights(&arrays[0])?,
                LocalTimeSource::Text { pattern, safe } => self.read(pattern, *safe, &arrays[0])?,
            };
            Ok(Arc::new(instants.with_timezone(self.zone.name())))
        })
    }
}

impl InstantOf {
    fn midnights(&self, dates: &ArrayRef) -> Result<TimestampMicrosecondArray> {
        let mut out = TimestampMicrosecondArray::builder(dates.len());
        for date in dates.as_primitive::<Date32Type>() {
            let midnight = |days: i32| LocalTime { secs: i64::from(days) * 86_400, micros: 0, offset_secs: None };
            match date {
                None => out.append_null(),
                Some(days) => match midnight(days).instant_us(self.zone) {
                    Some(us) => out.append_value(us),
                    None => return exec_err!("the date {days} days after 1970-01-01 is beyond the calendar"),
                },
            }
        }
        Ok(out.finish())
    }

    fn read(&self, pattern: &TimestampPattern, safe: bool, texts: &ArrayRef) -> Result<TimestampMicrosecondArray> {
        let texts = cast(texts, &DataType::Utf8View)?;
        let mut out = TimestampMicrosecondArray::builder(texts.len());
        for text in texts.as_string_view() {
            let Some(text) = text else {
                out.append_null();
                continue;
            };
            match pattern.read(text.as_bytes()).and_then(|read| read.instant_us(self.zone)) {
                None if !safe => return exec_err!("\"{text}\" does not fit the pattern \"{pattern}\""),
                instant => out.append_option(instant),
            }
        }
        Ok(out.finish())
    }
}
