//! Settings of other programs by their own names: a Kafka client's, an object store's.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Keys and values that are not ours. `Debug` leaves out the values of keys that may hold a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

/// Parts of key names whose values are never shown.
const SECRET: [&str; 11] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "credential",
    "username",
    "oauthbearer",
    "jaas",
    "pem",
    "key",
    "user.info",
];

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |key: &str, value| if SECRET.iter().any(|part| key.contains(part)) { "(not shown)" } else { value };
        f.debug_map().entries(self.0.iter().map(|(key, value)| (key, shown(&key.to_lowercase(), value)))).finish()
    }
}

impl Deref for Properties {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Properties {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl From<BTreeMap<String, String>> for Properties {
    fn from(entries: BTreeMap<String, String>) -> Self {
        Self(entries)
    }
}

impl IntoIterator for Properties {
    type Item = (String, String);
    type IntoIter = std::collections::btree_map::IntoIter<String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Properties {
    type Item = (&'a String, &'a String);
    type IntoIter = std::collections::btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Whether the key's value is a secret. Narrower than what `Debug` hides: a name or the path of a file is not a secret.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase().replace('_', ".");
    let is_place = [".file", ".location", ".url", ".id"].iter().any(|end| key.ends_with(end));
    let parts = ["password", "passphrase", "secret", "token", "jaas", "key.pem", "keystore.key", "oauthbearer.config"];
    let more = ["account.key", "access.key", "sas.key", "service.account.key", "user.info", "credentials.json"];
    !is_place && parts.iter().chain(&more).any(|part| key.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_differs_from_a_name_and_a_path() {
        for secret in [
            "sasl.password",
            "sasl.jaas.config",
            "ssl.key.pem",
            "aws_secret_access_key",
            "SAS_TOKEN",
            "credentials.json",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for open in [
            "sasl.username",
            "sasl.password.file",
            "ssl.key.location",
            "ssl.ca.pem",
            "access_key_id",
            "credentials.file",
            "credentials",
        ] {
            assert!(!is_secret(open), "{open}");
        }
    }

    #[test]
    fn secrets_are_in_no_debug_text() {
        let entries = [
            ("bootstrap.servers", "h:1"),
            ("sasl.password", "hush"),
            ("ssl.key.pem", "hush"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("sasl.jaas.config", "hush"),
        ];
        let properties = Properties(entries.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let text = format!("{properties:?} {properties:#?}");
        assert!(text.contains("h:1") && text.contains("sasl.password"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}
