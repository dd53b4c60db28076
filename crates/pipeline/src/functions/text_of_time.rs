//! Instants as text: `date_format`, and Spark's cast of a timestamp to text.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono_tz::Tz;
use datafusion_common::{DataFusionError, Result, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::elementwise::constant_or_array;
use crate::timestamp::TimestampPattern;

/// `date_format(timestamp(us, zone), 'pattern')`: local time of the timestamp's own zone.
pub(crate) fn date_format() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function("date_format", 2));
    Arc::clone(&FUNCTION)
}

/// `timestamp_text(timestamp(us, zone))`: `yyyy-MM-dd HH:mm:ss`, and the fraction without its last zeros.
pub(crate) fn timestamp_text() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function("timestamp_text", 1));
    Arc::clone(&FUNCTION)
}

fn function(name: &'static str, arguments: usize) -> Arc<ScalarUDF> {
    let signature = Signature::any(arguments, Volatility::Immutable);
    Arc::new(ScalarUDF::from(TextOfTime { name, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextOfTime {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for TextOfTime {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match &arg_types[0] {
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Ok(DataType::Utf8View),
            other => plan_err!("{} takes a timestamp with a zone, not {other}", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) = args.args[0].data_type() else {
            return exec_err!("{} takes a timestamp with a zone", self.name);
        };
        let zone: Tz = zone.parse().map_err(|_| DataFusionError::Execution(format!("unknown zone \"{zone}\"")))?;
        let writer = Writer::new(args.args.get(1))?;
        let scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let array = args.args[0].to_array(args.number_rows)?;
        let instants = array.as_primitive::<TimestampMicrosecondType>();
        let mut out = StringViewBuilder::with_capacity(instants.len());
        let mut text = String::new();
        for instant in instants {
            text.clear();
            match instant {
                None => out.append_null(),
                Some(instant_us) if writer.write(instant_us, zone, &mut text) => out.append_value(&text),
                Some(instant_us) => return exec_err!("{}: {instant_us} us is beyond the calendar", self.name),
            }
        }
        constant_or_array(scalar, Arc::new(out.finish()))
    }
}

enum Writer {
    Pattern(TimestampPattern),
    /// The pattern without and with its fraction.
    Cast(TimestampPattern, TimestampPattern),
}

impl Writer {
    fn new(pattern: Option<&ColumnarValue>) -> Result<Self> {
        let parse = |text: &str| TimestampPattern::parse(text).map_err(DataFusionError::Execution);
        match pattern {
            None => Ok(Self::Cast(parse("yyyy-MM-dd HH:mm:ss")?, parse("yyyy-MM-dd HH:mm:ss.SSSSSS")?)),
            Some(ColumnarValue::Scalar(scalar)) => match scalar.try_as_str() {
                Some(Some(text)) => Ok(Self::Pattern(parse(text)?)),
                _ => exec_err!("the pattern of date_format must be a string"),
            },
            Some(ColumnarValue::Array(_)) => exec_err!("the pattern of date_format must be a constant"),
        }
    }

    fn write(&self, instant_us: i64, zone: Tz, out: &mut String) -> bool {
        match self {
            Writer::Pattern(pattern) => pattern.write(instant_us, zone, out),
            Writer::Cast(whole, _) if instant_us.rem_euclid(1_000_000) == 0 => whole.write(instant_us, zone, out),
            Writer::Cast(_, fraction) => {
                let written = fraction.write(instant_us, zone, out);
                out.truncate(out.trim_end_matches('0').len());
                written
            }
        }
    }
}
