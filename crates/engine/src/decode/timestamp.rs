//! Parses timestamps by a declared pattern (`yyyy-MM-dd HH:mm:ss`), letter by letter as Spark's do.

use chrono::NaiveDate;

/// A compiled timestamp pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Number { field: Field, digits: usize },
    Literal(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    ShortYear,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    /// A fraction of a second with as many digits as letters.
    Fraction,
}

impl Pattern {
    /// Compiles `text`; the error names the letter that is not offered.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let (mut parts, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let letter = bytes[at];
            if letter == b'\'' {
                let end = bytes[at + 1..].iter().position(|b| *b == b'\'').ok_or("a quote is not closed")?;
                parts.extend(bytes[at + 1..at + 1 + end].iter().map(|b| Part::Literal(*b)));
                at += end + 2;
                continue;
            }
            if !letter.is_ascii_alphabetic() {
                parts.push(Part::Literal(letter));
                at += 1;
                continue;
            }
            let digits = bytes[at..].iter().take_while(|b| **b == letter).count();
            let field = match (letter, digits) {
                (b'y', 4) => Field::Year,
                (b'y', 2) => Field::ShortYear,
                (b'M', 2) => Field::Month,
                (b'd', 2) => Field::Day,
                (b'H', 2) => Field::Hour,
                (b'm', 2) => Field::Minute,
                (b's', 2) => Field::Second,
                (b'S', 1..=6) => Field::Fraction,
                _ => return Err(format!("{:?} is not offered", &text[at..at + digits])),
            };
            parts.push(Part::Number { field, digits });
            at += digits;
        }
        Ok(Self { parts })
    }

    /// Local time as `(seconds, microseconds)` since 1970-01-01T00:00:00, or `None` when `text` does not fit.
    #[inline]
    pub(crate) fn parse(&self, text: &[u8]) -> Option<(i64, i64)> {
        let (mut year, mut month, mut day) = (1970i64, 1i64, 1i64);
        let (mut hour, mut minute, mut second, mut micros) = (0i64, 0i64, 0i64, 0i64);
        let mut at = 0;
        for part in &self.parts {
            match *part {
                Part::Literal(byte) => {
                    if text.get(at) != Some(&byte) {
                        return None;
                    }
                    at += 1;
                }
                Part::Number { field, digits } => {
                    let mut number = 0i64;
                    for byte in text.get(at..at + digits)? {
                        let digit = byte.wrapping_sub(b'0');
                        if digit > 9 {
                            return None;
                        }
                        number = number * 10 + i64::from(digit);
                    }
                    at += digits;
                    match field {
                        Field::Year => year = number,
                        Field::ShortYear => year = 2000 + number,
                        Field::Month => month = number,
                        Field::Day => day = number,
                        Field::Hour => hour = number,
                        Field::Minute => minute = number,
                        Field::Second => second = number,
                        Field::Fraction => micros = number * 10i64.pow(6 - digits as u32),
                    }
                }
            }
        }
        let fits = at == text.len() && hour < 24 && minute < 60 && second < 60;
        if !fits {
            return None;
        }
        let days = days_from_civil(year, month, day)?;
        Some((days * 86_400 + hour * 3_600 + minute * 60 + second, micros))
    }
}

/// Days since 1970-01-01, or `None` for a date that is not in the calendar.
#[inline]
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    // chrono checks month lengths and leap years; its day number counts from 0001-01-01.
    const EPOCH: i64 = 719_163;
    let date = NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)?;
    Some(i64::from(chrono::Datelike::num_days_from_ce(&date)) - EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_reads_what_it_says_and_nothing_else() {
        let pattern = Pattern::new("yyyy-MM-dd HH:mm:ss").unwrap();
        assert_eq!(pattern.parse(b"2023-09-22 14:05:00"), Some((1_695_391_500, 0)));
        assert_eq!(pattern.parse(b"1969-12-31 23:59:59"), Some((-1, 0)));
        for wrong in
            [&b"2023-09-22 14:05"[..], b"2023-09-22 14:05:00Z", b"2023-02-30 00:00:00", b"2023-09-22 24:00:00", b""]
        {
            assert_eq!(pattern.parse(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn fractions_short_years_and_quoted_letters_are_offered() {
        let pattern = Pattern::new("MM/dd/yy'T'HH:mm:ss.SSS").unwrap();
        assert_eq!(pattern.parse(b"01/01/70T00:00:01.250"), Some((3_155_760_001, 250_000)));
        assert_eq!(Pattern::new("EEE").unwrap_err(), "\"EEE\" is not offered");
    }
}
