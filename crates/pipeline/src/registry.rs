//! The schema registry that messages' schema ids belong to: `[source.registry]`.

use crate::endpoint::{PasswordSource, http_url, password_source};
use crate::file::read::{Faults, TableReader};
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
        reader.parsed("url", "write http://host:port or https://host, as the registry's own clients do", http_url);
    let url = reader.required("url", url);
    let user = reader.text("user");
    let password = password_source(&mut reader, "password", "password_env", "password_file");
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
