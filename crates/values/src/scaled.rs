//! A decimal number of units as a whole number of smaller ones.

/// `number` (digits, perhaps with a fraction) times `scale`, exact; `None` when the result is not a whole number.
pub(crate) fn scaled(number: &str, scale: u64) -> Option<u128> {
    let (whole, fraction) = match number.split_once('.') {
        None => (number, ""),
        Some((_, "")) => return None,
        Some(parts) => parts,
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let denominator = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: u128 = format!("0{whole}{fraction}").parse().ok()?;
    let product = digits.checked_mul(u128::from(scale))?;
    if product % denominator != 0 {
        return None;
    }
    Some(product / denominator)
}
