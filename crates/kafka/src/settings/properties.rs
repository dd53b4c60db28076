//! Java-style properties files, with the line of every entry.
//!
//! The format is `java.util.Properties.load`'s: `#` and `!` comments, `=`, `:` or spaces between key and value, a
//! backslash that continues a line or escapes a character, `\uXXXX`. Only a value without a key is an error.

use std::iter::Peekable;
use std::str::Chars;

/// One entry of a properties file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PropertyEntry {
    /// Line on which the entry begins, from 1.
    pub(crate) line: usize,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// A line that is not an entry. The text of the line is left out: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokenLine {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

/// Parses the text of a properties file; entries come in the order of the file.
pub(crate) fn parse(text: &str) -> Result<Vec<PropertyEntry>, BrokenLine> {
    let mut entries = Vec::new();
    for (line, logical) in logical_lines(text) {
        let broken = |reason: String| BrokenLine { line, reason };
        let mut chars = logical.chars().peekable();
        let key = unescape(&mut chars, true).map_err(broken)?;
        skip_separator(&mut chars);
        let value = unescape(&mut chars, false).map_err(broken)?;
        // Blanks at the end of a value are part of it in Java; in a client's configuration they are an accident.
        let value = value.trim_end().to_owned();
        if key.is_empty() {
            return Err(broken("a value without a key".to_owned()));
        }
        entries.push(PropertyEntry { line, key, value });
    }
    Ok(entries)
}

/// Lines joined at their continuations, without comments and blank lines, each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    // Some editors begin a file with a mark of its encoding.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, raw) in text.lines().enumerate() {
        let part = raw.trim_start();
        if open.is_none() && (part.is_empty() || part.starts_with(['#', '!'])) {
            continue;
        }
        let (first, mut joined) = open.take().unwrap_or((number + 1, String::new()));
        let backslashes = part.chars().rev().take_while(|c| *c == '\\').count();
        if backslashes % 2 == 1 {
            joined.push_str(&part[..part.len() - 1]);
            open = Some((first, joined));
        } else {
            joined.push_str(part);
            lines.push((first, joined));
        }
    }
    lines.extend(open);
    lines
}

fn skip_separator(chars: &mut Peekable<Chars<'_>>) {
    let blanks = |chars: &mut Peekable<Chars<'_>>| while chars.next_if(|c| c.is_whitespace()).is_some() {};
    blanks(chars);
    if chars.next_if(|c| matches!(c, '=' | ':')).is_some() {
        blanks(chars);
    }
}

/// Takes characters, escapes resolved: for a key up to its separator, for a value to the end.
fn unescape(chars: &mut Peekable<Chars<'_>>, is_key: bool) -> Result<String, String> {
    let mut out = String::new();
    while let Some(c) = chars.next_if(|c| !(is_key && (matches!(c, '=' | ':') || c.is_whitespace()))) {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => out.push(unicode(chars)?),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

/// The character after `\u`: one of four digits, or two of them that make a pair of UTF-16.
fn unicode(chars: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let mut character = || {
        let first = unit(chars)?;
        if let Some(c) = char::from_u32(first.into()) {
            return Some(c);
        }
        let second = (chars.next() == Some('\\') && chars.next() == Some('u')).then(|| unit(chars)).flatten()?;
        char::decode_utf16([first, second]).next()?.ok()
    };
    character().ok_or_else(|| "`\\u` must be followed by four hexadecimal digits of a character".to_owned())
}

fn unit(chars: &mut Peekable<Chars<'_>>) -> Option<u16> {
    let digits: String = chars.by_ref().take(4).collect();
    if digits.len() == 4 { u16::from_str_radix(&digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(usize, String, String)> {
        parse(text).unwrap().into_iter().map(|e| (e.line, e.key, e.value)).collect()
    }

    #[test]
    fn comments_separators_and_continuations_read_as_in_java() {
        let text = "# a comment\n! another\n\nbootstrap.servers=a:9092,\\\n    b:9092\nsecurity.protocol: SASL_SSL\n\
                    sasl.mechanism PLAIN\nclient\\ id = x \\u0041\\t=y\\\\\n";
        assert_eq!(
            entries(text),
            vec![
                (4, "bootstrap.servers".into(), "a:9092,b:9092".into()),
                (6, "security.protocol".into(), "SASL_SSL".into()),
                (7, "sasl.mechanism".into(), "PLAIN".into()),
                (8, "client id".into(), "x A\t=y\\".into()),
            ]
        );
    }

    #[test]
    fn windows_line_ends_and_a_last_line_without_one_are_fine() {
        assert_eq!(entries("a=1\r\nb=2"), vec![(1, "a".into(), "1".into()), (2, "b".into(), "2".into())]);
    }

    #[test]
    fn characters_beyond_the_first_plane_are_written_as_pairs() {
        assert_eq!(entries("a=\\u00e9\\uD83D\\uDE00x"), vec![(1, "a".into(), "\u{e9}\u{1F600}x".into())]);
        assert!(parse("a=\\uD83Dx").is_err() && parse("a=\\uD83D\\u0041").is_err());
    }

    #[test]
    fn a_key_may_stand_alone() {
        assert_eq!(entries("\u{feff}a\nb=\n"), vec![(1, "a".into(), "".into()), (2, "b".into(), "".into())]);
    }

    #[test]
    fn a_broken_line_is_named_and_its_text_is_not_shown() {
        let broken = parse("a=1\n\n=hush\n").unwrap_err();
        assert_eq!((broken.line, broken.reason.as_str()), (3, "a value without a key"));
        let escape = parse("sasl.password=hush\\u00zz").unwrap_err();
        assert!(escape.line == 1 && !escape.reason.contains("hush"), "{escape:?}");
    }
}
