//! What a fault means for the caller: wait and send again, or tell a person.

use std::error::Error;
use std::io;

use tokio_postgres::error::{DbError, SqlState};

use crate::TargetError;

/// What happened while something was done; the server's own words follow as its source.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {said}")]
struct Said {
    doing: String,
    said: String,
    #[source]
    source: tokio_postgres::Error,
}

/// The target does not answer, or not now.
pub(super) fn unreachable(target: &str, why: impl Into<Box<dyn Error + Send + Sync>>) -> TargetError {
    TargetError::Unreachable { target: target.into(), source: why.into() }
}

/// It will be refused until a person does something.
pub(super) fn refused(target: &str, reason: impl Into<String>, hint: impl Into<String>) -> TargetError {
    TargetError::Refused { target: target.into(), reason: reason.into(), hint: hint.into(), source: None }
}

/// Sorts what the client library says. `doing`: what was being done, with table where there is one.
pub(super) fn sorted(target: &str, doing: &str, fault: tokio_postgres::Error) -> TargetError {
    let verdict = match fault.as_db_error() {
        Some(said) => by_state(said),
        None => by_source(&fault),
    };
    match verdict {
        Verdict::Wait => {
            let said = format!("{}{}", words(&fault), advice(&fault));
            unreachable(target, Box::new(Said { doing: doing.into(), said, source: fault }))
        }
        Verdict::Tell(hint) => TargetError::Refused {
            target: target.into(),
            reason: format!("{doing}: {}", words(&fault)),
            hint: hint.into(),
            source: Some(Box::new(fault)),
        },
    }
}

enum Verdict {
    Wait,
    Tell(&'static str),
}

/// The server's message with its detail, or all that the library knows.
fn words(fault: &tokio_postgres::Error) -> String {
    if let Some(said) = fault.as_db_error() {
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", said.message());
    }
    let mut words = fault.to_string();
    let mut next = fault.source();
    while let Some(source) = next {
        words.push_str(": ");
        words.push_str(&source.to_string());
        next = source.source();
    }
    words
}

/// What a person can do about a thing that may pass, but also may not.
fn advice(fault: &tokio_postgres::Error) -> &'static str {
    match fault.code() {
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => "; another session holds the lock (lock_timeout)",
        Some(code) if *code == SqlState::QUERY_CANCELED => "; if it goes on, raise statement_timeout",
        _ => "",
    }
}

/// By SQLSTATE. Source: "PostgreSQL Error Codes", appendix A of its documentation.
fn by_state(said: &DbError) -> Verdict {
    let code = said.code();
    let class = &code.code()[..2];
    // Connections, resources, operators' interventions, the system, faults of the server itself, and transactions
    // that lost against others: the same may be taken the next time.
    if matches!(class, "08" | "53" | "57" | "58" | "XX")
        || [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED].contains(&code)
        || [&SqlState::LOCK_NOT_AVAILABLE, &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT].contains(&code)
    {
        return Verdict::Wait;
    }
    Verdict::Tell(match code.code() {
        "28P01" => "the password or the user is another: PGPASSWORD, PGPASSFILE or password_file, and user",
        "28000" => "the server's pg_hba.conf does not let this user in from here, or only with another sslmode",
        "3D000" => "create the database, or correct the setting `database`",
        "42501" => "grant it: docs/warehouse-postgres.md lists the permissions that are needed",
        "25006" => "this server takes no writes (a standby?): name the primary as `host`",
        "23502" | "23503" | "23514" | "23P01" => {
            "a constraint of the table does not hold for these rows: drop the constraint, or correct the model"
        }
        "23505" => {
            "a unique index of the table does not hold for these rows: drop the index, or correct the model's key"
        }
        // What a standby answers to BEGIN READ WRITE.
        "0A000" => "this server cannot do that: name the primary if it is a standby; PostgreSQL 12 or newer is needed",
        "54000" => "a key's value may be longer than an index takes (some 2,700 bytes): correct the model's key",
        _ if class == "22" => "the value does not fit the column: correct the model, or the column's type",
        _ if class == "28" => "the server does not let this user in",
        _ => "the server's own log says more; nothing was changed",
    })
}

fn by_source(fault: &tokio_postgres::Error) -> Verdict {
    if fault.is_closed() {
        return Verdict::Wait;
    }
    let mut next = fault.source();
    while let Some(source) = next {
        if source.to_string().contains("server does not support TLS") {
            return Verdict::Tell("turn TLS on at the server (ssl = on), or set sslmode = \"disable\" or \"prefer\"");
        }
        if source.to_string().contains("password missing") {
            return Verdict::Tell("the server asks for a password: set PGPASSWORD, PGPASSFILE or password_file");
        }
        if let Some(io) = source.downcast_ref::<io::Error>() {
            return match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(why)) => Verdict::Tell(certificate_hint(why)),
                Some(_) => {
                    Verdict::Tell("the server's TLS is not one that can be spoken with: TLS 1.2 or 1.3 is needed")
                }
                None => Verdict::Wait,
            };
        }
        next = source.source();
    }
    Verdict::Tell("is this a PostgreSQL server? `host` and `port` say where it is looked for")
}

fn certificate_hint(why: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Why;
    match why {
        Why::UnknownIssuer => "name the certificate of the authority that signed the server's as root_certificate",
        Why::Expired | Why::ExpiredContext { .. } => "the server's certificate has expired: renew it there",
        Why::NotValidForName | Why::NotValidForNameContext { .. } => {
            "name the server as its certificate does, or set sslmode = \"verify-ca\""
        }
        _ => "the server's certificate is not one to trust: correct it there",
    }
}
