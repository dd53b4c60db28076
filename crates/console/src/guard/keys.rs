//! Keyed hashes under a key that is drawn when the process starts and never leaves it.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use turnstile_values::human;

use crate::start_error::ConsoleStartError;

/// Hashes under this process's key: forms of another process are refused, and people log in again after a restart.
pub(crate) struct ProcessKeys {
    key: hmac::Key,
    random: SystemRandom,
}

impl ProcessKeys {
    /// Draws the key.
    ///
    /// # Errors
    /// `Random`: the system gives no random bytes.
    pub(crate) fn draw() -> Result<Self, ConsoleStartError> {
        let random = SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| ConsoleStartError::Random)?;
        Ok(Self { key, random })
    }

    /// The hash of `text` for `purpose`, 64 hexadecimal digits.
    pub(crate) fn sign(&self, purpose: &str, text: &str) -> String {
        human::hex(hmac::sign(&self.key, format!("{purpose}\0{text}").as_bytes()).as_ref())
    }

    /// Whether `presented` equals `expected`, in a time that does not depend on where they differ.
    pub(crate) fn equal(&self, presented: &str, expected: &str) -> bool {
        let tag = hmac::sign(&self.key, expected.as_bytes());
        hmac::verify(&self.key, presented.as_bytes(), tag.as_ref()).is_ok()
    }

    /// 32 random hexadecimal digits.
    pub(crate) fn random_id(&self) -> Option<String> {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes).ok()?;
        Some(human::hex(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_belongs_to_one_process_and_one_purpose() {
        let (one, other) = (ProcessKeys::draw().unwrap(), ProcessKeys::draw().unwrap());
        assert_eq!(one.sign("form", "a"), one.sign("form", "a"));
        assert_ne!(one.sign("form", "a"), one.sign("login", "a"));
        assert_ne!(one.sign("form", "a"), other.sign("form", "a"));
    }

    #[test]
    fn only_equal_texts_are_equal() {
        let keys = ProcessKeys::draw().unwrap();
        assert!(keys.equal("hush", "hush"));
        assert!(!keys.equal("hush", "husH") && !keys.equal("", "hush") && !keys.equal("hush-hush", "hush"));
    }
}
