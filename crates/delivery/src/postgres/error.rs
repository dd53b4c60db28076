//! What an error means for the caller: retry, or report it to a person.

use std::error::Error;
use std::{fmt, io};

use tokio_postgres::error::{DbError, SqlState};
use turnstile_values::caused;

use crate::error::TargetError;

/// The client library's error, in the server's words where the server sent it.
#[derive(Debug)]
pub(super) struct PgError(pub(super) tokio_postgres::Error);

impl fmt::Display for PgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_db_error() {
            Some(error) => {
                let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
                write!(f, "{}{detail}{}", error.message(), advice(error.code()))
            }
            None => self.0.fmt(f),
        }
    }
}

impl Error for PgError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if self.0.as_db_error().is_some() { None } else { self.0.source() }
    }
}

/// The target does not answer, or cannot serve the request now.
pub(super) fn unreachable(target: &str, why: impl Into<Box<dyn Error + Send + Sync>>) -> TargetError {
    TargetError::Unreachable { target: target.into(), source: why.into() }
}

/// It will be refused until a person changes something.
pub(super) fn refused(target: &str, reason: impl Into<String>, hint: impl Into<String>) -> TargetError {
    TargetError::Refused { target: target.into(), reason: reason.into(), hint: hint.into(), source: None }
}

/// Classifies an error of the client library. `action`: what was being done, with the table if there is one.
pub(super) fn classify(target: &str, action: &str, error: tokio_postgres::Error) -> TargetError {
    let class = match error.as_db_error() {
        Some(error) => by_state(error),
        None => by_source(&error),
    };
    match class {
        Recovery::Retry => unreachable(target, caused(action, PgError(error))),
        Recovery::Fix(hint) => TargetError::Refused {
            target: target.into(),
            reason: action.into(),
            hint: hint.into(),
            source: Some(Box::new(PgError(error))),
        },
    }
}

/// What resolves an error.
enum Recovery {
    Retry,
    /// A person has to act on this hint.
    Fix(&'static str),
}

/// What a person can do about an error that may not be transient after all.
fn advice(code: &SqlState) -> &'static str {
    match *code {
        SqlState::LOCK_NOT_AVAILABLE => "; another session holds the lock (lock_timeout)",
        SqlState::QUERY_CANCELED => "; if it persists, raise statement_timeout",
        _ => "",
    }
}

/// By SQLSTATE. Source: "PostgreSQL Error Codes", appendix A of its documentation.
fn by_state(error: &DbError) -> Recovery {
    let code = error.code();
    let class = &code.code()[..2];
    // Connections, resources, operator intervention, system and internal errors, and transactions that lost a conflict:
    // a retry may succeed.
    if matches!(class, "08" | "53" | "57" | "58" | "XX")
        || [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED].contains(&code)
        || [&SqlState::LOCK_NOT_AVAILABLE, &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT].contains(&code)
    {
        return Recovery::Retry;
    }
    Recovery::Fix(match code.code() {
        "28P01" => "check the user and the password: PGPASSWORD, PGPASSFILE or password_file",
        "28000" => "the server's pg_hba.conf does not allow this user from here, or only with another sslmode",
        "3D000" => "create the database, or correct the setting `database`",
        "42501" => "grant it: docs/warehouse-postgres.md lists the permissions that are needed",
        "25006" => "this server is read-only (a standby?): set `host` to the primary",
        "23502" | "23503" | "23514" | "23P01" => {
            "the rows violate a constraint of the table: drop the constraint, or correct the model"
        }
        "23505" => "the rows violate a unique index of the table: drop the index, or correct the model's key",
        // A standby's response to BEGIN READ WRITE.
        "0A000" => "not supported by this server: use the primary if it is a standby; PostgreSQL 12 or newer is needed",
        "54000" => "a key's value may be too long for an index (some 2,700 bytes): correct the model's key",
        _ if class == "22" => "the value does not fit the column: correct the model, or the column's type",
        _ if class == "28" => "the server does not allow this user to log in",
        _ => "the server's log has more; nothing was changed",
    })
}

fn by_source(error: &tokio_postgres::Error) -> Recovery {
    if error.is_closed() {
        return Recovery::Retry;
    }
    let mut next = error.source();
    while let Some(source) = next {
        if source.to_string().contains("server does not support TLS") {
            return Recovery::Fix("enable TLS on the server (ssl = on), or set sslmode = \"disable\" or \"prefer\"");
        }
        if source.to_string().contains("password missing") {
            return Recovery::Fix("the server asks for a password: set PGPASSWORD, PGPASSFILE or password_file");
        }
        if let Some(io) = source.downcast_ref::<io::Error>() {
            return match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(reason)) => Recovery::Fix(certificate_hint(reason)),
                Some(_) => Recovery::Fix("no common TLS version or cipher with the server: TLS 1.2 or 1.3 is needed"),
                None => Recovery::Retry,
            };
        }
        next = source.source();
    }
    Recovery::Fix("is this a PostgreSQL server? check `host` and `port`")
}

fn certificate_hint(reason: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Reason;
    match reason {
        Reason::UnknownIssuer => "set root_certificate to the certificate of the authority that signed the server's",
        Reason::Expired | Reason::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it on the server"
        }
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            "use a host name that the certificate contains, or set sslmode = \"verify-ca\""
        }
        _ => "the server's certificate is not trusted: correct it on the server",
    }
}
