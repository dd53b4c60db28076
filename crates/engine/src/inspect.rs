//! Messages decoded for display: every field of the schema, as text.
//!
//! The same decoder as a worker's, so that what is shown here is what a run would see, and what is rejected here would
//! go to the dead letters there.

use std::sync::Arc;

use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use turnstile_message::{MessageBatch, WriterSchema};
use turnstile_pipeline::Pipeline;

use crate::decode::{DecodePlan, Decoder, Rejection};
use crate::error::EngineError;

/// What a message's value holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    /// One text a field of the schema, in its order; `None` for a null. Instants are RFC 3339 in their field's zone.
    Fields(Vec<Option<String>>),
    /// It does not fit the schema.
    Rejected(Rejection),
    /// It has no value.
    Tombstone,
}

/// Decodes messages by a pipeline's schema.
pub struct Inspector {
    names: Vec<String>,
    decoder: Decoder,
}

impl Inspector {
    /// An inspector of the pipeline's messages.
    ///
    /// # Errors
    /// [`EngineError::Plan`] when the pipeline's schema cannot be decoded.
    pub fn new(pipeline: &Pipeline) -> Result<Self, EngineError> {
        let mut whole = pipeline.clone();
        whole.query.columns = (0..whole.source.schema.len()).collect();
        let plan = DecodePlan::new(&whole)?;
        let names = whole.source.schema.iter().map(|field| field.name.clone()).collect();
        Ok(Self { names, decoder: Decoder::new(Arc::new(plan)) })
    }

    /// The fields' names, in the order of [`Inspected::Fields`].
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Ids of the schemas that the batch refers to and that [`Inspector::register_schema`] has not received. Empty for
    /// formats without a schema registry.
    pub fn missing_schemas(&mut self, batch: &MessageBatch) -> Vec<u32> {
        self.decoder.missing_schemas(batch)
    }

    /// Registers a schema; `None`: the schema registry does not know it, and its messages are rejected.
    pub fn register_schema(&mut self, id: u32, schema: Option<&WriterSchema>) {
        self.decoder.register_schema(id, schema);
    }

    /// What each message of the batch holds, in its order. Its schemas have to be known.
    ///
    /// # Errors
    /// A decoded column that cannot be written as text.
    pub fn inspect(&mut self, batch: &MessageBatch) -> Result<Vec<Inspected>, EngineError> {
        let decoded = self.decoder.decode(batch);
        let mut rows = vec![Inspected::Tombstone; batch.len()];
        let options = FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.f%:z"));
        let columns = decoded.columns.iter();
        let formatters = columns.map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<Vec<_>, _>>()?;
        for (at, row) in decoded.rows.iter().enumerate() {
            let text = |(column, formatter): (&Arc<dyn Array>, &ArrayFormatter<'_>)| {
                column.is_valid(at).then(|| formatter.value(at).to_string())
            };
            rows[*row as usize] = Inspected::Fields(decoded.columns.iter().zip(&formatters).map(text).collect());
        }
        for (row, rejection) in decoded.rejected {
            rows[row as usize] = Inspected::Rejected(rejection);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use turnstile_message::{BatchBuilder, TopicPartition};

    use super::*;
    use crate::Reason;

    const PIPELINE: &str = r#"
name = "p"
[source]
topic = "t"
format = "csv"
[source.schema]
STATION = "string"
UNUSED = "int"
AT = { type = "timestamp", zone = "America/New_York" }
[stream]
event_time = "AT"
watermark = "0 seconds"
[query]
sql = "SELECT STATION, count(*) AS N FROM turnstile GROUP BY window(AT, '5 minutes'), STATION"
[lake]
url = "file:./lake"
"#;

    #[test]
    fn every_field_of_the_schema_is_shown_not_only_those_of_the_query() {
        let pipeline = Pipeline::from_str(PIPELINE, "p.toml").unwrap();
        let mut inspector = Inspector::new(&pipeline).unwrap();
        let mut batch = BatchBuilder::default();
        let partition = TopicPartition::new("t", 0);
        let values = [Some("59 ST,7,2023-09-22 14:05:00"), Some("59 ST,x,2023-09-22 14:05:00"), None];
        for (offset, value) in values.iter().enumerate() {
            batch.push(&partition, offset as i64, 0, None, value.map(str::as_bytes));
        }
        let shown = inspector.inspect(&batch.finish()).unwrap();
        assert_eq!(inspector.names(), ["STATION", "UNUSED", "AT"]);
        let fields = ["59 ST", "7", "2023-09-22T14:05:00-04:00"].map(|text| Some(text.to_owned()));
        assert_eq!(shown[0], Inspected::Fields(fields.to_vec()));
        let Inspected::Rejected(rejection) = &shown[1] else { panic!("{:?}", shown[1]) };
        assert_eq!((rejection.reason, rejection.field.as_deref()), (Reason::Type, Some("UNUSED")));
        assert_eq!(shown[2], Inspected::Tombstone);
    }
}
