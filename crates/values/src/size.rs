//! Sizes in bytes as users write them: `256 MiB`, `1 GB`, `4096`.

use crate::scaled::scaled;

/// How to write a size: for hints.
pub const HINT: &str = "write a size such as \"256 MiB\"";

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a size")]
pub struct SizeError(String);

/// Bytes; a number alone is bytes. `kB`, `MB`, `GB`, `TB` are powers of 1000 and `KiB` to `TiB` of 1024, in any letter case.
///
/// A fraction is taken where it comes out as whole bytes.
///
/// # Errors
/// When the text is not a size, or more than 64 bits hold.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let scale = unit_bytes(&unit.trim().to_ascii_lowercase());
    let bytes = scale.and_then(|scale| scaled(number, scale)).and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| SizeError(text.to_owned()))
}

fn unit_bytes(unit: &str) -> Option<u64> {
    Some(match unit {
        "" | "b" | "byte" | "bytes" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_bytes() {
        for (text, bytes) in [
            ("256 MiB", 256 << 20),
            ("1GB", 1_000_000_000),
            ("1.5 GiB", 1536 << 20),
            ("4096", 4096),
            ("4096 bytes", 4096),
            ("1 TiB", 1 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1 MiB", "1 TiBB", "1.3 KiB", "1e3", "99999999999 TiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
