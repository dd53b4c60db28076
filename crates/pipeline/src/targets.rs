//! The databases that receive the models' tables: `[warehouse.postgres]` and `[warehouse.bigquery]`.
//!
//! In: the two sections. Out: their values by type, and where each was written.
//! Does not know what a target does with them: the code that opens a target reports further problems through
//! [`SettingPlaces::problem`].

use std::collections::BTreeMap;

use turnstile_values::{MILLISECOND_US, SECOND_US, Secret, duration};

use crate::error::Problem;
use crate::file::read::{Faults, TableReader};
use crate::file::{Fault, PipelineText, TomlNode, TomlValue};

/// `[warehouse.postgres]`. What is `None` was not given.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresTargetSettings {
    /// `postgres://USER@HOST:PORT/DATABASE`; hidden, because a person may have put a password into it.
    pub url: Option<Secret>,
    /// A name, an address, or the folder of a Unix socket.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The database.
    pub database: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// A file whose first line is the password.
    pub password_file: Option<String>,
    /// The schema of all tables.
    pub schema: Option<String>,
    /// One of libpq's modes: `disable`, `prefer`, `require`, `verify-ca`, `verify-full`.
    pub sslmode: Option<&'static str>,
    /// The certificate of the authority (PEM).
    pub root_certificate: Option<String>,
    /// How long a connection may take, microseconds.
    pub connect_timeout_us: Option<i64>,
    /// How long a statement may take, microseconds.
    pub statement_timeout_us: Option<i64>,
    /// How long to wait for locks, microseconds.
    pub lock_timeout_us: Option<i64>,
    /// The name in `pg_stat_activity`.
    pub application_name: Option<String>,
    /// Another warehouse whose rows may be replaced.
    pub adopt: Option<String>,
    /// Where the keys are.
    pub places: SettingPlaces,
}

/// `[warehouse.bigquery]`. What is `None` was not given.
#[derive(Debug, Clone, PartialEq)]
pub struct BigQueryTargetSettings {
    /// The project of the dataset and the jobs.
    pub project: String,
    /// The dataset.
    pub dataset: String,
    /// Where the dataset lies.
    pub location: Option<String>,
    /// The API's address.
    pub endpoint: Option<String>,
    /// The credentials.
    pub credentials: CredentialsSource,
    /// `gs://BUCKET/PREFIX` of staged files.
    pub stage: Option<String>,
    /// A folder instead of Cloud Storage.
    pub storage_root: Option<String>,
    /// Another warehouse whose rows may be replaced.
    pub adopt: Option<String>,
    /// Bytes of one staged file.
    pub part_bytes: Option<u64>,
    /// Bytes up to which an upload is one request.
    pub multipart_bytes: Option<u64>,
    /// Bytes of one chunk of a larger upload.
    pub upload_bytes: Option<u64>,
    /// Hours until a staging table expires.
    pub stage_hours: Option<u64>,
    /// Seconds that one request may take.
    pub request_secs: Option<u64>,
    /// Seconds for which transient failures are retried.
    pub retry_secs: Option<u64>,
    /// Milliseconds before the first retry.
    pub retry_wait_ms: Option<u64>,
    /// Seconds for which a job is awaited.
    pub job_secs: Option<u64>,
    /// Where the keys are.
    pub places: SettingPlaces,
}

/// Where Google's credentials come from.
#[derive(Debug, Clone, PartialEq)]
pub enum CredentialsSource {
    /// Google's application default credentials.
    Default,
    /// No credentials: an emulator.
    None,
    /// A file.
    File(String),
    /// The text of such a file.
    Json(Secret),
    /// A block of a Prefect server, `TYPE/NAME`.
    PrefectBlock(String),
}

/// Where the keys of a section were written.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingPlaces {
    section: Problem,
    keys: BTreeMap<String, Problem>,
}

impl SettingPlaces {
    fn new(node: &TomlNode, path: &str, file: &PipelineText) -> Self {
        let at = |node: &TomlNode, name: &str| file.locate(&Fault::new(&node.at, format!("[{path}] {name}")));
        let mut keys = BTreeMap::new();
        if let TomlValue::Table(table) = &node.value {
            for entry in &table.entries {
                keys.insert(entry.key.clone(), at(&entry.node, &entry.key));
            }
        }
        let mut section = at(node, "");
        section.message = format!("[{path}]");
        Self { section, keys }
    }

