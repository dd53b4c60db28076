//! A server's URL as libpq writes it: `postgres://user@host:port/database?sslmode=require`.
//!
//! Source: "Connection URIs" in PostgreSQL's documentation of libpq.

use turnstile_values::Secret;

/// A URL's parts under the settings' own keys, and its password.
#[derive(Debug)]
pub(super) struct Url {
    pub(super) parts: Vec<(&'static str, String)>,
    pub(super) password: Option<Secret>,
}

/// libpq's parameters that are taken, and what they are called here.
const PARAMETERS: [(&str, &str); 6] = [
    ("sslmode", "sslmode"),
    ("sslrootcert", "root_certificate"),
    ("connect_timeout", "connect_timeout"),
    ("application_name", "application_name"),
    ("host", "host"),
    ("port", "port"),
];

/// Reads a URL. An error is a fact and a hint, and repeats nothing of the text but parameters' names.
pub(super) fn parse(text: &str) -> Result<Url, (String, String)> {
    let form = || "postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full".to_owned();
    let error = |fact: &str| (fact.to_owned(), form());
    let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let rest = rest.ok_or_else(|| error("it does not begin with postgres://"))?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = match user.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (user, None),
    };
    if place.contains(',') {
        return Err(("it names several hosts".into(), "name one of them: the one that takes writes".into()));
    }
    let (host, port) = host_and_port(place).ok_or_else(|| error("its host or port cannot be read"))?;

    let mut parts = Vec::new();
    let mut password = password.map(decoded).transpose().map_err(|()| error("its %-signs cannot be read"))?;
    for (key, value) in [("host", host), ("port", port), ("user", user), ("database", database)] {
        if !value.is_empty() {
            parts.push((key, decoded(value).map_err(|()| error("its %-signs cannot be read"))?));
        }
    }
    for (name, value) in query.split('&').filter(|pair| !pair.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")))
    {
        let value = decoded(value).map_err(|()| error("its %-signs cannot be read"))?;
        if name == "password" {
            password = Some(value);
        } else if let Some((_, key)) = PARAMETERS.iter().find(|(known, _)| *known == name) {
            parts.push((*key, value));
        } else {
            let known = PARAMETERS.map(|(known, _)| known).join(", ");
            return Err((format!("its parameter `{name}` is not known"), format!("known: {known}")));
        }
    }
    Ok(Url { parts, password: password.filter(|text| !text.is_empty()).map(Secret::new) })
}

/// `host`, `host:port`, `[::1]:port`.
fn host_and_port(place: &str) -> Option<(&str, &str)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after {
            "" => Some((host, "")),
            after => Some((host, after.strip_prefix(':')?)),
        };
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => None,
        Some(split) => Some(split),
        None => Some((place, "")),
    }
}

/// Percent signs undone.
fn decoded(text: &str) -> Result<String, ()> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, after) = rest.split_at_checked(2).ok_or(())?;
        let hex = std::str::from_utf8(hex).map_err(drop)?;
        bytes.push(u8::from_str_radix(hex, 16).map_err(drop)?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part<'a>(url: &'a Url, key: &str) -> Option<&'a str> {
        url.parts.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    #[test]
    fn every_part_is_found_and_decoded() {
        let url =
            parse("postgresql://lo%40der:p%3Aw%25@[::1]:6432/m%20ta?sslrootcert=/ca.pem&connect_timeout=5").unwrap();
        assert_eq!(part(&url, "user"), Some("lo@der"));
        assert_eq!(part(&url, "host"), Some("::1"));
        assert_eq!(part(&url, "port"), Some("6432"));
        assert_eq!(part(&url, "database"), Some("m ta"));
        assert_eq!(part(&url, "root_certificate"), Some("/ca.pem"));
        assert_eq!(url.password.unwrap().expose(), "p:w%");
    }

    #[test]
    fn a_socket_is_named_in_the_host_with_percent_signs_or_as_a_parameter() {
        assert_eq!(part(&parse("postgres://u@%2Frun%2Fpg/db").unwrap(), "host"), Some("/run/pg"));
        assert_eq!(part(&parse("postgres:///db?host=/run/pg").unwrap(), "host"), Some("/run/pg"));
    }

    #[test]
    fn what_cannot_be_read_is_told_without_the_text() {
        for text in
            ["mysql://hush@h/d", "postgres://u:hush@h:1:2/d", "postgres://u:hu%sh@h/d", "postgres://u:hush@a,b/d"]
        {
            let (fact, hint) = parse(text).unwrap_err();
            assert!(!format!("{fact}{hint}").contains("hu"), "{fact} {hint}");
        }
        assert!(parse("postgres://h/d?sslcert=x").unwrap_err().0.contains("`sslcert`"));
    }
}
