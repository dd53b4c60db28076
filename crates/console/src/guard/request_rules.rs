//! What every request must look like: its path, its host, where its form was.

use std::net::SocketAddr;

use axum::http::{HeaderMap, StatusCode, Uri, header};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The answer's status.
    pub(crate) status: StatusCode,
    /// What is wrong, for a person.
    pub(crate) fact: &'static str,
}

impl Refusal {
    pub(crate) const fn new(status: StatusCode, fact: &'static str) -> Self {
        Self { status, fact }
    }
}

/// Refuses paths that no page has and that only an attack would ask for: `..`, encoded separators, control characters.
///
/// Nothing here opens a file by a path; this keeps it so for what may be added.
pub(crate) fn check_path(uri: &Uri) -> Result<(), Refusal> {
    let path = uri.path().to_ascii_lowercase();
    let encoded = ["%2e", "%2f", "%5c", "%00", "%25", "%0a", "%0d"].iter().any(|code| path.contains(code));
    let traversing = path.split('/').any(|part| part == ".." || part == ".") || path.contains('\\');
    match encoded || traversing || path[1.min(path.len())..].contains("//") || !path.starts_with('/') {
        true => Err(Refusal::new(StatusCode::BAD_REQUEST, "the path is malformed")),
        false => Ok(()),
    }
}

/// Names by which a browser may call this server.
#[derive(Debug)]
pub(crate) struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// `localhost`, the loopback addresses or the address that it listens on, and `more`.
    pub(crate) fn new(listen: SocketAddr, more: &[String]) -> Self {
        let (ip, mut names) = (listen.ip(), Vec::new());
        if ip.is_loopback() {
            names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        }
        if !ip.is_unspecified() {
            names.push(ip.to_string());
        }
        names.extend(more.iter().map(|name| without_brackets(name).to_ascii_lowercase()));
        Self(names)
    }

    /// Refuses requests for another host: a page of another site that made its own name lead here.
    pub(crate) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "the request names no host, or several"));
        };
        let target = uri.authority().map(|authority| authority.as_str());
        let allowed = |host: &str| self.0.contains(&host_name(host).to_ascii_lowercase());
        match allowed(host) && target.is_none_or(allowed) {
            true => Ok(()),
            false => Err(Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                "the console does not answer to this host name; allow it with [console] allowed_hosts",
            )),
        }
    }
}

/// Refuses a form that was on another site's page.
///
/// Browsers send `Origin` and `Sec-Fetch-Site` with every POST; a client that sends neither is no browser, and no page can
/// make it send anything.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let refusal = Err(Refusal::new(StatusCode::FORBIDDEN, "the request comes from another site's page"));
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return refusal;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    match authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
        true => Ok(()),
        false => refusal,
    }
}

/// The host without its port: `[::1]:8080` is `::1`.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
