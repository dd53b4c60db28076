//! Instants moved on the calendar of a zone: truncated to a unit, and moved by days.

use std::sync::Arc;

use arrow::array::{AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use turnstile_values::{DAY_US, offset_of_local};

use super::elementwise::over_arrays;

/// The units of `date_trunc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TimeUnitName {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
}

/// `date_trunc(unit, instant)` on the clock of `zone`.
pub(crate) fn truncated(unit: TimeUnitName, zone: Tz) -> ScalarUDF {
    function(Change::Truncate(unit), zone)
}

/// `instant + us`, whose whole days are days on the calendar of `zone`, and the rest time that passes.
pub(crate) fn moved(us: i64, zone: Tz) -> ScalarUDF {
    function(Change::Move(us), zone)
}

fn function(change: Change, zone: Tz) -> ScalarUDF {
    ScalarUDF::from(OnCalendar { change, zone, signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Change {
    Truncate(TimeUnitName),
    Move(i64),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OnCalendar {
    change: Change,
    zone: Tz,
    signature: Signature,
}

impl ScalarUDFImpl for OnCalendar {
    fn name(&self) -> &str {
        match self.change {
            Change::Truncate(unit) => match unit {
                TimeUnitName::Year => "truncate_to_year",
                TimeUnitName::Quarter => "truncate_to_quarter",
                TimeUnitName::Month => "truncate_to_month",
                TimeUnitName::Week => "truncate_to_week",
                TimeUnitName::Day => "truncate_to_day",
                TimeUnitName::Hour => "truncate_to_hour",
                TimeUnitName::Minute => "truncate_to_minute",
                TimeUnitName::Second => "truncate_to_second",
                TimeUnitName::Millisecond => "truncate_to_millisecond",
                TimeUnitName::Microsecond => "truncate_to_microsecond",
            },
            Change::Move(_) => "move_on_calendar",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_arrays(&args, |arrays| {
            let instants = arrays[0].as_primitive::<TimestampMicrosecondType>();
            let mut out = TimestampMicrosecondArray::builder(instants.len());
            for instant in instants {
                match instant.map(|us| (us, self.changed(us))) {
                    None => out.append_null(),
                    Some((_, Some(changed))) => out.append_value(changed),
                    Some((us, None)) => return exec_err!("{}: {us} us is beyond the calendar", self.name()),
                }
            }
            Ok(Arc::new(out.finish().with_timezone_opt(instants.timezone().map(Arc::<str>::from))))
        })
    }
}

impl OnCalendar {
    fn changed(&self, us: i64) -> Option<i64> {
        match self.change {
            Change::Truncate(unit) => self.truncated(unit, us),
            Change::Move(by_us) => {
                let (days, rest) = (by_us / DAY_US, by_us % DAY_US);
                let there = if days == 0 {
                    us
                } else {
                    self.at_local(us, |local| local.checked_add_signed(TimeDelta::days(days)))?
                };
                there.checked_add(rest)
            }
        }
    }

    fn truncated(&self, unit: TimeUnitName, us: i64) -> Option<i64> {
        let step = match unit {
            TimeUnitName::Microsecond => 1,
            TimeUnitName::Millisecond => 1_000,
            TimeUnitName::Second => 1_000_000,
            _ => return self.at_local(us, |local| truncated_local(unit, local)),
        };
        Some(us.div_euclid(step) * step)
    }

    /// The instant at which the clock shows what `change` makes of its time at `us`. In the hour that comes twice the offset
    /// stays, as `java.time.ZonedDateTime` keeps it.
    fn at_local(&self, us: i64, change: impl FnOnce(NaiveDateTime) -> Option<NaiveDateTime>) -> Option<i64> {
        let utc = DateTime::from_timestamp_micros(us)?.naive_utc();
        let before = i64::from(self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc());
        let changed = change(utc.checked_add_signed(TimeDelta::seconds(before))?)?;
        let (secs, micros) = (changed.and_utc().timestamp(), i64::from(changed.and_utc().timestamp_subsec_micros()));
        let as_before = DateTime::from_timestamp(secs - before, 0)?.naive_utc();
        let keeps = i64::from(self.zone.offset_from_utc_datetime(&as_before).fix().local_minus_utc()) == before;
        let offset = if keeps { before } else { offset_of_local(self.zone, secs).0 };
        (secs - offset).checked_mul(1_000_000)?.checked_add(micros)
    }
}

fn truncated_local(unit: TimeUnitName, local: NaiveDateTime) -> Option<NaiveDateTime> {
    let date = local.date();
    let day = match unit {
        TimeUnitName::Year => NaiveDate::from_ymd_opt(date.year(), 1, 1)?,
        TimeUnitName::Quarter => NaiveDate::from_ymd_opt(date.year(), date.month0() / 3 * 3 + 1, 1)?,
        TimeUnitName::Month => date.with_day(1)?,
        TimeUnitName::Week => date.checked_sub_signed(TimeDelta::days(date.weekday().num_days_from_monday().into()))?,
        TimeUnitName::Hour | TimeUnitName::Minute => {
            let step = if unit == TimeUnitName::Hour { 3_600 } else { 60 };
            let secs = local.and_utc().timestamp();
            return DateTime::from_timestamp(secs.div_euclid(step) * step, 0).map(|truncated| truncated.naive_utc());
        }
        _ => date,
    };
    day.and_hms_opt(0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: Change, text: &str) -> String {
        let instant = DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
        let calendar =
            OnCalendar { change, zone: Tz::America__New_York, signature: Signature::any(1, Volatility::Immutable) };
        DateTime::from_timestamp_micros(calendar.changed(instant).unwrap()).unwrap().format("%FT%T%.fZ").to_string()
    }

    #[test]
    fn a_day_is_one_of_the_calendar_and_an_hour_passes() {
        for (days, hours, from, to) in [
            (1, 0, "2023-11-04T16:00:00Z", "2023-11-05T17:00:00Z"),
            (-1, 0, "2023-11-05T06:30:00Z", "2023-11-04T05:30:00Z"),
            (1, 1, "2024-03-09T17:00:00Z", "2024-03-10T17:00:00Z"),
            (0, 24, "2023-11-04T16:00:00Z", "2023-11-05T17:00:00Z"),
            (0, -2, "2023-11-05T07:00:00Z", "2023-11-05T05:00:00Z"),
        ] {
            assert_eq!(changed(Change::Move(days * DAY_US + hours * 3_600_000_000), from), to, "{from}");
        }
    }

    #[test]
    fn units_begin_on_the_clock_of_the_zone() {
        for (unit, from, to) in [
            (TimeUnitName::Day, "2023-11-05T20:00:00Z", "2023-11-05T04:00:00Z"),
            (TimeUnitName::Hour, "2023-11-05T06:30:00Z", "2023-11-05T06:00:00Z"),
            (TimeUnitName::Week, "2023-11-05T20:00:00Z", "2023-10-30T04:00:00Z"),
            (TimeUnitName::Millisecond, "1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999Z"),
            (TimeUnitName::Year, "0001-06-02T00:00:00Z", "0001-01-01T04:56:02Z"),
        ] {
            assert_eq!(changed(Change::Truncate(unit), from), to, "{from}");
        }
    }
}
