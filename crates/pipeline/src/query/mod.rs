//! The query: one SELECT in the Spark SQL dialect, planned into expressions that an engine evaluates.
//!
//! In: the SQL, the fields of the source. Out: a [`Query`]. Refuses, with the place and the reason, what
//! a stream cannot do. Knows nothing of time passing, state or storage. Start at [`plan`]: `syntax` takes the
//! text apart, `translate` makes expressions of it, `clauses` reads each clause with it, `grouped_exprs` separates keys and
//! aggregates, `assemble` puts the plan together.

mod aggregate;
mod arguments;
mod assemble;
pub(crate) mod call;
mod cast;
mod clauses;
mod common_type;
mod edit;
mod grouped_exprs;
mod input;
mod literal;
mod operator;
mod parsed;
mod readable;
mod scalar;
mod spark_text;
mod syntax;
mod text;
mod translate;
mod translator;
mod window;

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion_common::DFSchemaRef;
use datafusion_expr::{AggregateUDF, Expr};

use crate::functions::{ORDERED_BITS, is_decimal_sum};

pub(crate) use assemble::plan;
pub use edit::with_window;
pub use spark_text::{SPARK_BLOCK, SPARK_BLOCKS, SPARK_HAVING, SPARK_MESSAGES, SparkQuery};
pub use window::WindowSpec;

/// Name of the column with the window's start in [`Query::input`] and [`Query::aggregated`].
pub const WINDOW_START: &str = "__window_start";
/// Name of the column with the window's end.
pub const WINDOW_END: &str = "__window_end";

/// The columns of [`Query::input`] that say where a row's message stands, if aggregates need its order: topic, partition,
/// offset.
pub const MESSAGE_ORDER: [&str; 3] = ["__topic", "__partition", "__offset"];

/// A planned query.
///
/// What it means, in order: decode `columns` of each message into rows of `input`; keep those for which
/// `filter` is true; put each into its windows; group by the window and `keys`; compute `aggregates`, which
/// gives a row of `aggregated` a group; keep those for which `having` is true; evaluate `output`.
///
/// All expressions are coerced and simplified: a physical expression can be made of each as it is.
#[derive(Debug, Clone)]
pub struct Query {
    /// The query as it was written.
    pub sql: String,
    /// The query without comments and with one spelling of blanks.
    pub canonical: String,
    /// The name that FROM uses.
    pub table: String,
    /// The window that rows are grouped by.
    pub window: WindowSpec,
    /// Indices into [`crate::SourceSettings::schema`] of the fields that have to be decoded, ascending.
    pub columns: Vec<usize>,
    /// Where in `columns` the event time stands.
    pub event_time: usize,
    /// Where in `columns` the fields stand that make a message unique; empty when there are none.
    pub dedup: Vec<usize>,
    /// The columns in the order of `columns`, all nullable; then those of [`MESSAGE_ORDER`] if `is_ordered`; then
    /// [`WINDOW_START`] and [`WINDOW_END`].
    ///
    /// `filter`, `keys` and `aggregates` never refer to the last two, so that a batch may lack them.
    pub input: DFSchemaRef,
    /// Whether `input` has the columns of [`MESSAGE_ORDER`].
    pub is_ordered: bool,
    /// WHERE, over `input`: a boolean.
    pub filter: Option<Expr>,
    /// What GROUP BY names beside the window, over `input`.
    pub keys: Vec<Expr>,
    /// The aggregates, over `input`. Each occurs once, however often the query writes it.
    pub aggregates: Vec<Aggregate>,
    /// [`WINDOW_START`], [`WINDOW_END`], the keys, the aggregates.
    pub aggregated: DFSchemaRef,
    /// HAVING, over `aggregated`: a boolean.
    pub having: Option<Expr>,
    /// Names and values of the result's columns, over `aggregated`.
    pub output: Vec<(String, Expr)>,
    /// The result's columns: strings are `Utf8View` or `Utf8`, instants microseconds with a zone.
    pub output_schema: SchemaRef,
}

impl Query {
    /// Which columns of the result are the window's start and its end themselves.
    pub fn window_columns(&self) -> (Option<usize>, Option<usize>) {
        let is = |expr: &Expr, name: &str| matches!(expr, Expr::Column(column) if column.name == name);
        let find = |name| self.output.iter().position(|(_, expr)| is(expr, name));
        (find(WINDOW_START), find(WINDOW_END))
    }
}

/// One aggregate of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Its column's name in [`Query::aggregated`].
    pub name: String,
    /// What it computes.
    pub kind: AggregateKind,
}

impl Aggregate {
    /// Whether its state is a sum of 256 bits.
    pub(crate) fn is_wide_sum(&self) -> bool {
        matches!(&self.kind, AggregateKind::Function { udaf, .. } if is_decimal_sum(udaf))
    }

    /// Whether its state holds doubles as bigints, by their order.
    pub(crate) fn is_of_ordered_bits(&self) -> bool {
        let AggregateKind::Function { args, .. } = &self.kind else { return false };
        let ordered = |arg: &Expr| matches!(arg, Expr::ScalarFunction(call) if call.func.name() == ORDERED_BITS);
        args.iter().any(ordered)
    }
}

/// What an aggregate computes.
#[derive(Debug, Clone, PartialEq)]
pub enum AggregateKind {
    /// One of DataFusion's aggregate functions.
    Function {
        /// The function.
        udaf: Arc<AggregateUDF>,
        /// Its arguments; constants among them (the share of a percentile) are literals.
        args: Vec<Expr>,
        /// Whether equal arguments count once.
        distinct: bool,
        /// `FILTER (WHERE …)`: only rows for which it is true count.
        filter: Option<Expr>,
    },
    /// The growth of a cumulative register: the sum, over the window's readings, of the reading minus the
    /// previous one of the same keys in event time, which may lie before the window. A key's first reading
    /// adds 0; so does a step below 0 or above the cap. A 64-bit integer, never null.
    Increase {
        /// The reading, a 64-bit integer. A null is not a reading.
        register: Expr,
        /// The largest step that is believed.
        cap: Option<i64>,
    },
    /// How many steps of a register went below 0.
    Resets {
        /// The reading, a 64-bit integer.
        register: Expr,
    },
    /// How many steps of a register went above the cap.
    Jumps {
        /// The reading, a 64-bit integer.
        register: Expr,
        /// The largest step that is believed.
        cap: i64,
    },
}

/// Spark's name of an Arrow type that a result's column can have; `None` for the others.
pub(crate) fn spark_type(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "string".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        _ => return None,
    })
}
