//! Durations and sizes as a person writes them.

/// Microseconds in a `5 minutes`, `1 hour 30 minutes`, `100 ms` or `0.5 seconds`.
///
/// The words are those of Spark's intervals, and the short forms `us`, `ms`, `s`, `min`, `h`, `d`.
/// Months and years have no fixed length and are refused. The result is never negative.
pub(crate) fn duration_us(text: &str) -> Result<i64, String> {
    parse_duration(text, unit_us)
}

/// The same for an interval inside the SQL, where only Spark's own words are allowed: the query must
/// run there as it stands. A leading `interval` and a minus sign are allowed, as they are in Spark.
pub(crate) fn spark_interval_us(text: &str) -> Result<i64, String> {
    let trimmed = text.trim();
    let rest = match trimmed.get(..9) {
        Some(word) if word.eq_ignore_ascii_case("interval ") => trimmed[9..].trim_start(),
        _ => trimmed,
    };
    let (sign, rest) = match rest.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, rest),
    };
    let us = parse_duration(rest, |word| {
        if word.len() <= 3 && word != "day" {
            return None;
        }
        unit_us(word)
    })?;
    Ok(sign * us)
}

fn parse_duration(text: &str, unit: impl Fn(&str) -> Option<i64>) -> Result<i64, String> {
    let wrong = || format!("\"{text}\" is not a duration");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (word, after) = after.split_at(letters);
        let word = word.to_ascii_lowercase();
        if matches!(word.trim_end_matches('s'), "month" | "year") {
            return Err(format!("\"{text}\" has no fixed length: months and years differ"));
        }
        let scale = unit(&word).ok_or_else(wrong)?;
        let us = scaled(number, scale).ok_or_else(wrong)?;
        total = total.checked_add(us).ok_or_else(|| format!("\"{text}\" is too long"))?;
        rest = after.trim_start();
    }
    Ok(total)
}

fn unit_us(word: &str) -> Option<i64> {
    const SECOND: i64 = 1_000_000;
    Some(match word {
        "us" | "microsecond" | "microseconds" => 1,
        "ms" | "millisecond" | "milliseconds" => 1_000,
        "s" | "second" | "seconds" => SECOND,
        "min" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hour" | "hours" => 3_600 * SECOND,
        "d" | "day" | "days" => 86_400 * SECOND,
        "week" | "weeks" => 7 * 86_400 * SECOND,
        _ => return None,
    })
}

/// `number` (digits, perhaps with a fraction) times `scale`, exact; `None` when it is no whole result.
fn scaled(number: &str, scale: i64) -> Option<i64> {
    let (whole, fraction) = match number.split_once('.') {
        None => (number, ""),
        Some((_, "")) => return None,
        Some(parts) => parts,
    };
    let whole: i64 = whole.parse().ok()?;
    let mut us = whole.checked_mul(scale)?;
    let mut digit_us = scale;
    for digit in fraction.chars() {
        let digit = i64::from(digit.to_digit(10)?);
        if digit_us % 10 != 0 && digit != 0 {
            return None;
        }
        digit_us /= 10;
        us = us.checked_add(digit * digit_us)?;
    }
    Some(us)
}

/// Bytes in a `256 MiB`, `1 GB` or `4096`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a size");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, word) = trimmed.split_at(digits);
    let scale: i64 = match word.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    // Binary units do not divide by ten, so a fraction is taken only where it comes out whole.
    let value = match number.split_once('.') {
        Some((_, fraction)) if fraction.len() <= 3 && !fraction.is_empty() => {
            let thousandths = scaled(number, 1_000).ok_or_else(wrong)?;
            let product = i128::from(thousandths) * i128::from(scale);
            if product % 1_000 != 0 {
                return Err(wrong());
            }
            u64::try_from(product / 1_000).map_err(|_| wrong())?
        }
        _ => scaled(number, scale).and_then(|n| u64::try_from(n).ok()).ok_or_else(wrong)?,
    };
    Ok(value)
}

/// A duration as a person reads it: the largest units first, nothing lost.
pub(crate) fn show_us(us: i64) -> String {
    if us == 0 {
        return "0 seconds".into();
    }
    let mut rest = us.unsigned_abs();
    let mut parts = Vec::new();
    for (word, scale) in [
        ("day", 86_400_000_000),
        ("hour", 3_600_000_000),
        ("minute", 60_000_000),
        ("second", 1_000_000),
        ("millisecond", 1_000),
        ("microsecond", 1_u64),
    ] {
        let count = rest / scale;
        rest %= scale;
        if count > 0 {
            parts.push(format!("{count} {word}{}", if count == 1 { "" } else { "s" }));
        }
    }
    format!("{}{}", if us < 0 { "-" } else { "" }, parts.join(" "))
}

/// A size as a person reads it, in the largest binary unit that divides it.
pub(crate) fn show_bytes(bytes: u64) -> String {
    for (word, scale) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= scale && bytes.is_multiple_of(scale) {
            return format!("{} {word}", bytes / scale);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_microseconds() {
        for (text, us) in [
            ("5 minutes", 300_000_000),
            ("1 hour 30 minutes", 5_400_000_000),
            ("100 ms", 100_000),
            ("0.5 seconds", 500_000),
            ("2week", 1_209_600_000_000),
            ("0 seconds", 0),
            ("1.5 h", 5_400_000_000),
        ] {
            assert_eq!(duration_us(text), Ok(us), "{text}");
        }
        for text in
            ["", "5", "minutes", "-5 minutes", "5 mins ago", "1.2.3 s", "1 month", "0.0000001 s", "99999999999999 days"]
        {
            assert!(duration_us(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_interval_of_the_sql_uses_the_words_of_spark_only() {
        assert_eq!(spark_interval_us("INTERVAL 5 Minutes"), Ok(300_000_000));
        assert_eq!(spark_interval_us("-1 hour"), Ok(-3_600_000_000));
        assert_eq!(spark_interval_us("1 day"), Ok(86_400_000_000));
        for text in ["100 ms", "5 min", "5 s", "1 d"] {
            assert!(spark_interval_us(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_exact_bytes_and_durations_and_sizes_read_back() {
        for (text, n) in [("256 MiB", 256 << 20), ("1GB", 1_000_000_000), ("1.5 GiB", 1536 << 20), ("4096", 4096)] {
            assert_eq!(bytes(text), Ok(n), "{text}");
        }
        for text in ["", "MiB", "-1 MiB", "1 TiBB", "1.3 KiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(show_us(5_400_100_000), "1 hour 30 minutes 100 milliseconds");
        assert_eq!(show_bytes(256 << 20), "256 MiB");
    }
}
