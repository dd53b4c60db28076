//! Tables in memory under the warehouse's names, in place of the lake: what is tested here is the wire, and the
//! warehouse has its own tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use datafusion::arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::future::BoxFuture;
use turnstile_wire::Database;

/// The memory that one statement may use, in bytes.
const MEMORY_BYTES: usize = 64 << 20;
/// 2024-01-06 05:00:00 UTC, midnight in New York.
const START_MICROS: i64 = 1_704_517_200_000_000;
const FIVE_MINUTES_MICROS: i64 = 300_000_000;

/// The tables, with a count of sessions.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    sessions: AtomicI64,
}

impl Tables {
    /// How many sessions were asked for.
    #[allow(dead_code, reason = "the example asks nothing")]
    pub(crate) fn sessions(&self) -> i64 {
        self.sessions.load(Ordering::Relaxed)
    }
}

impl Database for Tables {
    fn session(&self) -> BoxFuture<'_, Result<SessionContext>> {
        let count = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        Box::pin(async move { session(count) })
    }
}

fn session(count: i64) -> Result<SessionContext> {
    let config = SessionConfig::new()
        .with_default_catalog_and_schema(turnstile_wire::DATABASE, "public")
        .with_target_partitions(2);
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES, 1.0).build_arc()?;
    let session = SessionContext::new_with_config_rt(config, runtime);
    let panics = create_udf("panics", vec![DataType::Int64], DataType::Int64, Volatility::Volatile, {
        Arc::new(|_: &[ColumnarValue]| -> Result<ColumnarValue> { panic!("on purpose") })
    });
    session.register_udf(panics);
    session.register_table("ext_turnstile", turnstile()?)?;
    session.register_table("fact_turnstile", turnstile()?)?;
    session.register_table("session_count", numbers("count", vec![count])?)?;
    let system = MemorySchemaProvider::new();
    system.register_table("files".into(), numbers("rows", vec![3, 4])?)?;
    let catalog = session.catalog(turnstile_wire::DATABASE);
    let catalog = catalog.ok_or_else(|| DataFusionError::Internal("no catalog".into()))?;
    catalog.register_schema("_turnstile", Arc::new(system))?;
    Ok(session)
}

fn numbers(name: &str, values: Vec<i64>) -> Result<Arc<MemTable>> {
    let schema = Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, false)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(values))])?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

/// Six rows: three stations, two windows; one has no entries.
fn turnstile() -> Result<Arc<MemTable>> {
    let stations = ["Test Station 1", "Test Station 2", "59 ST"];
    let texts = |text: &str| Arc::new(StringArray::from(vec![text; 6])) as ArrayRef;
    let starts: Vec<i64> = (0..6).map(|row| START_MICROS + (row / 3) * FIVE_MINUTES_MICROS).collect();
    let ends = starts.iter().map(|start| start + FIVE_MINUTES_MICROS).collect::<Vec<_>>();
    let instants = |micros| Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC")) as ArrayRef;
    let station: Vec<&str> = (0..6).map(|row| stations[row % 3]).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ca", texts("A002")),
        ("unit", texts("R051")),
        ("scp", texts("02-00-00")),
        ("station", Arc::new(StringArray::from(station))),
        ("date", Arc::new(Date32Array::from(vec![19_728; 6]))),
        ("ratio", Arc::new(Float64Array::from(vec![0.5, 1.0, 1.5, 2.0, 2.5, 3.0]))),
        ("entries", Arc::new(Int64Array::from(vec![Some(10), Some(20), Some(30), Some(40), Some(50), None]))),
        ("exits", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5, 6]))),
        ("start", instants(starts)),
        ("end", instants(ends)),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, name == "entries")),
    )?;
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}
