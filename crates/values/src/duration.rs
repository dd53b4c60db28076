//! Durations as users write them: `5 minutes`, `1h30m`, `500ms`, `2 days`.
//!
//! The only parser of its kind: every key, flag and SQL setting accepts the same forms.

use std::time::Duration;

use crate::scaled::scaled;

/// Microseconds of a millisecond.
pub const MILLISECOND_US: i64 = 1_000;
/// Microseconds of a second.
pub const SECOND_US: i64 = 1_000 * MILLISECOND_US;
/// Microseconds of a minute.
pub const MINUTE_US: i64 = 60 * SECOND_US;
/// Microseconds of an hour.
pub const HOUR_US: i64 = 60 * MINUTE_US;
/// Microseconds of a day of 24 hours.
pub const DAY_US: i64 = 24 * HOUR_US;

/// How to write a duration: for hints.
pub const HINT: &str = "write a number and a unit, such as \"5 minutes\", \"1 hour\" or \"100 ms\"";

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number or a unit is missing, unknown, or finer than a microsecond.
    #[error("\"{0}\" is not a duration")]
    Malformed(String),
    /// Months and years.
    #[error("\"{0}\" has no fixed length: months and years differ")]
    NoFixedLength(String),
    /// More microseconds than 64 bits hold, some 292,000 years.
    #[error("\"{0}\" is too long")]
    TooLong(String),
    /// Zero, where a longer one is needed.
    #[error("it must be greater than zero")]
    Zero,
}

/// Microseconds of one or more numbers with units, in any letter case, with or without spaces.
///
/// Units: `us`, `ms`, `s`, `m`, `h`, `d`, `w`; also `µs`, `sec`, `min`, `hr` and the words from `microsecond` to `week`,
/// each with or without a plural `s`. A fraction is taken where it comes out as whole microseconds. Never negative.
///
/// # Errors
/// When the text is not a duration, has no fixed length, or is too long.
pub fn parse_us(text: &str) -> Result<i64, DurationError> {
    sum_terms(text, unit_us)
}

/// The same, where zero is refused.
///
/// # Errors
/// As [`parse_us`]; and [`DurationError::Zero`].
pub fn parse_positive_us(text: &str) -> Result<i64, DurationError> {
    match parse_us(text)? {
        0 => Err(DurationError::Zero),
        us => Ok(us),
    }
}

/// The same, for a place that defines what a number without a unit means: `unit_us` microseconds each.
///
/// # Errors
/// As [`parse_us`].
pub fn parse_us_or_number(text: &str, unit_us: i64) -> Result<i64, DurationError> {
    let number = text.trim();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return parse_us(text);
    }
    let us = number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit_us));
    us.ok_or_else(|| DurationError::TooLong(text.to_owned()))
}

/// A duration greater than zero.
///
/// # Errors
/// As [`parse_positive_us`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    parse_positive_us(text).map(from_us)
}

/// Microseconds as a [`Duration`]; a negative number is zero.
pub fn from_us(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

/// Microseconds of an interval in a query: only the words that Spark knows, since the query must run there as it stands.
///
/// A leading `interval` and a minus sign are taken, as Spark takes them.
///
/// # Errors
/// As [`parse_us`].
///
/// Source: Spark 4.2, `SparkIntervalUtils.stringToInterval`.
pub fn parse_spark_us(text: &str) -> Result<i64, DurationError> {
    let trimmed = text.trim();
    let rest = match trimmed.get(..9) {
        Some(word) if word.eq_ignore_ascii_case("interval ") => trimmed[9..].trim_start(),
        _ => trimmed,
    };
    let (sign, rest) = match rest.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, rest),
    };
    Ok(sign * sum_terms(rest, word_us)?)
}

