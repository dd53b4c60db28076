//! The web console: `[console]`.

use turnstile_values::SECOND_US;

use crate::endpoint::{PasswordSource, password_source};
use crate::file::read::{Faults, TableReader};
use crate::file::{Fault, TomlNode};

/// `[console]`: where the console listens, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleSection {
    /// `host:port`. `None`: `run` opens none.
    pub listen: Option<String>,
    /// The token that a person or a program must have.
    pub token: Option<PasswordSource>,
    /// Files (PEM) of the certificate and of its private key.
    pub tls: Option<(String, String)>,
    /// Names by which browsers reach it, beside the address it listens on.
    pub hosts: Vec<String>,
    /// A proxy in front of it checks who may come in, and speaks TLS.
    pub behind_proxy: bool,
    /// The header in which that proxy names the user.
    pub user_header: Option<String>,
    /// Connections at the same time.
    pub max_connections: u64,
    /// Pages at the same time that change while they are looked at.
    pub max_live_pages: u64,
    /// How long a statement of the SQL page may take, microseconds.
    pub statement_timeout_us: i64,
    /// Rows that the SQL page shows.
    pub max_rows: u64,
}

impl Default for ConsoleSection {
    fn default() -> Self {
        Self {
            listen: None,
            token: None,
            tls: None,
            hosts: Vec::new(),
            behind_proxy: false,
            user_header: None,
            max_connections: 1_024,
            max_live_pages: 256,
            statement_timeout_us: 20 * SECOND_US,
            max_rows: 1_000,
        }
    }
}

pub(crate) fn read(node: &TomlNode, faults: &Faults) -> Option<ConsoleSection> {
    let defaults = ConsoleSection::default();
    let mut reader = TableReader::new(node, "console", faults)?;
    let listen = reader.text("listen").map(|listen| listen.value);
    let token = password_source(&mut reader, "token", "token_env", "token_file").map(|token| token.value);
    let tls = match (reader.text("tls_cert"), reader.text("tls_key")) {
        (Some(certificate), Some(key)) => Some((certificate.value, key.value)),
        (None, None) => None,
        (Some(alone), None) | (None, Some(alone)) => {
            let fault = Fault::new(&alone.at, "tls_cert and tls_key have no effect without each other");
            reader.fault(fault.hint("name the files of a certificate and of its private key, both PEM"));
            None
        }
    };
    let settings = ConsoleSection {
        listen,
        token,
        tls,
        hosts: reader.texts("hosts"),
        behind_proxy: reader.boolean("behind_proxy").unwrap_or(false),
        user_header: reader.text("user_header").map(|name| name.value),
        max_connections: reader.count("max_connections").unwrap_or(defaults.max_connections),
        max_live_pages: reader.count("max_live_pages").unwrap_or(defaults.max_live_pages),
        statement_timeout_us: reader.positive_duration("statement_timeout").unwrap_or(defaults.statement_timeout_us),
        max_rows: reader.count("max_rows").unwrap_or(defaults.max_rows),
    };
    reader.finish();
    Some(settings)
}
