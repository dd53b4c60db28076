//! The schemas by which messages were written, where a registry has them: what is known of each id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use turnstile_message::{SchemaKind, WriterSchema};
use turnstile_pipeline::{Field, MessageFormat, Pipeline};

use super::avro_program::{AvroProgram, AvroProgramError};
use super::columns::MESSAGES_VIEW;
use super::decoding::{NO_FIELD, RejectionCase};
use super::sql_text::text;
use crate::error::SparkError;

/// What a registry says of schemas by their ids; `None`: it does not know the id. A query over messages of other ids fails, and
/// [`asked_schema`] tells of which.
pub type RegistrySchemas = BTreeMap<u32, Option<Arc<WriterSchema>>>;

/// Most schemas that one query reads messages of: all of them are part of its plan.
const MAX_SCHEMAS: usize = 100;

/// How a query says that it needs a schema.
const ASKS_FOR: &str = "turnstile asks for schema ";

/// A value of a schema registry: a zero byte, the schema's id in four bytes, and the rest.
pub(super) const FRAMED: &str = "octet_length(value) >= 5 AND substring(value, 1, 1) = X'00'";

/// Column of the schema's id.
pub(super) const SCHEMA_ID: &str = "schema_id";

/// The id in a framed value.
pub(super) const ID: &str = "bigint(conv(hex(substring(value, 2, 4)), 16, 10))";

/// The schemas of a plan.
#[derive(Default)]
pub(super) struct KnownSchemas {
    /// How messages of Avro schemas are read.
    pub(super) programs: Vec<(u32, AvroProgram)>,
    /// Why messages are rejected by their id alone.
    pub(super) cases: Vec<RejectionCase>,
}

impl KnownSchemas {
    /// Sorts what a registry said.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn of(pipeline: &Pipeline, needed: &[&Field], schemas: &RegistrySchemas) -> Result<Self, Vec<String>> {
        let format = pipeline.source.format;
        let mut known = Self::default();
        let no_header = text("the value does not begin with 0 and a schema id");
        known.cases.push(RejectionCase::new("body IS NULL", "wire-format", NO_FIELD, no_header));
        let asks = match schemas.is_empty() {
            true => "true".to_owned(),
            false => format!("{SCHEMA_ID} NOT IN ({})", ids(schemas.keys())),
        };
        known.cases.push(RejectionCase {
            when: asks,
            reason: format!("raise_error(concat({}, {SCHEMA_ID}))", text(ASKS_FOR)),
            field: NO_FIELD.to_owned(),
            detail: NO_FIELD.to_owned(),
        });
        let mut unknown = BTreeSet::new();
        for (id, schema) in schemas {
            let mut unusable = |reason: &str, field: Option<&str>, detail: &str| {
                let field = field.map_or(NO_FIELD.to_owned(), text);
                let detail = text(&format!("{detail} (schema {id})"));
                known.cases.push(RejectionCase::new(format!("{SCHEMA_ID} = {id}"), reason, field, detail));
            };
            match (schema.as_deref(), format) {
                (None, _) => {
                    unknown.insert(id);
                }
                (Some(schema), MessageFormat::Avro) if schema.kind == SchemaKind::Avro => {
                    match AvroProgram::of(schema, pipeline, needed) {
                        Ok(program) => known.programs.push((*id, program)),
                        Err(AvroProgramError::NoRecord(detail)) => unusable("schema", None, &detail),
                        Err(AvroProgramError::ExtraField(name)) => {
                            unusable("fields", Some(&name), "the schema has no such field");
                        }
                    }
                }
                (Some(schema), MessageFormat::JsonSchema) if schema.kind == SchemaKind::Json => {}
                (Some(schema), format) => {
                    let (kind, format) = (schema.kind.as_str(), format.as_str());
                    unusable("schema", None, &format!("its language is {kind}, and the pipeline's format is {format}"));
                }
            }
        }
        if !unknown.is_empty() {
            let detail = format!("concat('the registry does not know schema ', {SCHEMA_ID})");
            known.cases.push(RejectionCase::new(
                format!("{SCHEMA_ID} IN ({})", ids(unknown)),
                "schema",
                NO_FIELD,
                detail,
            ));
        }
        if known.programs.len() > MAX_SCHEMAS {
            let many = format!("its messages have more than {MAX_SCHEMAS} schemas, all of which the query would hold");
            return Err(vec![many]);
        }
        Ok(known)
    }
}

fn ids<'a>(ids: impl IntoIterator<Item = &'a u32>) -> String {
    ids.into_iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// The query of the schemas' ids, over [`MESSAGES_VIEW`]: `most` of them.
pub fn schema_ids(most: usize) -> String {
    format!("SELECT DISTINCT {ID} AS {SCHEMA_ID} FROM {MESSAGES_VIEW} WHERE {FRAMED} LIMIT {most}")
}

/// The id of the schema that a query needs, if that is why it failed.
pub fn asked_schema(failure: &SparkError) -> Option<u32> {
    let SparkError::Spark { message, stack, .. } = failure else { return None };
    let said = std::iter::once(message).chain(stack).find_map(|line| line.split_once(ASKS_FOR))?.1;
    said.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_that_is_asked_for_is_found_in_message_and_stack() {
        let failure = |message: &str, stack: &[&str]| SparkError::Spark {
            class: "USER_RAISED_EXCEPTION".to_owned(),
            sql_state: None,
            message: message.to_owned(),
            stack: stack.iter().map(|&line| line.to_owned()).collect(),
        };
        assert_eq!(asked_schema(&failure("x turnstile asks for schema 17. y", &[])), Some(17));
        assert_eq!(
            asked_schema(&failure("task failed", &["a", "b: turnstile asks for schema 4294967295"])),
            Some(u32::MAX)
        );
        assert_eq!(asked_schema(&failure("turnstile asks for schema x", &[])), None);
        assert_eq!(asked_schema(&SparkError::TooLarge { limit: 1 }), None);
    }
}
