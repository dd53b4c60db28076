//! Small pieces of OTLP messages.

use uuid::Uuid;

use super::messages::{AnyValue, AnyValueKind, ArrayValue, InstrumentationScope, ResourceMessage, SpanAttribute};

/// Who sends: the resource of all spans and metrics.
#[derive(Debug, Clone)]
pub struct OtlpResource {
    /// The pipeline's name.
    pub pipeline: String,
    /// turnstile's version.
    pub version: String,
    /// The flow run.
    pub run: Uuid,
    /// The host, where it is known.
    pub host: Option<String>,
}

impl OtlpResource {
    /// Source: OpenTelemetry's semantic conventions for resources, `service.*` and `host.name`.
    pub(super) fn message(&self) -> ResourceMessage {
        let mut attributes = vec![
            text("service.name", "turnstile"),
            text("service.version", &self.version),
            text("service.instance.id", &self.run.to_string()),
            text("turnstile.pipeline", &self.pipeline),
        ];
        attributes.extend(self.host.as_deref().map(|host| text("host.name", host)));
        ResourceMessage { attributes }
    }

    pub(super) fn scope(&self) -> InstrumentationScope {
        InstrumentationScope { name: "turnstile".to_owned(), version: self.version.clone() }
    }
}

pub(super) fn text(key: &str, value: &str) -> SpanAttribute {
    attribute(key, AnyValueKind::Text(value.to_owned()))
}

pub(super) fn number(key: &str, value: u64) -> SpanAttribute {
    attribute(key, AnyValueKind::Int(i64::try_from(value).unwrap_or(i64::MAX)))
}

pub(super) fn texts(key: &str, values: impl Iterator<Item = String>) -> SpanAttribute {
    let values = values.map(|value| AnyValue { value: Some(AnyValueKind::Text(value)) }).collect();
    attribute(key, AnyValueKind::Array(ArrayValue { values }))
}

fn attribute(key: &str, value: AnyValueKind) -> SpanAttribute {
    SpanAttribute { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// Nanoseconds since the epoch.
pub(super) fn nanos(us: i64) -> u64 {
    u64::try_from(us).unwrap_or_default().saturating_mul(1_000)
}
