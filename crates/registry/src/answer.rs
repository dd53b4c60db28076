//! A registry's answers, by what the caller does next.
//!
//! Source: Confluent's documentation of the Schema Registry, "API reference".

use serde::Deserialize;

/// The registry's code for an unknown schema id.
const SCHEMA_NOT_FOUND: u32 = 40403;
/// Longest text of a registry that an error quotes.
const MESSAGE_CHARS: usize = 200;

/// A schema, as `/schemas/ids/{id}` and `/subjects/{subject}/versions/{version}` give it.
#[derive(Debug, Deserialize)]
pub(crate) struct SchemaBody {
    pub(crate) schema: String,
    /// Left out for Avro.
    #[serde(rename = "schemaType")]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) references: Option<Vec<SchemaReference>>,
}

/// A schema whose names another one uses.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SchemaReference {
    pub(crate) subject: String,
    pub(crate) version: i64,
}

#[derive(Debug, Deserialize)]
struct ErrorBody {
    error_code: Option<u32>,
    message: Option<String>,
}

/// An answer, sorted by what the caller does next.
#[derive(Debug)]
pub(crate) enum RegistryAnswer {
    Found(SchemaBody),
    /// The registry has no such schema, subject or version.
    Unknown,
    /// Ask again later.
    Busy(String),
    /// Asking again gives the same answer.
    Refused(String),
    /// User and password are wrong, missing, or not enough.
    Denied(String),
}

/// Sorts an answer of `status` with `body`.
pub(crate) fn classify(status: u16, body: &[u8]) -> RegistryAnswer {
    if status == 200 {
        return match serde_json::from_slice(body) {
            Ok(found) => RegistryAnswer::Found(found),
            Err(_) => RegistryAnswer::Refused("its answer is not a schema".to_owned()),
        };
    }
    let fault = serde_json::from_slice::<ErrorBody>(body).unwrap_or(ErrorBody { error_code: None, message: None });
    let reason = format!("it answered {status}{}", fault.message.as_deref().map(quote).unwrap_or_default());
    match (status, fault.error_code) {
        (404, Some(SCHEMA_NOT_FOUND | 40401 | 40402)) => RegistryAnswer::Unknown,
        // A server that is no registry has no codes.
        (404, _) => {
            RegistryAnswer::Refused(format!("{reason}, which is not a registry's answer for an unknown schema"))
        }
        (401 | 403, _) => RegistryAnswer::Denied(reason),
        (408 | 429 | 500..=599, _) => RegistryAnswer::Busy(reason),
        _ => RegistryAnswer::Refused(reason),
    }
}

/// A registry's message, on one line and of bounded length.
fn quote(message: &str) -> String {
    let words: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS).collect();
    format!(": {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_schema_is_distinguished_from_a_wrong_address_and_from_a_failing_registry() {
        let sorted = |status, body: &str| format!("{:?}", classify(status, body.as_bytes()));
        assert_eq!(sorted(404, r#"{"error_code": 40403, "message": "Schema 7 not found"}"#), "Unknown");
        assert!(sorted(404, "<html>not found</html>").starts_with("Refused(\"it answered 404, which is not"));
        assert!(sorted(404, r#"{"error_code": 404, "message": "HTTP 404 Not Found"}"#).starts_with("Refused"));
        assert_eq!(
            sorted(503, r#"{"error_code": 50003, "message": "no\nleader"}"#),
            r#"Busy("it answered 503: no leader")"#
        );
        assert_eq!(sorted(401, ""), r#"Denied("it answered 401")"#);
        assert_eq!(sorted(302, ""), r#"Refused("it answered 302")"#);
        assert!(sorted(200, "{}").starts_with("Refused"));
    }

    #[test]
    fn a_schema_names_its_type_unless_it_is_avro() {
        let RegistryAnswer::Found(avro) = classify(200, br#"{"schema": "\"int\""}"#) else { panic!("not found") };
        assert_eq!((avro.schema.as_str(), avro.kind, avro.references), ("\"int\"", None, None));
        let text = br#"{"schema": "{}", "schemaType": "JSON", "id": 3,
                        "references": [{"name": "a.B", "subject": "b-value", "version": 2}]}"#;
        let RegistryAnswer::Found(json) = classify(200, text) else { panic!("not found") };
        assert_eq!(json.kind.as_deref(), Some("JSON"));
        assert_eq!(json.references.unwrap(), [SchemaReference { subject: "b-value".to_owned(), version: 2 }]);
    }
}
