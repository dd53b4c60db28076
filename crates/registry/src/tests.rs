//! Against a double: a listener that answers each request with the next of its answers. The real registry is
//! asked in the product's own tests.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::LazyLock;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use turnstile_message::SchemaKind;
use turnstile_values::{Secret, human};

use crate::{RegistryError, SchemaRegistry, SchemaRegistrySettings};

/// Answers as many requests as there are `answers`, then gives back what was asked, headers included.
fn double(answers: Vec<(u16, String)>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            for line in BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap) {
                if line.is_empty() {
                    break;
                }
                request += &line;
                request.push('\n');
            }
            let len = body.len();
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}").unwrap();
            asked.push(request);
        }
        asked
    });
    (url, thread)
}

fn registry(url: &str) -> SchemaRegistry {
    open(SchemaRegistrySettings { url: url.to_owned(), user: None }).unwrap()
}

fn open(settings: SchemaRegistrySettings) -> Result<SchemaRegistry, RegistryError> {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    SchemaRegistry::new(settings, RUNTIME.handle().clone())
}

fn answer(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

#[test]
fn a_schema_is_asked_for_once_with_the_schemas_it_refers_to_before_it() {
    let (url, asked) = double(vec![
        answer(
            200,
            r#"{"schema": "whole", "references": [{"name": "B", "subject": "b/ä value", "version": 2},
                {"name": "C", "subject": "c", "version": 1}]}"#,
        ),
        answer(200, r#"{"schema": "b", "references": [{"name": "C", "subject": "c", "version": 1}]}"#),
        answer(200, r#"{"schema": "c", "subject": "c", "version": 1, "id": 9}"#),
    ]);
    let registry = registry(&format!("{url}/prefix/"));
    for _ in 0..2 {
        let schema = registry.schema(70_000).unwrap().unwrap();
        assert_eq!((&schema.kind, schema.text.as_str()), (&SchemaKind::Avro, "whole"));
        assert_eq!(schema.references, ["c", "b"]);
    }
    let asked: Vec<String> = asked.join().unwrap().iter().map(|r| r.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        asked,
        [
            "GET /prefix/schemas/ids/70000 HTTP/1.1",
            "GET /prefix/subjects/b%2F%C3%A4%20value/versions/2 HTTP/1.1",
            "GET /prefix/subjects/c/versions/1 HTTP/1.1"
        ]
    );
}

#[test]
fn an_unknown_id_is_not_asked_for_again_at_once() {
    let (url, asked) = double(vec![answer(404, r#"{"error_code": 40403, "message": "Schema 7 not found"}"#)]);
    let registry = registry(&url);
    assert_eq!(registry.schema(7).unwrap(), None);
    assert_eq!(registry.schema(7).unwrap(), None);
    assert_eq!(asked.join().unwrap().len(), 1);
}

#[test]
fn a_failing_registry_can_be_retried_and_a_wrong_address_cannot() {
    let (url, asked) = double(vec![
        answer(503, r#"{"error_code": 50003, "message": "no leader"}"#),
        answer(404, "<html>"),
        answer(200, r#"{"schema": "{}", "schemaType": "JSON"}"#),
        answer(200, "[]"),
    ]);
    let registry = registry(&url);
    assert_eq!(
        human::error(&registry.schema(1).unwrap_err()),
        format!("the schema registry {url} is not available: it answered 503: no leader")
    );
    assert!(matches!(registry.schema(1), Err(RegistryError::Refused { .. })));
    assert_eq!(registry.schema(1).unwrap().unwrap().kind, SchemaKind::Json, "an error is not cached");
    assert!(matches!(registry.schema(2), Err(RegistryError::Refused { .. })));
    asked.join().unwrap();
    let gone = registry.schema(3).unwrap_err();
    assert!(matches!(gone, RegistryError::Unreachable { .. }), "{gone}");
    assert!(human::error(&gone).contains("onnection refused"), "{gone}");
}

#[test]
fn user_and_password_are_sent_and_shown_nowhere() {
    let (url, asked) = double(vec![answer(401, r#"{"error_code": 40101, "message": "Unauthorized"}"#)]);
    let user = Some(("joe".to_owned(), Secret::new("hush-hush")));
    let registry = open(SchemaRegistrySettings { url, user }).unwrap();
    let error = registry.schema(1).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }));
    let shown = format!("{error} {error:?} {registry:?}");
    let asked = asked.join().unwrap();
    // base64 of joe:hush-hush
    assert!(asked[0].to_lowercase().contains("authorization: basic") && asked[0].contains("am9lOmh1c2gtaHVzaA=="));
    assert!(!shown.contains("hush-hush") && !shown.contains("am9lOmh1"), "{shown}");
}

#[test]
fn what_is_no_address_is_refused_without_repeating_it() {
    for url in ["http://", "registry", "mailto:secret"] {
        let error = open(SchemaRegistrySettings { url: url.to_owned(), user: None }).unwrap_err().to_string();
        assert!(error.starts_with("the schema registry's settings are wrong: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
