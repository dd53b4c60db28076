//! Random numbers that depend only on a seed, a message's index and a field, not on earlier numbers: a provider can
//! begin anywhere and yields the same bytes from there.

/// A random number for one field of one message.
#[inline]
pub(super) fn draw(seed: u64, index: u64, field: u64) -> u64 {
    mix(mix(seed ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(field.wrapping_mul(0xD1B5_4A32_D192_ED03)))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
#[inline]
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A version 4 UUID for one message, as 36 letters.
#[inline]
pub(super) fn uuid_text(seed: u64, index: u64, out: &mut [u8; 36]) {
    let (high, low) = (draw(seed, index, 100), draw(seed, index, 101));
    let bits = u128::from(high) << 64 | u128::from(low);
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().hyphenated().encode_lower(out);
}

/// Appends a number in decimal.
#[inline]
pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