    /// A problem with the value of `key`, at its place; at the section's, if the key was not given.
    pub fn problem(&self, key: &str, reason: &str) -> Problem {
        let place = self.keys.get(key).unwrap_or(&self.section);
        let subject = if self.keys.contains_key(key) { String::new() } else { format!(" {key}") };
        let message = format!("{}{subject}: {reason}", place.message);
        Problem { message, ..place.clone() }
    }
}

/// PostgreSQL's limit of a timeout: milliseconds in 31 bits.
const MAX_TIMEOUT_US: i64 = i32::MAX as i64 * MILLISECOND_US;

const SSL_MODES: [(&str, &str); 5] = [
    ("disable", "disable"),
    ("prefer", "prefer"),
    ("require", "require"),
    ("verify-ca", "verify-ca"),
    ("verify-full", "verify-full"),
];

pub(crate) fn read_postgres(node: &TomlNode, file: &PipelineText, faults: &Faults) -> Option<PostgresTargetSettings> {
    let path = "warehouse.postgres";
    let mut reader = TableReader::new(node, path, faults)?;
    if let Some(at) = reader.forbidden("password") {
        let fault = Fault::new(at, "a password does not belong here, where others can read it");
        reader.fault(fault.hint("set PGPASSWORD, or name a file: password_file = \"/run/secrets/postgres\""));
    }
    let settings = PostgresTargetSettings {
        url: text(&mut reader, "url").map(Secret::new),
        host: name(&mut reader, "host"),
        port: port(&mut reader),
        database: name(&mut reader, "database"),
        user: name(&mut reader, "user"),
        password_file: text(&mut reader, "password_file"),
        schema: name(&mut reader, "schema"),
        sslmode: reader.choice("sslmode", &SSL_MODES),
        root_certificate: text(&mut reader, "root_certificate"),
        connect_timeout_us: timeout(&mut reader, "connect_timeout"),
        statement_timeout_us: timeout(&mut reader, "statement_timeout"),
        lock_timeout_us: timeout(&mut reader, "lock_timeout"),
        application_name: name(&mut reader, "application_name"),
        adopt: name(&mut reader, "adopt"),
        places: SettingPlaces::new(node, path, file),
    };
    reader.finish();
    Some(settings)
}

pub(crate) fn read_bigquery(node: &TomlNode, file: &PipelineText, faults: &Faults) -> Option<BigQueryTargetSettings> {
    let path = "warehouse.bigquery";
    let mut reader = TableReader::new(node, path, faults)?;
    let project = name(&mut reader, "project");
    let project = reader.required("project", project);
    let dataset = name(&mut reader, "dataset");
    let dataset = reader.required("dataset", dataset);
    let location = text(&mut reader, "location");
    let endpoint = text(&mut reader, "endpoint");
    let credentials = match reader.node("credentials") {
        None => Some(CredentialsSource::Default),
        Some(node) => read_credentials(node, faults),
    };
    let stage = text(&mut reader, "stage");
    let storage_root = text(&mut reader, "storage_root");
    let adopt = name(&mut reader, "adopt");
    let part_bytes = reader.bytes("part_bytes");
    let multipart_bytes = reader.bytes("multipart_bytes");
    let upload_bytes = reader.bytes("upload_bytes");
    let stage_hours = reader.count("stage_hours");
    let request_secs = number(&mut reader, "request_secs");
    let retry_secs = number(&mut reader, "retry_secs");
    let retry_wait_ms = reader.count("retry_wait_ms");
    let job_secs = number(&mut reader, "job_secs");
    reader.finish();
    Some(BigQueryTargetSettings {
        project: project?,
        dataset: dataset?,
        location,
        endpoint,
        credentials: credentials?,
        stage,
        storage_root,
        adopt,
        part_bytes,
        multipart_bytes,
        upload_bytes,
        stage_hours,
        request_secs,
        retry_secs,
        retry_wait_ms,
        job_secs,
        places: SettingPlaces::new(node, path, file),
    })
}

