//! Writer schemas by their ids in a registry: which ones a batch needs, and which of those are known.
//!
//! The engine does not query the registry: its caller asks which ids are missing and registers them here. A registry
//! never reuses an id, so a registered schema stays valid; an unknown id may become known and is forgotten with
//! the batch.

use hashbrown::HashMap;
use turnstile_message::MessageBatch;

use super::avro::RecordReader;
use super::rejection::{Reason, Rejection};

/// Most schemas that are kept from batch to batch, and most bytes of their texts. Beyond either, all are dropped and
/// those still in use are registered again.
const SCHEMAS: usize = 1_000;
const SCHEMA_BYTES: usize = 32 << 20;

/// The first byte of a message whose schema is in a registry.
const MAGIC: u8 = 0;
/// Bytes before the message itself: the magic byte, and the schema's id with its highest byte first.
/// Source: Confluent's documentation of the Schema Registry, "wire format".
const HEADER: usize = 5;

/// What is known of a schema.
#[derive(Debug)]
pub(crate) enum KnownSchema {
    Avro(Box<RecordReader>),
    Json,
    /// Its messages cannot be rows.
    Unusable(Rejection),
    /// The registry does not know it.
    Unknown,
}

/// The schemas registered so far.
#[derive(Debug, Default)]
pub(crate) struct WriterSchemas {
    known: HashMap<u32, KnownSchema>,
    bytes: usize,
}

impl WriterSchemas {
    pub(crate) fn get(&self, id: u32) -> Option<&KnownSchema> {
        self.known.get(&id)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn register(&mut self, id: u32, schema: KnownSchema, bytes: usize) {
        self.known.insert(id, schema);
        self.bytes += bytes;
    }

    /// The ids in `batch` that are not known, without duplicates. Begins a new batch: unknown ids of the last one are
    /// forgotten.
    pub(crate) fn missing(&mut self, batch: &MessageBatch) -> Vec<u32> {
        if self.known.len() > SCHEMAS || self.bytes > SCHEMA_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        self.known.retain(|_, schema| !matches!(schema, KnownSchema::Unknown));
        let mut missing = Vec::new();
        let mut last = None;
        for id in ids(batch) {
            if last.replace(id) != Some(id) && !self.known.contains_key(&id) {
                missing.push(id);
            }
        }
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// The first id in `batch` that is not known.
    pub(crate) fn first_unregistered(&self, batch: &MessageBatch) -> Option<u32> {
        let mut last = None;
        ids(batch).find(|id| last.replace(*id) != Some(*id) && !self.known.contains_key(id))
    }
}

/// The id that `value` begins with, and where the message itself begins.
#[inline]
pub(crate) fn header(value: &[u8]) -> Option<(u32, usize)> {
    match *value {
        [MAGIC, a, b, c, d, ..] => Some((u32::from_be_bytes([a, b, c, d]), HEADER)),
        _ => None,
    }
}

/// Why `value` has no [`header`].
#[cold]
pub(crate) fn no_header(value: &[u8]) -> Rejection {
    let detail = match value.first() {
        Some(first) if *first != MAGIC => format!("the value begins with byte {first}, not with 0 and a schema id"),
        _ => format!("the value is {} bytes long, too short for a schema id", value.len()),
    };
    Rejection::new(Reason::WireFormat, None, detail)
}

fn ids(batch: &MessageBatch) -> impl Iterator<Item = u32> {
    (0..batch.len()).filter_map(|row| Some(header(batch.values.get(row)?)?.0))
}
