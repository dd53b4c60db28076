//! What settings of several servers have in common: an HTTP address, and where a secret is to be found.

use std::path::PathBuf;

use crate::file::Fault;
use crate::file::read::{Placed, TableReader};

/// Where a password is to be found; never the password itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// In this environment variable.
    Environment(String),
    /// In this file: its first line.
    File(PathBuf),
}

/// A secret that an environment variable or a file holds; at most one of the keys `<secret>_env` and `<secret>_file` is given,
/// and `secret` itself is not.
pub(crate) fn password_source(
    reader: &mut TableReader<'_>,
    secret: &'static str,
    environment: &'static str,
    file: &'static str,
) -> Option<Placed<PasswordSource>> {
    if let Some(at) = reader.forbidden(secret) {
        let fault = Fault::new(at, format!("{secret} does not belong here, where others can read it"));
        reader.fault(fault.hint(format!("write {environment} = \"NAME\" or {file} = \"path\"")));
    }
    let (variable, path) = (reader.text(environment), reader.text(file));
    if let (Some(_), Some(path)) = (&variable, &path) {
        let fault = Fault::new(&path.at, format!("{environment} and {file} are both set"));
        reader.fault(fault.hint("write one of them"));
    }
    variable
        .map(|name| Placed { value: PasswordSource::Environment(name.value), at: name.at })
        .or(path.map(|path| Placed { value: PasswordSource::File(path.value.into()), at: path.at }))
}

/// The url is never repeated in an error: one with a password in it would show it.
pub(crate) fn http_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else { return Err("it must begin with http:// or https://".to_owned()) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("it contains a user: write the user or key into its own setting instead".to_owned());
    }
    if authority.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it has no host".to_owned());
    }
    if rest.contains(['?', '#']) {
        return Err("it has a query or a fragment".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