/// Adds up `number unit` terms.
fn sum_terms(text: &str, unit: impl Fn(&str) -> Option<i64>) -> Result<i64, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    let too_long = || DurationError::TooLong(text.to_owned());
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(malformed());
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
        let (word, after) = split_while(after.trim_start(), char::is_alphabetic);
        let word = word.to_lowercase();
        if matches!(word.trim_end_matches('s'), "month" | "year") {
            return Err(DurationError::NoFixedLength(text.to_owned()));
        }
        let scale = unit(&word).ok_or_else(malformed)?;
        let us = scaled(number, scale.unsigned_abs()).ok_or_else(malformed)?;
        let us = i64::try_from(us).map_err(|_| too_long())?;
        total = total.checked_add(us).ok_or_else(too_long)?;
        rest = after.trim_start();
    }
    Ok(total)
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c: char| !belongs(c)).unwrap_or(text.len()))
}

/// A unit by its short form or its word.
fn unit_us(unit: &str) -> Option<i64> {
    Some(match unit {
        "us" | "µs" | "μs" => 1,
        "ms" => MILLISECOND_US,
        "s" | "sec" | "secs" => SECOND_US,
        "m" | "min" | "mins" => MINUTE_US,
        "h" | "hr" | "hrs" => HOUR_US,
        "d" => DAY_US,
        "w" => 7 * DAY_US,
        word => return word_us(word),
    })
}

/// A unit by its word: those that Spark knows.
fn word_us(word: &str) -> Option<i64> {
    Some(match word.strip_suffix('s').unwrap_or(word) {
        "microsecond" => 1,
        "millisecond" => MILLISECOND_US,
        "second" => SECOND_US,
        "minute" => MINUTE_US,
        "hour" => HOUR_US,
        "day" => DAY_US,
        "week" => 7 * DAY_US,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_microseconds() {
        for (text, us) in [
            ("5 minutes", 5 * MINUTE_US),
            ("5m", 5 * MINUTE_US),
            ("5 min", 5 * MINUTE_US),
            ("5 MINS", 5 * MINUTE_US),
            ("1 hour 30 minutes", 90 * MINUTE_US),
            ("1h30m", 90 * MINUTE_US),
            ("1.5 h", 90 * MINUTE_US),
            ("1.5m", 90 * SECOND_US),
            ("500ms", 500_000),
            ("100 ms", 100_000),
            (" 10s ", 10 * SECOND_US),
            ("0.5 seconds", 500_000),
            (".5s", 500_000),
            ("7 µs", 7),
            ("2 days", 2 * DAY_US),
            ("1 week", 7 * DAY_US),
            ("2week", 14 * DAY_US),
            ("0 seconds", 0),
        ] {
            assert_eq!(parse_us(text), Ok(us), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "5",
            "minutes",
            "-5 minutes",
            "5 minutes ago",
            "1.2.3 s",
            "1. s",
            "0.0000001 s",
            "1e3s",
            "5 m 3",
            "inf s",
        ] {
            assert_eq!(parse_us(text), Err(DurationError::Malformed(text.to_owned())), "{text}");
        }
        assert_eq!(parse_us("1 month"), Err(DurationError::NoFixedLength("1 month".to_owned())));
        assert_eq!(parse_us("9999999999 days"), Err(DurationError::TooLong("9999999999 days".to_owned())));
        assert_eq!(parse("0s"), Err(DurationError::Zero));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn a_number_alone_means_what_its_place_says() {
        assert_eq!(parse_us_or_number("1500", MILLISECOND_US), Ok(1_500_000));
        assert_eq!(parse_us_or_number("5m", MILLISECOND_US), Ok(5 * MINUTE_US));
        assert!(parse_us_or_number("", SECOND_US).is_err() && parse_us_or_number("-1", SECOND_US).is_err());
        assert!(parse_us_or_number("9223372036854775807", SECOND_US).is_err());
    }

    #[test]
    fn an_interval_of_a_query_uses_the_words_of_spark_only() {
        assert_eq!(parse_spark_us("INTERVAL 5 Minutes"), Ok(5 * MINUTE_US));
        assert_eq!(parse_spark_us("-1 hour"), Ok(-HOUR_US));
        assert_eq!(parse_spark_us("1 day"), Ok(DAY_US));
        for text in ["100 ms", "5 min", "5 m", "5 s", "1 d", "1 hr"] {
            assert!(parse_spark_us(text).is_err(), "{text}");
        }
    }
}