const CREDENTIALS_HINT: &str = "write \"default\", \"none\", { file = \"key.json\" }, { json = \"…\" } or \
                                { prefect_block = \"gcp-credentials/NAME\" }";

/// A word, or a table with one key. The text of a key that stands in the wrong place is not repeated.
fn read_credentials(node: &TomlNode, faults: &Faults) -> Option<CredentialsSource> {
    let fault = |fault: Fault| {
        faults.borrow_mut().push(fault);
        None
    };
    // The file itself is the text 0; all others are arguments.
    let is_argument = node.at.text > 0;
    if let TomlValue::Text(text) = &node.value {
        return match text.as_str() {
            "default" => Some(CredentialsSource::Default),
            "none" => Some(CredentialsSource::None),
            text if is_argument && text.trim_start().starts_with('{') => fault(secret_argument("credentials", node)),
            _ => fault(Fault::new(&node.at, "credentials is neither \"default\" nor \"none\"").hint(CREDENTIALS_HINT)),
        };
    }
    let mut reader = TableReader::new(node, "warehouse.bigquery.credentials", faults)?;
    let json = reader.node("json");
    if let Some(node) = json.filter(|node| node.at.text > 0) {
        faults.borrow_mut().push(secret_argument("credentials.json", node));
    }
    let json = text(&mut reader, "json").map(|text| CredentialsSource::Json(Secret::new(text)));
    let file = text(&mut reader, "file").map(CredentialsSource::File);
    let block = text(&mut reader, "prefect_block").map(CredentialsSource::PrefectBlock);
    reader.finish();
    let mut given = [json, file, block].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(source), None) => Some(source),
        _ => fault(Fault::new(&node.at, "credentials takes exactly one key").hint(CREDENTIALS_HINT)),
    }
}

fn secret_argument(name: &str, node: &TomlNode) -> Fault {
    let message = format!("\"{name}\" is a secret, and every user of the machine can see a command's arguments");
    Fault::new(&node.at, message).hint("name the path of the key's file: credentials = { file = \"…\" }")
}

fn text(reader: &mut TableReader<'_>, key: &'static str) -> Option<String> {
    reader.text(key).map(|placed| placed.value)
}

/// A name; one of digits alone may be written without quotes, as in an argument.
fn name(reader: &mut TableReader<'_>, key: &'static str) -> Option<String> {
    match reader.node(key).map(|node| &node.value) {
        Some(TomlValue::Integer(digits)) => Some(digits.to_string()),
        _ => text(reader, key),
    }
}

/// A whole number from 0.
fn number(reader: &mut TableReader<'_>, key: &'static str) -> Option<u64> {
    match reader.node(key).map(|node| &node.value) {
        Some(TomlValue::Integer(0)) => Some(0),
        _ => reader.count(key),
    }
}

fn port(reader: &mut TableReader<'_>) -> Option<u16> {
    let node = reader.node("port")?;
    let port = reader.count("port")?;
    match u16::try_from(port) {
        Ok(port) => Some(port),
        Err(_) => {
            reader.fault(Fault::new(&node.at, format!("port cannot be {port}")).hint("write a number from 1 to 65535"));
            None
        }
    }
}

/// A timeout, in microseconds; a number alone is seconds, as for libpq.
fn timeout(reader: &mut TableReader<'_>, key: &'static str) -> Option<i64> {
    let node = reader.node(key)?;
    let written = match &node.value {
        TomlValue::Integer(seconds) => seconds.to_string(),
        _ => text(reader, key)?,
    };
    let fault = Fault::new(&node.at, key).hint(duration::HINT);
    let fault = match duration::parse_us_or_number(&written, SECOND_US) {
        Ok(us) if (MILLISECOND_US..=MAX_TIMEOUT_US).contains(&us) => return Some(us),
        Ok(_) => fault.caused_by(format!("\"{written}\" is not between 1 ms and 24 days")),
        Err(error) => fault.caused_by(error),
    };
    reader.fault(fault);
    None
}
