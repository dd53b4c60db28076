//! Numbers, sizes, times and bytes as a person reads them.

use chrono::DateTime;
use maud::{Markup, html};
use turnstile_values::{DAY_US, HOUR_US, MILLISECOND_US, MINUTE_US, SECOND_US, human};

/// The dash that stands for what is unknown, with a word for those who hear the page.
pub(crate) fn unknown() -> Markup {
    html! {
        span.unknown title="unknown" aria-label="unknown" { "–" }
    }
}

/// A count with its thousands apart, or a dash.
pub(crate) fn count_or_dash(count: Option<u64>) -> Markup {
    match count {
        Some(count) => html! {
            (human::count(count))
        },
        None => unknown(),
    }
}

/// A size with three digits at most: `12.3 MiB`.
pub(crate) fn rough_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} {}", if bytes == 1 { "byte" } else { "bytes" }),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 100.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A number for an axis or a cell: thousands apart, at most two decimals.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e15 || !value.is_finite() {
        return format!("{value:e}");
    }
    let sign = if value < 0.0 { "−" } else { "" };
    if magnitude >= 1000.0 {
        return format!("{sign}{}", human::count(magnitude.round() as u64));
    }
    let text = format!("{magnitude:.2}");
    format!("{sign}{}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A duration for a glance: `84 ms`, `12 s`, `3 min 20 s`, `1 h 5 min`, `4 d 2 h`.
pub(crate) fn short_duration(us: i64) -> String {
    let us = us.max(0);
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big} {big_unit}"),
        _ => format!("{big} {big_unit} {small} {small_unit}"),
    };
    match us {
        0..SECOND_US => format!("{} ms", us / MILLISECOND_US),
        SECOND_US..MINUTE_US => format!("{} s", us / SECOND_US),
        MINUTE_US..HOUR_US => two(us / MINUTE_US, "min", us % MINUTE_US / SECOND_US, "s"),
        HOUR_US..DAY_US => two(us / HOUR_US, "h", us % HOUR_US / MINUTE_US, "min"),
        _ => two(us / DAY_US, "d", us % DAY_US / HOUR_US, "h"),
    }
}

/// Seconds as [`short_duration`].
pub(crate) fn short_seconds(seconds: f64) -> String {
    // `as` saturates; no age is negative or near 64 bits.
    short_duration((seconds * SECOND_US as f64) as i64)
}

/// `2026-08-01 08:05:00`, in UTC.
pub(crate) fn date_time(us: i64) -> String {
    format_time(us, "%Y-%m-%d %H:%M:%S")
}

/// `08:05`, or `08:05:30` where seconds matter.
pub(crate) fn time_of_day(us: i64) -> String {
    format_time(us, if us.rem_euclid(MINUTE_US) == 0 { "%H:%M" } else { "%H:%M:%S" })
}

/// `2026-08-01`.
pub(crate) fn date(us: i64) -> String {
    format_time(us, "%Y-%m-%d")
}

fn format_time(us: i64, format: &str) -> String {
    DateTime::from_timestamp_micros(us).map_or_else(|| format!("{us} µs"), |at| at.format(format).to_string())
}

/// An instant as an element that machines read too.
pub(crate) fn instant(us: i64) -> Markup {
    html! {
        time datetime=(human::instant(us)) { (date_time(us)) }
    }
}

/// An instant or a dash.
pub(crate) fn instant_or_dash(us: Option<i64>) -> Markup {
    match us {
        Some(us) => instant(us),
        None => unknown(),
    }
}

/// How long ago: `12 s ago`. The script keeps it current.
pub(crate) fn age(us: i64, now_us: i64) -> Markup {
    let text = if us > now_us {
        format!("in {}", short_duration(us - now_us))
    } else {
        format!("{} ago", short_duration(now_us - us))
    };
    html! {
        time.age datetime=(human::instant(us)) title=(date_time(us)) data-age="ago" { (text) }
    }
}

/// How long it has been: `12 s`. The script keeps it current.
pub(crate) fn elapsed(since_us: i64, now_us: i64) -> Markup {
    let text = short_duration(now_us - since_us);
    html! {
        time.age datetime=(human::instant(since_us)) title=(date_time(since_us)) data-age="for" { (text) }
    }
}

/// A window's span: `08:00–08:05` with its date.
pub(crate) fn window_span(start_us: i64, end_us: i64) -> Markup {
    let same_day = date(start_us) == date(end_us - 1);
    html! {
        span.window-span {
            span.date { (date(start_us)) }
            " "
            span.times {
                (time_of_day(start_us))
                "–"
                @if !same_day { (date(end_us)) " " }
                (time_of_day(end_us))
            }
        }
    }
}

/// Bytes of a message: as text where they are text, else in hexadecimal, in any case at most `limit` of them.
///
/// Control characters other than line ends and tabs are shown as `\u{…}`, and so are characters that change the direction
/// of text, so nothing can pose as something else.
pub(crate) fn message_bytes(bytes: &[u8], limit: usize) -> (String, &'static str) {
    let shown = &bytes[..bytes.len().min(limit)];
    // A limit may cut the last character in two.
    let text = match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&shown[..error.valid_up_to()]).ok(),
        Err(_) => None,
    };
    match text {
        Some(text) => (text.chars().map(visible).collect(), "text"),
        None => (hex_dump(shown), "hexadecimal"),
    }
}

fn visible(c: char) -> String {
    let misleading =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    match c {
        '\n' | '\t' => c.to_string(),
        _ if c.is_control() || misleading => c.escape_unicode().to_string(),
        _ => c.to_string(),
    }
}

fn hex_dump(bytes: &[u8]) -> String {
    let line = |(at, chunk): (usize, &[u8])| {
        let hex: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = chunk.iter().map(|b| if (32..127).contains(b) { char::from(*b) } else { '.' }).collect();
        format!("{:06x}  {:<47}  {text}\n", at * 16, hex.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_a_unit() {
        let sizes = [0, 1, 1023, 1024, 15_000, 300 << 20, 5 << 40].map(rough_size);
        assert_eq!(sizes, ["0 bytes", "1 byte", "1023 bytes", "1.00 KiB", "14.6 KiB", "300 MiB", "5.00 TiB"]);
    }

    #[test]
    fn numbers_keep_what_a_person_reads() {
        let numbers = [0.0, 0.5, 0.999, 12.25, 1234.5, -7.0, 1e6].map(number);
        assert_eq!(numbers, ["0", "0.5", "1", "12.25", "1,235", "−7", "1,000,000"]);
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let durations = [84_000, 12 * SECOND_US, 200 * SECOND_US, 3900 * SECOND_US, 98 * HOUR_US].map(short_duration);
        assert_eq!(durations, ["84 ms", "12 s", "3 min 20 s", "1 h 5 min", "4 d 2 h"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_dumped_and_a_cut_character_is_left_out() {
        assert_eq!(message_bytes("A,é".as_bytes(), 3), ("A,".to_owned(), "text"));
        assert_eq!(message_bytes("a\u{0}\u{202e}b".as_bytes(), 99).0, "a\\u{0}\\u{202e}b");
        let (dump, form) = message_bytes(&[0xff, 0x41, 0x00], 99);
        assert_eq!(form, "hexadecimal");
        assert!(dump.starts_with("000000  ff 41 00") && dump.ends_with("  .A.\n"), "{dump}");
    }
}
