//! Numbers and booleans from text.

/// A whole number in decimal, blanks around it allowed.
#[inline]
pub(crate) fn parse_integer(text: &[u8]) -> Option<i64> {
    let text = trim(text);
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    if digits.len() > 18 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let mut number = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(if negative { -number } else { number })
}

pub(crate) fn parse_double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(trim(text)).ok()?.parse().ok()
}

pub(crate) fn parse_boolean(text: &[u8]) -> Option<bool> {
    match trim(text).to_ascii_lowercase().as_slice() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

#[inline]
fn trim(text: &[u8]) -> &[u8] {
    match text {
        [b' ' | b'\t' | b'\r', ..] | [.., b' ' | b'\t' | b'\r'] => text.trim_ascii(),
        _ => text,
    }
}
