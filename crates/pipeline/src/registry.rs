//! The schema registry that messages' schema ids belong to: `[source.registry]`.

use std::path::PathBuf;

use crate::file::read::{Faults, Placed, TableReader};
use crate::file::{Fault, TomlNode};
use crate::message_format::MessageFormat;

/// `[source.registry]`: the schema registry that messages' schema ids belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Where it answers, `http://` or `https://`, without a user in it.
    pub url: String,
    /// Who asks, when it wants to know.
    pub user: Option<String>,
    /// Where the user's password is.
    pub password: Option<PasswordSource>,
}

/// Where a password is to be found; never the password itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// In this environment variable.
    Environment(String),
    /// In this file: its first line.
    File(PathBuf),
}

/// `[source.registry]`, which the formats that use one need and the others have no use for.
pub(crate) fn read(
    reader: &mut TableReader<'_>,
    format: Option<MessageFormat>,
    faults: &Faults,
) -> Option<RegistrySettings> {
    let node = reader.node("registry");
    match (node, format) {
        (Some(node), Some(format)) if !format.uses_registry() => {
            let message = format!("messages of format \"{}\" have no schema in a registry", format.as_str());
            reader.fault(
                Fault::new(&node.at, message).hint("leave [source.registry] out, or use \"avro\" or \"json-schema\""),
            );
            None
        }
        (Some(node), _) => read_registry_table(node, faults),
        (None, Some(format)) if format.uses_registry() => {
            let message = format!("format \"{}\" needs [source.registry]", format.as_str());
            reader.fault(Fault::new(reader.at(), message).hint("write registry = { url = \"http://localhost:8081\" }"));
            None
        }
        (None, _) => None,
    }
}

fn read_registry_table(node: &TomlNode, faults: &Faults) -> Option<RegistrySettings> {
    let mut reader = TableReader::new(node, "source.registry", faults)?;
    let url =
        reader.parsed("url", "write http://host:port or https://host, as the registry's own clients do", registry_url);
    let url = reader.required("url", url);
    let user = reader.text("user");
    let environment = reader.text("password_env");
    let file = reader.text("password_file");
    if let (Some(_), Some(file)) = (&environment, &file) {
        reader.fault(Fault::new(&file.at, "password_env and password_file are both set").hint("write one of them"));
    }
    let password = environment
        .map(|name| Placed { value: PasswordSource::Environment(name.value), at: name.at })
        .or(file.map(|path| Placed { value: PasswordSource::File(path.value.into()), at: path.at }));
    match (&user, &password) {
        (Some(user), None) => {
            let fault = Fault::new(&user.at, "user has no password");
            reader.fault(fault.hint("write password_env = \"NAME\" or password_file = \"path\""));
        }
        (None, Some(password)) => {
            reader.fault(Fault::new(&password.at, "a password without a user").hint("write user"))
        }
        _ => {}
    }
    reader.finish();
    Some(RegistrySettings {
        url: url?.value,
        user: user.map(|user| user.value),
        password: password.map(|password| password.value),
    })
}

/// The url is never repeated in an error: one with a password in it would show it.
fn registry_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else { return Err("it must begin with http:// or https://".to_owned()) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("it contains a user: write user, and password_env or password_file, instead".to_owned());
    }
    if authority.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it has no host".to_owned());
    }
    if rest.contains(['?', '#']) {
        return Err("it has a query or a fragment".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
