//! Where the registry is, and who asks.

use std::fmt;

/// How to reach a registry.
#[derive(Debug, Clone)]
pub struct SchemaRegistrySettings {
    /// `http://` or `https://`, with a path when the registry's interface does not begin at its root.
    pub url: String,
    /// User and password of HTTP's basic authentication.
    pub user: Option<(String, Secret)>,
}

/// A text that no log, error or debug output shows.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` to itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
