//! Messages that name their schema: the worker needs the schemas first, and each message is counted once.

use std::sync::Arc;

use turnstile_engine::{ClosePolicy, Engine, EngineError, Reason, RestoredState, StreamPlan};
use turnstile_message::{BatchBuilder, Counters, MessageBatch, SchemaKind, TopicPartition, WriterSchema};

use crate::story::{pipeline, sums};

fn engine() -> Engine {
    let mut pipeline = pipeline("watermark = \"5 minutes\"", &sums("'5 minutes'"));
    pipeline.source.format = turnstile_pipeline::MessageFormat::JsonSchema;
    let mut engine =
        Engine::new(Arc::new(StreamPlan::new(&pipeline).unwrap()), RestoredState::default(), 1, None).unwrap();
    engine.add_partition(TopicPartition::new("t", 0), 0);
    engine
}

fn batch(ids: &[u32]) -> MessageBatch {
    let mut batch = BatchBuilder::default();
    for (offset, id) in ids.iter().enumerate() {
        let mut value = vec![0];
        value.extend(id.to_be_bytes());
        value.extend(br#"{"STATION": "A", "ENTRIES": 2, "ID": "x", "TIMESTAMP": "2023-09-22 14:05:00"}"#);
        batch.push(&TopicPartition::new("t", 0), offset as i64, 0, None, Some(&value));
    }
    batch.finish()
}

#[test]
fn a_batch_with_unregistered_schemas_is_refused_before_any_of_it_counts() {
    let mut engine = engine();
    let mut worker = engine.worker();
    let batch = batch(&[1, 7, 1, 8]);
    let refused = worker.push(&batch, None).unwrap_err();
    assert!(matches!(refused, EngineError::SchemaNotRegistered { id: 1 }), "{refused}");

    assert_eq!(worker.missing_schemas(&batch), [1, 7, 8]);
    let json = WriterSchema { kind: SchemaKind::Json, text: "{}".to_owned(), references: Vec::new() };
    let avro = WriterSchema { kind: SchemaKind::Avro, text: "\"int\"".to_owned(), references: Vec::new() };
    for (id, schema) in [(1, Some(&json)), (7, None), (8, Some(&avro))] {
        worker.register_schema(id, schema);
    }
    worker.push(&batch, None).unwrap();
    let part = worker.take().unwrap();
    engine.absorb(vec![part], &[], ClosePolicy::All);
    let cut = engine.finish().unwrap();
    assert_eq!((cut.counters.read, cut.counters.aggregated, cut.counters.dead_lettered), (4, 2, 2));
    assert!(cut.counters.imbalance(&Counters::default()).is_none());
    assert_eq!(cut.closed.iter().map(|window| window.messages).sum::<u64>(), 2);
    let letters: Vec<_> = cut.dead_letters.iter().map(|l| (l.position.offset, l.rejection.reason)).collect();
    assert_eq!(letters, [(1, Reason::Schema), (3, Reason::Schema)]);
    assert_eq!(cut.dead_letters[0].rejection.detail, "the registry does not know schema 7");
    assert_eq!(cut.dead_letters[0].value.as_deref(), batch.values.get(1));
}
