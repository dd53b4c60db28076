//! Small pieces of OTLP messages.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use uuid::Uuid;

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
    pub(super) fn message(&self) -> Resource {
        let mut attributes = vec![
            text("service.name", "turnstile"),
            text("service.version", &self.version),
            text("service.instance.id", &self.run.to_string()),
            text("turnstile.pipeline", &self.pipeline),
        ];
        attributes.extend(self.host.as_deref().map(|host| text("host.name", host)));
        Resource { attributes, ..Resource::default() }
    }

    pub(super) fn scope(&self) -> InstrumentationScope {
        let version = self.version.clone();
        InstrumentationScope { name: "turnstile".to_owned(), version, ..InstrumentationScope::default() }
    }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

pub(super) fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

pub(super) fn texts(key: &str, values: impl Iterator<Item = String>) -> KeyValue {
    let values = values.map(|value| AnyValue { value: Some(Value::StringValue(value)) }).collect();
    attribute(key, Value::ArrayValue(ArrayValue { values }))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Nanoseconds since the epoch.
pub(super) fn nanos(us: i64) -> u64 {
    u64::try_from(us).unwrap_or_default().saturating_mul(1_000)
}
