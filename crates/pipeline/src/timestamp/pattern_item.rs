//! The pieces of Spark's date-time patterns: what their letters mean.
//!
//! Source: <https://spark.apache.org/docs/latest/sql-ref-datetime-pattern.html>.

/// One piece of a pattern. Widths are the least number of digits, filled with zeros.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PatternItem {
    /// Text that stands for itself.
    Literal(String),
    /// `y`: the year; two letters mean its last two digits (2000 to 2099 when read).
    Year(usize),
    /// `M`, `L`: the month, 1 to 12.
    Month(usize),
    /// `MMM` (`Jan`) or, when full, `MMMM` (`January`).
    MonthName {
        /// Whether the name is written out.
        full: bool,
    },
    /// `d`: the day of the month, 1 to 31.
    Day(usize),
    /// `D`: the day of the year, 1 to 366.
    DayOfYear(usize),
    /// `E` (`Tue`) or, when full, `EEEE` (`Tuesday`).
    Weekday {
        /// Whether the name is written out.
        full: bool,
    },
    /// `Q`, `q`: the quarter, 1 to 4.
    Quarter(usize),
    /// `H`: the hour, 0 to 23.
    Hour(usize),
    /// `k`: the hour, 1 to 24.
    HourFrom1(usize),
    /// `h`: the hour of the half day, 1 to 12.
    HalfDayHour(usize),
    /// `K`: the hour of the half day, 0 to 11.
    HalfDayHourFrom0(usize),
    /// `a`: `AM` or `PM`.
    HalfDay,
    /// `m`: the minute.
    Minute(usize),
    /// `s`: the second.
    Second(usize),
    /// `S`: this many digits of the fraction of the second.
    Fraction(usize),
    /// `X`, `x`, `Z`: the offset from UTC.
    Offset {
        /// Whether a colon parts hours and minutes.
        colon: bool,
        /// Whether minutes are left out when they are zero.
        short: bool,
        /// Whether an offset of zero is written `Z`.
        zulu: bool,
        /// Whether seconds are written where there are some.
        seconds: bool,
    },
    /// `z`: the short name of the zone (`EST`).
    ZoneName,
    /// `VV`: the IANA name of the zone.
    ZoneId,
    /// `[…]`: what may be missing when read. It is always written.
    Optional(Vec<PatternItem>),
}

/// Cuts a pattern into its items.
///
/// # Errors
/// A sentence that names the letter that is not supported, or the quote or bracket that does not end.
pub(super) fn parse(text: &str) -> Result<Vec<PatternItem>, String> {
    PatternParser { text, rest: text }.items(false)
}

struct PatternParser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl PatternParser<'_> {
    /// The items up to the end, or up to the bracket that ends an optional part.
    fn items(&mut self, optional: bool) -> Result<Vec<PatternItem>, String> {
        let mut items = Vec::new();
        let mut literal = String::new();
        let flush = |literal: &mut String, items: &mut Vec<PatternItem>| {
            if !literal.is_empty() {
                items.push(PatternItem::Literal(std::mem::take(literal)));
            }
        };
        while let Some(c) = self.rest.chars().next() {
            let count = self.rest.chars().take_while(|other| *other == c).count();
            let mut taken = count * c.len_utf8();
            match c {
                '\'' => {
                    let quote = quoted(self.rest, &mut literal);
                    taken = quote.ok_or_else(|| format!("the quote in \"{}\" does not end", self.text))?;
                }
                '[' => {
                    flush(&mut literal, &mut items);
                    self.rest = &self.rest[1..];
                    items.push(PatternItem::Optional(self.items(true)?));
                    continue;
                }
                ']' if optional => {
                    flush(&mut literal, &mut items);
                    self.rest = &self.rest[1..];
                    return Ok(items);
                }
                ']' => return Err(format!("the pattern \"{}\" has a ] without its [", self.text)),
                '{' | '}' | '#' => {
                    return Err(format!("the pattern \"{}\" contains {c}, which is not supported", self.text));
                }
                _ if c.is_ascii_alphabetic() => {
                    flush(&mut literal, &mut items);
                    items.push(item(c, count).ok_or_else(|| refusal(c, count))?);
                }
                _ => literal.push_str(&self.rest[..taken]),
            }
            self.rest = &self.rest[taken..];
        }
        flush(&mut literal, &mut items);
        if optional {
            return Err(format!("the pattern \"{}\" has a [ without its ]", self.text));
        }
        Ok(items)
    }
}

/// Takes a quoted text, or the two quotes that mean one, from the start of `rest`; returns its length.
fn quoted(rest: &str, literal: &mut String) -> Option<usize> {
    if rest.starts_with("''") {
        literal.push('\'');
        return Some(2);
    }
    let mut at = 1;
    loop {
        let end = at + rest[at..].find('\'')?;
        literal.push_str(&rest[at..end]);
        at = end + 1;
        if !rest[at..].starts_with('\'') {
            return Some(at);
        }
        literal.push('\'');
        at += 1;
    }
}

fn item(letter: char, count: usize) -> Option<PatternItem> {
    Some(match (letter, count) {
        ('y', 1..=6) => PatternItem::Year(count),
        ('M' | 'L', 1 | 2) => PatternItem::Month(count),
        ('M' | 'L', 3 | 4) => PatternItem::MonthName { full: count == 4 },
        ('d', 1 | 2) => PatternItem::Day(count),
        ('D', 1..=3) => PatternItem::DayOfYear(count),
        ('E', 1..=4) => PatternItem::Weekday { full: count == 4 },
        ('Q' | 'q', 1 | 2) => PatternItem::Quarter(count),
        ('H', 1 | 2) => PatternItem::Hour(count),
        ('k', 1 | 2) => PatternItem::HourFrom1(count),
        ('h', 1 | 2) => PatternItem::HalfDayHour(count),
        ('K', 1 | 2) => PatternItem::HalfDayHourFrom0(count),
        ('a', 1) => PatternItem::HalfDay,
        ('m', 1 | 2) => PatternItem::Minute(count),
        ('s', 1 | 2) => PatternItem::Second(count),
        ('S', 1..=9) => PatternItem::Fraction(count),
        ('X' | 'x', 1..=3) => {
            PatternItem::Offset { colon: count == 3, short: count == 1, zulu: letter == 'X', seconds: false }
        }
        ('Z', 1..=3) => PatternItem::Offset { colon: false, short: false, zulu: false, seconds: false },
        ('Z', 5) => PatternItem::Offset { colon: true, short: false, zulu: true, seconds: true },
        ('z', 1..=3) => PatternItem::ZoneName,
        ('V', 2) => PatternItem::ZoneId,
        _ => return None,
    })
}

fn refusal(letter: char, count: usize) -> String {
    let run: String = std::iter::repeat_n(letter, count).collect();
    match letter {
        'u' => "the pattern letter u is refused by Spark too; write y".to_owned(),
        'Y' => format!("the pattern letters {run} mean the year of the week, which Spark refuses too; write yyyy"),
        _ => format!("the pattern letters {run} are not supported; quote text with '…'"),
    }
}
