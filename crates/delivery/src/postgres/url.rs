//! A server's URL as libpq writes it: `postgres://user@host:port/database?sslmode=require`.
//!
//! `tokio_postgres` parses it; `sslmode` and `sslrootcert`, which it supports less fully than libpq, are read here.
//! Source: "Connection URIs" in PostgreSQL's documentation of libpq.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use turnstile_values::Secret;

use super::options::PostgresOptions;
use crate::error::TargetSettingsError;

const FORM: &str = "postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full";
/// The parameters that are read.
const PARAMETERS: [&str; 7] =
    ["sslmode", "sslrootcert", "connect_timeout", "application_name", "host", "port", "password"];

/// Reads a URL, given as `key`: its parts as settings, and its password. An error repeats nothing of the text but the
/// names of parameters.
pub(super) fn parse(key: &'static str, text: &str) -> Result<(PostgresOptions, Option<Secret>), TargetSettingsError> {
    let wrong = |reason: &str| TargetSettingsError::new(key, reason, FORM);
    if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
        return Err(wrong("it does not begin with postgres://"));
    }
    let is_encoded = |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !text.split('%').skip(1).all(is_encoded) {
        return Err(wrong("its %-signs cannot be read"));
    }
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let mut options = PostgresOptions::default();
    let mut others = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = || percent_decode_str(value).decode_utf8_lossy().into_owned();
        match name {
            "sslmode" => {
                options.sslmode = Some(decode().parse().map_err(|error| TargetSettingsError { key, ..error })?)
            }
            "sslrootcert" => options.root_certificate = Some(PathBuf::from(decode())),
            name if PARAMETERS.contains(&name) => others.push(pair),
            name => {
                let known = PARAMETERS.join(", ");
                let reason = format!("its parameter `{name}` is not known");
                return Err(TargetSettingsError::new(key, reason, format!("known: {known}")));
            }
        }
    }
    let config: Config = format!("{base}?{}", others.join("&"))
        .parse()
        .map_err(|error: tokio_postgres::Error| wrong("it cannot be read").caused_by(error))?;
    options.host = match config.get_hosts() {
        [] => None,
        [Host::Tcp(host)] => Some(host.clone()),
        [Host::Unix(folder)] => Some(folder.display().to_string()),
        _ => {
            return Err(TargetSettingsError::new(
                key,
                "it names several hosts",
                "name one of them: the one that accepts writes",
            ));
        }
    };
    options.port = config.get_ports().last().copied();
    options.database = config.get_dbname().map(str::to_owned);
    options.user = config.get_user().filter(|user| !user.is_empty()).map(str::to_owned);
    options.connect_timeout = config.get_connect_timeout().copied();
    options.application_name = config.get_application_name().map(str::to_owned);
    let password = config.get_password().filter(|password| !password.is_empty());
    Ok((options, password.map(|password| Secret::new(String::from_utf8_lossy(password)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> PostgresOptions {
        parse("url", text).unwrap().0
    }

    #[test]
    fn every_part_is_found_and_decoded() {
        let text = "postgresql://lo%40der:p%3Aw%25@[::1]:6432/m%20ta?sslrootcert=/c%20a.pem&connect_timeout=5";
        let (options, password) = parse("url", text).unwrap();
        assert_eq!(options.user.as_deref(), Some("lo@der"));
        assert_eq!(options.host.as_deref(), Some("::1"));
        assert_eq!(options.port, Some(6432));
        assert_eq!(options.database.as_deref(), Some("m ta"));
        assert_eq!(options.root_certificate, Some("/c a.pem".into()));
        assert_eq!(password.unwrap().expose(), "p:w%");
    }

    #[test]
    fn a_socket_is_named_in_the_host_with_percent_signs_or_as_a_parameter() {
        assert_eq!(read("postgres://u@%2Frun%2Fpg/db").host.as_deref(), Some("/run/pg"));
        assert_eq!(read("postgres:///db?host=/run/pg").host.as_deref(), Some("/run/pg"));
    }

    #[test]
    fn an_error_does_not_repeat_the_text() {
        for text in
            ["mysql://hush@h/d", "postgres://u:hush@h:1:2/d", "postgres://u:hu%sh@h/d", "postgres://u:hush@a,b/d"]
        {
            let error = parse("url", text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hu"), "{error:?}");
        }
        assert!(parse("url", "postgres://h/d?sslcert=x").unwrap_err().reason.contains("`sslcert`"));
    }
}
