//! The address of a Spark Connect server: `sc://host:15002/;key=value;…`.
//!
//! Source: the connection string of Spark Connect clients, apache/spark `sql/connect/docs/client-connection-string.md`.

use std::fmt;
use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use turnstile_values::Secret;
use uuid::Uuid;

/// The port of Spark Connect.
const PORT: u16 = 15_002;

/// A server, and how to introduce oneself to it. Its text does not show the token or the values of headers.
#[derive(Debug, Clone)]
pub struct SparkAddress {
    /// A name or an address, without brackets.
    pub host: String,
    /// By default 15002.
    pub port: u16,
    /// Whether the connection is encrypted; implied by a token.
    pub tls: bool,
    /// The bearer token.
    pub token: Option<Secret>,
    /// The user that the server's logs and pages name.
    pub user_id: Option<String>,
    /// A session to return to.
    pub session_id: Option<Uuid>,
    /// Further parameters, sent as headers: such as `x-databricks-cluster-id`.
    pub headers: Vec<(String, Secret)>,
}

/// An address that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}; write sc://HOST:15002, then parameters such as /;use_ssl=true;user_id=NAME")]
pub struct SparkAddressError {
    problem: String,
}

impl SparkAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// If it is not an address of Spark Connect, or sends a token in clear text to another machine. The message does not
    /// repeat the values of parameters.
    pub fn parse(text: &str) -> Result<Self, SparkAddressError> {
        let problem = |problem: String| SparkAddressError { problem };
        let rest = text.strip_prefix("sc://").ok_or_else(|| problem("the address does not begin with sc://".into()))?;
        let (authority, parameters) = match rest.split_once('/') {
            None => (rest, ""),
            Some((authority, "")) => (authority, ""),
            Some((authority, parameters)) => match parameters.strip_prefix(';') {
                Some(parameters) => (authority, parameters),
                None => return Err(problem("there is a path after the host; parameters begin with /;".into())),
            },
        };
        if authority.contains([';', '@', '?', '#']) {
            return Err(problem("the host has characters that no host has; parameters begin with /;".into()));
        }
        let (host, port) =
            host_and_port(authority).ok_or_else(|| problem(format!("\"{authority}\" is not HOST:PORT")))?;
        let mut remote =
            Self { host, port, tls: false, token: None, user_id: None, session_id: None, headers: Vec::new() };
        let mut clear = false;
        for parameter in parameters.split(';').filter(|parameter| !parameter.is_empty()) {
            let (key, value) =
                parameter.split_once('=').ok_or_else(|| problem("a parameter is not written as key=value".into()))?;
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| problem(format!("the value of {key} is not UTF-8")))?.into_owned();
            match key {
                "use_ssl" => match value.as_str() {
                    "true" => remote.tls = true,
                    "false" => clear = true,
                    _ => return Err(problem("use_ssl is neither true nor false".into())),
                },
                "token" => remote.token = Some(Secret::new(value)),
                "user_id" => remote.user_id = Some(value),
                // The user agent is this program's.
                "user_agent" => {}
                "session_id" => {
                    let id = Uuid::parse_str(&value).map_err(|_| problem("session_id is not a UUID".into()))?;
                    remote.session_id = Some(id);
                }
                header => {
                    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
                    if !header.chars().all(legal) || header.is_empty() || !value.is_ascii() {
                        return Err(problem(format!("the parameter \"{header}\" cannot be sent as a header")));
                    }
                    remote.headers.push((header.to_owned(), Secret::new(value)));
                }
            }
        }
        if remote.token.is_some() {
            if clear && !remote.is_loopback() {
                return Err(problem("a token is not sent unencrypted to another machine: use_ssl=false".into()));
            }
            remote.tls = !clear;
        }
        Ok(remote)
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }

    /// `host:port`, with the brackets that an IPv6 address needs.
    pub fn authority(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for SparkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sc://{}", self.authority())
    }
}

fn host_and_port(authority: &str) -> Option<(String, u16)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        let port = if rest.is_empty() { PORT } else { rest.strip_prefix(':')?.parse().ok()? };
        return Some((address.to_owned(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (authority, PORT),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_host_port_and_parameters() {
        let remote = SparkAddress::parse("sc://spark.example:15003/;user_id=ann%40mta;x-cluster=7").unwrap();
        assert_eq!((remote.authority().as_str(), remote.tls), ("spark.example:15003", false));
        assert_eq!(remote.user_id.as_deref(), Some("ann@mta"));
        assert_eq!((remote.headers[0].0.as_str(), remote.headers[0].1.expose()), ("x-cluster", "7"));
        assert_eq!(SparkAddress::parse("sc://[::1]").unwrap().authority(), "[::1]:15002");
        assert_eq!(SparkAddress::parse("sc://host/").unwrap().port, 15_002);
    }

    #[test]
    fn a_token_needs_an_encrypted_connection_or_this_machine() {
        assert!(SparkAddress::parse("sc://spark.example/;token=abc").unwrap().tls);
        let refused =
            SparkAddress::parse("sc://spark.example/;token=abc-secret;use_ssl=false").unwrap_err().to_string();
        assert!(refused.contains("unencrypted") && !refused.contains("abc-secret"), "{refused}");
        let local = SparkAddress::parse("sc://127.0.0.1/;token=abc-secret;use_ssl=false").unwrap();
        assert!(!local.tls && !format!("{local:?} {local}").contains("abc-secret"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "http://host",
            "sc://",
            "sc://host:0",
            "sc://host:70000",
            "sc://host/path",
            "sc://host;user_id=a",
            "sc://u@host",
            "sc://host/;user_id",
            "sc://host/;use_ssl=yes",
            "sc://host/;session_id=1",
            "sc://[::1",
            "sc://host/;X=1",
            "sc://host/;user_id=%ff",
        ] {
            assert!(SparkAddress::parse(text).is_err(), "{text}");
        }
    }
}
