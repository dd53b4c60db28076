//! Decimals in PostgreSQL's binary format of `numeric`.
//!
//! Digits in base 10,000, the weight of the first, a sign, and the number of decimal digits after the point.
//! Source: `numeric_recv` in PostgreSQL's `src/backend/utils/adt/numeric.c`.

use bytes::{BufMut, BytesMut};

/// Decimal digits in one digit of the format.
const GROUP: usize = 4;
/// Digits of the longest value with zeros on both sides: 39 of a 128-bit number, up to 38 behind the point, padding.
const MAX_DIGITS: usize = 96;
const NEGATIVE: u16 = 0x4000;

/// Appends length and value of `unscaled / 10^scale`.
pub(super) fn put(unscaled: i128, scale: u8, out: &mut BytesMut) {
    let scale = usize::from(scale);
    let mut digits = [0u8; MAX_DIGITS];
    let first = decimal_digits(unscaled.unsigned_abs(), scale, &mut digits);
    let end = MAX_DIGITS - (GROUP - 1);
    // The point stands `scale` digits before the end; groups are counted from it in both directions.
    let point = end - scale;
    let start = point - (point - first).div_ceil(GROUP) * GROUP;
    let stop = point + scale.div_ceil(GROUP) * GROUP;
    let weight_of_first = ((point - start) / GROUP) as i16 - 1;

    let groups =
        digits[start..stop].chunks_exact(GROUP).map(|four| four.iter().fold(0i16, |n, d| n * 10 + i16::from(*d)));
    let leading = groups.clone().take_while(|group| *group == 0).count();
    let all = groups.len();
    let trailing = if leading == all { 0 } else { groups.clone().rev().take_while(|group| *group == 0).count() };
    let count = all - leading - trailing;

    out.put_i32(8 + 2 * count as i32);
    out.put_i16(count as i16);
    out.put_i16(if count == 0 { 0 } else { weight_of_first - leading as i16 });
    out.put_u16(if unscaled < 0 { NEGATIVE } else { 0 });
    out.put_i16(scale as i16);
    for group in groups.skip(leading).take(count) {
        out.put_i16(group);
    }
}

/// Writes the digits so that the last stands just before the padding; returns where the first is, which is at or
/// before the point.
fn decimal_digits(mut value: u128, scale: usize, digits: &mut [u8; MAX_DIGITS]) -> usize {
    let end = MAX_DIGITS - (GROUP - 1);
    let mut first = end;
    while value > 0 {
        first -= 1;
        digits[first] = (value % 10) as u8;
        value /= 10;
    }
    first.min(end - scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(unscaled: i128, scale: u8) -> (i16, u16, i16, Vec<i16>) {
        let mut out = BytesMut::new();
        put(unscaled, scale, &mut out);
        let word = |nth: usize| i16::from_be_bytes([out[4 + 2 * nth], out[5 + 2 * nth]]);
        assert_eq!(out.len(), 4 + 8 + 2 * word(0) as usize);
        (word(1), word(2) as u16, word(3), (0..word(0) as usize).map(|nth| word(4 + nth)).collect())
    }

    #[test]
    fn digits_are_grouped_from_the_point() {
        assert_eq!(encoded(0, 2), (0, 0, 2, vec![]));
        assert_eq!(encoded(1, 0), (0, 0, 0, vec![1]));
        assert_eq!(encoded(-1234567, 2), (1, NEGATIVE, 2, vec![1, 2345, 6700]));
        assert_eq!(encoded(5, 6), (-2, 0, 6, vec![500]));
        assert_eq!(encoded(10_000, 0), (1, 0, 0, vec![1]));
        assert_eq!(encoded(10_001, 4), (0, 0, 4, vec![1, 1]));
    }

    #[test]
    fn the_longest_values_fit() {
        let nines = 10i128.pow(38) - 1;
        assert_eq!(encoded(nines, 0).3.len(), 10);
        assert_eq!(encoded(nines, 38).3, [[9999; 9].as_slice(), &[9900]].concat());
        assert_eq!(encoded(i128::MIN, 38).1, NEGATIVE);
    }
}
