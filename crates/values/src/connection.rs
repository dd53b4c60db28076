//! Which connections a secret may be sent over.

use std::net::Ipv4Addr;

/// Whether no one between here and the server can read what is sent: it is encrypted, or stays on this machine. `scheme` and
/// `host` are those of a parsed address: lower case, an IPv6 address in brackets.
pub fn is_private(scheme: &str, host: Option<&str>) -> bool {
    let loopback = match host {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()),
        None => false,
    };
    scheme == "https" || (scheme == "http" && loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_encrypted_nor_on_this_machine_is_not_private() {
        for (scheme, host, expected) in [
            ("https", "example.com", true),
            ("http", "localhost", true),
            ("http", "127.0.0.1", true),
            ("http", "127.9.9.9", true),
            ("http", "[::1]", true),
            ("http", "example.com", false),
            ("http", "127.0.0.1.example.com", false),
            ("http", "localhost.example.com", false),
            ("ftp", "127.0.0.1", false),
        ] {
            assert_eq!(is_private(scheme, Some(host)), expected, "{scheme}://{host}");
        }
        assert!(!is_private("http", None));
    }
}
