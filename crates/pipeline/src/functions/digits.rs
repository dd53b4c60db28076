//! Decimal numbers of any length, digit by digit: what a double or a text says, rounded half away from zero.

/// A number as decimal digits: 0.d₁d₂d₃… times ten to the power of `exponent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digits {
    negative: bool,
    /// Each 0 to 9; the first is 0 only in a zero. At least one.
    digits: Vec<u8>,
    exponent: i64,
}

impl Digits {
    /// The shortest digits that mean `number`, which is finite.
    pub(crate) fn of_double(number: f64) -> Self {
        let shortest =
            Self::parse(&format!("{number:e}")).unwrap_or(Self { negative: false, digits: vec![0], exponent: 1 });
        shortest.with_ties_to_even(number)
    }

    /// Of two texts as short and as near, Java takes the one whose last digit is even, Rust the larger one.
    fn with_ties_to_even(mut self, number: f64) -> Self {
        let count = self.digits.len();
        // A number of 15 digits or fewer is the only one of that length that means its double.
        if count < 15 {
            return self;
        }
        let Some(exact) = Self::parse(&format!("{number:.40e}")).filter(|exact| exact.digits.len() == count + 1) else {
            return self;
        };
        let even = exact.digits[count - 1].is_multiple_of(2);
        if exact.digits[count] == 5 && even && exact.exponent == self.exponent {
            let down =
                Self { negative: self.negative, digits: exact.digits[..count].to_vec(), exponent: self.exponent };
            if down.value() == number {
                self = down;
            }
        }
        self
    }

    /// The digits of `[+-]digits[.digits][e[+-]digits]`; `None` for another text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, power.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = whole.bytes().chain(fraction.bytes());
        if mantissa.len() < 1 + usize::from(mantissa.contains('.')) || !all.clone().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let zeros = all.clone().take_while(|byte| *byte == b'0').count();
        let mut digits: Vec<u8> = all.skip(zeros).map(|byte| byte - b'0').collect();
        while digits.last() == Some(&0) {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Self { negative: false, digits: vec![0], exponent: 1 });
        }
        Some(Self { negative, digits, exponent: whole.len() as i64 - zeros as i64 + i64::from(power) })
    }

    /// Rounds half away from zero to `places` digits after the point (before it, when negative).
    pub(crate) fn rounded(mut self, places: i64) -> Self {
        let Ok(kept) = usize::try_from(self.exponent.saturating_add(places)) else {
            self.digits = vec![0];
            return self;
        };
        if kept >= self.digits.len() {
            return self;
        }
        let up = self.digits[kept] >= 5;
        self.digits.truncate(kept);
        match self.digits.iter().rposition(|digit| *digit < 9) {
            Some(at) if up => {
                self.digits.truncate(at + 1);
                self.digits[at] += 1;
            }
            None if up => {
                self.digits = vec![1];
                self.exponent += 1;
            }
            _ if self.digits.is_empty() => self.digits = vec![0],
            _ => {}
        }
        self
    }

    /// The number times ten to the power of `scale`, which makes it whole; `None` beyond 128 bits.
    pub(crate) fn unscaled(&self, scale: i64) -> Option<i128> {
        if self.is_zero() {
            return Some(0);
        }
        let mut unscaled = 0_i128;
        for digit in &self.digits {
            unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(*digit))?;
        }
        let shift = self.exponent + scale - self.digits.len() as i64;
        unscaled = unscaled.checked_mul(10_i128.checked_pow(u32::try_from(shift).ok()?)?)?;
        Some(if self.negative { -unscaled } else { unscaled })
    }

    /// The nearest double; a zero has no sign.
    pub(crate) fn value(&self) -> f64 {
        let sign = if self.negative && !self.is_zero() { "-" } else { "" };
        format!("{sign}0.{}e{}", self.text(), self.exponent).parse().unwrap_or(0.0)
    }

    /// The digits that Java writes of a finite `number`: at least two, the nearest of those that mean it.
    pub(crate) fn of_double_in_java(number: f64) -> Self {
        let shortest = Self::of_double(number);
        if shortest.digits.len() > 1 {
            return shortest;
        }
        let two = format!("{number:.1e}");
        match two.parse::<f64>() {
            Ok(same) if same.to_bits() == number.to_bits() => Self::parse(&two).unwrap_or(shortest),
            _ => shortest,
        }
    }

    /// The number as Java's `Double.toString` writes it: plainly from 0.001 to below ten million, else as `1.0E10`.
    pub(crate) fn java_text(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        let digits = self.text();
        match self.exponent {
            _ if self.is_zero() => "0.0".to_owned(),
            exponent @ -2..=0 => format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize)),
            exponent @ 1..=7 => {
                let whole = exponent as usize;
                let padded = format!("{digits:0<width$}", width = whole + 1);
                format!("{sign}{}.{}", &padded[..whole], &padded[whole..])
            }
            exponent => {
                let fraction = if digits.len() > 1 { &digits[1..] } else { "0" };
                format!("{sign}{}.{fraction}E{}", &digits[..1], exponent - 1)
            }
        }
    }

    fn is_zero(&self) -> bool {
        self.digits == [0]
    }

    fn text(&self) -> String {
        self.digits.iter().map(|digit| char::from(b'0' + digit)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_becomes_a_decimal_by_its_text() {
        let decimal = |number: f64, scale: i64| Digits::of_double(number).rounded(scale).unscaled(scale);
        for (number, scale, expected) in [
            (1.005, 2, Some(101)),
            (-0.285, 2, Some(-29)),
            (0.0, 2, Some(0)),
            (-0.0, 2, Some(0)),
            (9.999, 2, Some(1_000)),
            (0.004, 2, Some(0)),
            (0.005, 2, Some(1)),
            (1e20, 2, Some(10_000_000_000_000_000_000_000)),
            (1e38, 2, None),
            (123.0, 0, Some(123)),
        ] {
            assert_eq!(decimal(number, scale), expected, "{number} with {scale}");
        }
    }

    #[test]
    fn text_is_a_number_or_none() {
        for (text, scale, expected) in [
            ("1.255", 2, Some(126)),
            ("-007.5", 0, Some(-8)),
            ("+.5", 1, Some(5)),
            ("5.", 0, Some(5)),
            ("12e-1", 1, Some(12)),
            ("0.00", 3, Some(0)),
            ("1E3", 0, Some(1000)),
        ] {
            let digits = Digits::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(digits.rounded(scale).unscaled(scale), expected, "{text}");
        }
        for text in ["", ".", "+", "1e", "1.2.3", "0x1", "1_0", "٣", "--1", "1e99999999999"] {
            assert_eq!(Digits::parse(text), None, "{text}");
        }
    }

    /// The texts are those of Java's `Double.toString`.
    #[test]
    fn a_double_is_written_as_java_writes_it() {
        for (number, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (100.0, "100.0"),
            (1234567.0, "1234567.0"),
            (9999999.5, "9999999.5"),
            (1e7, "1.0E7"),
            (12345678.9, "1.23456789E7"),
            (0.001, "0.001"),
            (0.0123, "0.0123"),
            (0.00099, "9.9E-4"),
            (1e300, "1.0E300"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (5e-324, "4.9E-324"),
            (1e22, "1.0E22"),
            (2e23, "2.0E23"),
            // Between .2 and .3, as near to both.
            (3_602_879_701_896_397.0 / 4.0, "9.007199254740992E14"),
        ] {
            assert_eq!(Digits::of_double_in_java(number).java_text(), text);
        }
    }
}
