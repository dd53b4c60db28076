//! The form of a timestamp field: `format` in `[source.schema]`.

use std::fmt;

use turnstile_values::suggest;

use super::iso;
use super::local_time::LocalTime;
use super::pattern::TimestampPattern;

/// How the values of a timestamp field are written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TimestampFormat {
    /// Text by a pattern of Spark's.
    Pattern(TimestampPattern),
    /// `iso`: text as ISO 8601 has it, with or without time, fraction and offset.
    Iso,
    /// `epoch-s`, `epoch-ms`, `epoch-us`: a number since 1970-01-01T00:00:00Z, as a number or as text.
    Epoch(EpochUnit),
}

/// What a number since 1970 counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EpochUnit {
    /// `epoch-s`
    Seconds,
    /// `epoch-ms`
    Milliseconds,
    /// `epoch-us`
    Microseconds,
}

const WORDS: [(&str, TimestampFormat); 4] = [
    ("iso", TimestampFormat::Iso),
    ("epoch-s", TimestampFormat::Epoch(EpochUnit::Seconds)),
    ("epoch-ms", TimestampFormat::Epoch(EpochUnit::Milliseconds)),
    ("epoch-us", TimestampFormat::Epoch(EpochUnit::Microseconds)),
];

/// The pattern of a field that declares none.
const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

impl TimestampFormat {
    /// Reads `iso`, `epoch-…` or a pattern by which text can be read.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, format)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(format.clone());
        }
        if text.starts_with("iso") || text.starts_with("epoch") {
            let near = suggest(text, WORDS.iter().map(|(word, _)| *word));
            return Err(format!("unknown format \"{text}\"; {near}"));
        }
        let pattern = TimestampPattern::parse(text)?;
        pattern.check_readable()?;
        Ok(Self::Pattern(pattern))
    }
}

impl Default for TimestampFormat {
    fn default() -> Self {
        Self::Pattern(TimestampPattern::parse(DEFAULT_PATTERN).expect("a pattern of this file is valid"))
    }
}

impl fmt::Display for TimestampFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => pattern.fmt(f),
            word => f.write_str(WORDS.iter().find(|(_, format)| format == word).map_or("", |(word, _)| word)),
        }
    }
}

impl TimestampFormat {
    /// Reads `text`; `None` when it has another form.
    #[inline]
    pub fn read(&self, text: &[u8]) -> Option<LocalTime> {
        match self {
            Self::Pattern(pattern) => pattern.read(text),
            Self::Iso => iso::read(text.trim_ascii()),
            Self::Epoch(unit) => unit.read(text.trim_ascii()),
        }
    }
}

impl EpochUnit {
    /// Decimal places of a second that one unit has.
    fn places(self) -> usize {
        match self {
            Self::Seconds => 0,
            Self::Milliseconds => 3,
            Self::Microseconds => 6,
        }
    }

    /// The instant that `number` units after the epoch are; `None` beyond 64 bits of microseconds.
    pub fn instant(self, number: i64) -> Option<LocalTime> {
        let us = number.checked_mul(10i64.pow(6 - self.places() as u32))?;
        Some(LocalTime::of_instant(us))
    }

    /// Reads a decimal number of units; what lies below a microsecond is cut off towards the past.
    fn read(self, text: &[u8]) -> Option<LocalTime> {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] | digits => (false, digits),
        };
        let point = digits.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&digits[..at], &digits[at + 1..]),
            None => (digits, &b""[..]),
        };
        let all_digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || (point.is_some() && fraction.is_empty()) {
            return None;
        }
        let kept = 6 - self.places();
        let digit = |at: usize| fraction.get(at).map_or(0, |byte| i64::from(byte - b'0'));
        let whole = std::str::from_utf8(whole).ok()?.parse::<i64>().ok()?;
        let us = (0..kept).try_fold(whole, |us, at| us.checked_mul(10)?.checked_add(digit(at)))?;
        let below = fraction.iter().skip(kept).any(|byte| *byte != b'0');
        let us = if negative { -us - i64::from(below) } else { us };
        Some(LocalTime::of_instant(us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_or_a_pattern_is_a_format_and_is_shown_as_it_was_written() {
        for text in ["iso", "epoch-s", "epoch-ms", "epoch-us", "yyyy-MM-dd HH:mm[:ss]"] {
            assert_eq!(TimestampFormat::parse(text).unwrap().to_string(), text);
        }
        let wrong = TimestampFormat::parse("epoch_ms").unwrap_err();
        assert!(wrong.contains("epoch-ms"), "{wrong}");
        assert!(TimestampFormat::parse("HH:mm").is_err());
        assert_eq!(TimestampFormat::default().to_string(), "yyyy-MM-dd HH:mm:ss");
    }

    #[test]
    fn numbers_since_1970_are_read_to_the_microsecond() {
        let us = |format: &str, text: &str| {
            let read = TimestampFormat::parse(format).unwrap().read(text.as_bytes())?;
            assert_eq!(read.offset_secs, Some(0));
            Some(read.secs * 1_000_000 + read.micros)
        };
        for (format, text, expected) in [
            ("epoch-s", "1767607200", 1_767_607_200_000_000),
            ("epoch-s", " 1767607200.25 ", 1_767_607_200_250_000),
            ("epoch-ms", "1767607200123", 1_767_607_200_123_000),
            ("epoch-ms", "1767607200123.4567", 1_767_607_200_123_456),
            ("epoch-us", "-1", -1),
            ("epoch-us", "-1.5", -2),
            ("epoch-s", "-0.0000001", -1),
            ("epoch-s", "0", 0),
        ] {
            assert_eq!(us(format, text), Some(expected), "{format} {text}");
        }
        for wrong in ["", "-", ".5", "5.", "1e9", "0x10", "9999999999999999", "1 2"] {
            assert_eq!(us("epoch-s", wrong), None, "{wrong}");
        }
    }
}
