//! Decimal numbers, exactly: nothing is rounded.

use arrow::datatypes::{Decimal128Type, DecimalType};

/// `number` times ten to the power of `scale`, when it has at most `precision` digits.
pub(crate) fn from_integer(number: i64, precision: u8, scale: i8) -> Option<i128> {
    within(i128::from(number).checked_mul(power(i64::from(scale))?)?, precision)
}

/// The decimal that `unscaled` is with `from` digits after the point, with `scale` of them.
pub(crate) fn rescale(unscaled: i128, from: i64, precision: u8, scale: i8) -> Option<i128> {
    let shift = i64::from(scale) - from;
    let number = if shift >= 0 {
        if unscaled == 0 { 0 } else { unscaled.checked_mul(power(shift)?)? }
    } else {
        match power(-shift) {
            Some(divisor) if unscaled % divisor == 0 => unscaled / divisor,
            None if unscaled == 0 => 0,
            _ => return None,
        }
    };
    within(number, precision)
}

/// Reads `12.50`, `-0.5`, `1.25E3`, blanks around it allowed. `None` when it is no decimal number, or has more digits before
/// or after the point than fit.
pub(crate) fn parse(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let text = text.trim_ascii();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        // A few digits are enough for every exponent that can fit.
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i16>().ok()?),
        None => (text, 0),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let given = mantissa;
    // Zeros at its end say nothing, however many there are.
    let mantissa = match point {
        Some(_) => &mantissa[..mantissa.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1)],
        None => mantissa,
    };
    let mut unscaled = 0i128;
    for byte in mantissa.iter().enumerate().filter(|(at, _)| Some(*at) != point).map(|(_, byte)| byte) {
        let digit = Some(byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)?;
        unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let after = point.map_or(0, |at| mantissa.len() - at - 1) as i64;
    let number = rescale(unscaled, after - i64::from(exponent), precision, scale)?;
    let has_digits = given.len() > usize::from(point.is_some());
    has_digits.then_some(if negative { -number } else { number })
}

/// Big-endian two's complement, as Avro stores the unscaled number of a decimal; at most 128 bits count.
pub(crate) fn from_bytes(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let (high, low) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut number = [fill; 16];
    number[16 - low.len()..].copy_from_slice(low);
    let number = i128::from_be_bytes(number);
    let whole = high.iter().all(|byte| *byte == fill) && (number < 0) == (fill != 0);
    whole.then_some(number)
}

/// The number as people write it.
pub(crate) fn text(unscaled: i128, scale: i64) -> String {
    match i8::try_from(scale) {
        Ok(scale) => Decimal128Type::format_decimal(unscaled, Decimal128Type::MAX_PRECISION, scale),
        Err(_) => format!("{unscaled}E-{scale}"),
    }
}

fn power(of_ten: i64) -> Option<i128> {
    10i128.checked_pow(u32::try_from(of_ten).ok()?)
}

fn within(number: i128, precision: u8) -> Option<i128> {
    (number.unsigned_abs() < power(i64::from(precision))?.unsigned_abs()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_exactly_or_not_at_all() {
        for (text, expected) in [
            ("12.50", Some(1_250)),
            (" 12.5 ", Some(1_250)),
            ("-0.05", Some(-5)),
            ("+7", Some(700)),
            ("1.2500", Some(125)),
            ("1.5000000000000000000000000000000000000000000", Some(150)),
            (".0", Some(0)),
            ("1.50x0", None),
            ("1.25E3", Some(125_000)),
            ("125e-2", Some(125)),
            ("0e300", Some(0)),
            ("0.000000000000000000000000000000000000000000", Some(0)),
            (".5", Some(50)),
            ("5.", Some(500)),
            ("99999999.99", Some(9_999_999_999)),
            ("100000000", None),
            ("1.005", None),
            ("1e30", None),
            ("1e99999", None),
            ("", None),
            (".", None),
            ("-", None),
            ("1.2.3", None),
            ("NaN", None),
            ("１", None),
        ] {
            assert_eq!(parse(text.as_bytes(), 10, 2), expected, "{text}");
        }
        assert_eq!(parse("99999999999999999999999999999999999999".as_bytes(), 38, 0), power(38).map(|n| n - 1));
    }

    #[test]
    fn bytes_are_a_big_endian_number_with_a_sign() {
        assert_eq!(from_bytes(&[0x04, 0xe2]), Some(1_250));
        assert_eq!(from_bytes(&[0xff]), Some(-1));
        assert_eq!(from_bytes(&[&[0xff; 20][..], &[0xfb, 0x1e]].concat()), Some(-1_250));
        assert_eq!(from_bytes(&[&[0x00; 4][..], &[0x80], &[0; 15]].concat()), None);
        assert_eq!(from_bytes(&i128::MIN.to_be_bytes()), Some(i128::MIN));
        assert_eq!(from_bytes(&[]), None);
    }

    #[test]
    fn whole_numbers_and_other_scales_fit_or_do_not() {
        assert_eq!(from_integer(7, 10, 2), Some(700));
        assert_eq!(from_integer(i64::MAX, 10, 2), None);
        assert_eq!(rescale(1_250, 2, 10, 1), Some(125));
        assert_eq!(rescale(1_255, 2, 10, 1), None);
        assert_eq!(rescale(i128::MIN, 0, 38, 0), None);
    }
}
