//! Where the registry is, and who asks.

use turnstile_values::Secret;

/// How to reach a registry.
#[derive(Debug, Clone)]
pub struct SchemaRegistrySettings {
    /// `http://` or `https://`, with a path when the registry's interface does not begin at its root.
    pub url: String,
    /// User and password of HTTP's basic authentication.
    pub user: Option<(String, Secret)>,
}
