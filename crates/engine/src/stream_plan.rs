//! A pipeline's query compiled to physical expressions and accumulators.
//!
//! In: a checked [`Pipeline`]. Out: [`StreamPlan`], shared by all workers. Start at [`StreamPlan::new`].

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::CastExpr;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use turnstile_pipeline::{AggregateKind, DedupSettings, FailedGroupPolicy, LatePolicy, Pipeline, WindowSpec};

use crate::aggregates::{AggregateFunction, AggregateInputs, AggregateSlot};
use crate::decode::DecodePlan;
use crate::error::EngineError;

/// Everything the engine needs to know about a pipeline, compiled once and shared.
#[derive(Debug)]
pub struct StreamPlan {
    pub(crate) decode: Arc<DecodePlan>,
    pub(crate) window: WindowSpec,
    pub(crate) watermark_us: i64,
    pub(crate) late: LatePolicy,
    pub(crate) failed_groups: FailedGroupPolicy,
    pub(crate) correct_for_us: i64,
    pub(crate) future_us: Option<i64>,
    pub(crate) memory_bytes: usize,
    pub(crate) dedup: Option<DedupPlan>,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) key_schema: SchemaRef,
    pub(crate) functions: Vec<AggregateFunction>,
    /// Register expressions, as 64-bit integers.
    pub(crate) registers: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) slots: Vec<AggregateSlot>,
    /// The decoded columns, those of the messages' order if `is_ordered`, then the window's bounds.
    pub(crate) input: SchemaRef,
    /// `input` without the window's bounds: the rows of a batch.
    pub(crate) table: SchemaRef,
    pub(crate) is_ordered: bool,
    /// Keys, then every function's state columns.
    pub(crate) layer: SchemaRef,
    /// The window's bounds, keys, aggregates: what HAVING and SELECT read.
    pub(crate) aggregated: SchemaRef,
    pub(crate) having: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) output: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) output_schema: SchemaRef,
}

/// What makes two messages duplicates.
#[derive(Debug)]
pub(crate) enum DedupPlan {
    /// Equal values of these decoded columns.
    Columns {
        columns: Vec<usize>,
        /// The event time is among them, so a duplicate has the same event time.
        same_time: bool,
    },
    /// Equal message values, byte for byte.
    Value,
}

impl StreamPlan {
    /// The state that a drained pipeline still needs for later messages. None: a drained pipeline may continue with
    /// another plan.
    pub fn retained_after_drain(&self) -> Option<&'static str> {
        if !self.registers.is_empty() {
            Some("the last reading of each register")
        } else if self.correct_for_us > 0 {
            Some("published windows that late rows may still correct")
        } else if matches!(self.dedup, Some(DedupPlan::Columns { same_time: false, .. })) {
            Some("the messages seen, which a duplicate with another event time may repeat")
        } else {
            None
        }
    }

    /// Compiles `pipeline`.
    ///
    /// # Errors
    /// [`EngineError::Plan`] when an expression of the query has no physical form.
    pub fn new(pipeline: &Pipeline) -> Result<Self, EngineError> {
        let decode = Arc::new(DecodePlan::new(pipeline)?);
        let query = &pipeline.query;
        let props = ExecutionProps::new();
        let physical = |expr: &Expr, schema: &DFSchema| create_physical_expr(expr, schema, &props, &Default::default());
        let input: SchemaRef = Arc::new(query.input.as_arrow().clone());

        let table = Arc::new(input.project(&(0..input.fields().len() - 2).collect::<Vec<_>>())?);

        let mut names = query.aggregated.fields().iter().map(|f| f.name().clone()).skip(2);
        let mut key_fields: Vec<FieldRef> = Vec::new();
        let mut keys = Vec::new();
        for expr in &query.keys {
            let key = physical(expr, &query.input)?;
            let name = names.next().unwrap_or_default();
            key_fields.push(Arc::new(Field::new(name, key.data_type(&input)?, true)));
            keys.push(key);
        }

        let (mut functions, mut registers, mut slots) = (Vec::new(), Vec::<Arc<dyn PhysicalExpr>>::new(), Vec::new());
        let mut register_texts: Vec<String> = Vec::new();
        let mut states: Vec<FieldRef> = Vec::new();
        for (aggregate, name) in query.aggregates.iter().zip(names) {
            let mut register = |expr: &Expr| -> Result<usize, EngineError> {
                let text = expr.to_string();
                if let Some(known) = register_texts.iter().position(|t| *t == text) {
                    return Ok(known);
                }
                let value = physical(expr, &query.input)?;
                registers.push(Arc::new(CastExpr::new(value, DataType::Int64, None)));
                register_texts.push(text);
                Ok(registers.len() - 1)
            };
            slots.push(match &aggregate.kind {
                AggregateKind::Function { udaf, args, distinct, filter } => {
                    let args = args.iter().map(|arg| physical(arg, &query.input)).collect::<Result<Vec<_>, _>>()?;
                    let filter = filter.as_ref().map(|f| physical(f, &query.input)).transpose()?;
                    let expr = AggregateExprBuilder::new(Arc::clone(udaf), args.clone())
                        .schema(Arc::clone(&input))
                        .alias(name)
                        .with_distinct(*distinct)
                        .build()?;
                    let fields = expr.state_fields()?;
                    let count = fields.len();
                    states.extend(fields);
                    functions.push(AggregateFunction { expr: Arc::new(expr), args, filter, states: count });
                    AggregateSlot::Function(functions.len() - 1)
                }
                AggregateKind::Increase { register: expr, cap } => {
                    AggregateSlot::Increase { register: register(expr)?, cap: *cap }
                }
                AggregateKind::Resets { register: expr } => AggregateSlot::Resets { register: register(expr)? },
                AggregateKind::Jumps { register: expr, cap } => {
                    AggregateSlot::Jumps { register: register(expr)?, cap: *cap }
                }
            });
        }

        // State columns of two functions may share a name; their position distinguishes them.
        let states =
            states.iter().enumerate().map(|(i, f)| Arc::new(f.as_ref().clone().with_name(format!("state{i}"))));
        let layer: Vec<FieldRef> = key_fields.iter().cloned().chain(states).collect();
        let aggregated = query.aggregated.as_arrow().clone();
        let output = query.output.iter().map(|(_, e)| physical(e, &query.aggregated)).collect::<Result<Vec<_>, _>>()?;
        let dedup = match &pipeline.stream.dedup {
            DedupSettings::Off => None,
            DedupSettings::Value => Some(DedupPlan::Value),
            DedupSettings::Fields(names) => {
                let columns = names
                    .iter()
                    .map(|name| {
                        input
                            .index_of(name)
                            .map_err(|_| EngineError::Plan(format!("the dedup column {name} is not decoded")))
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                Some(DedupPlan::Columns { columns, same_time: names.contains(&pipeline.stream.event_time) })
            }
        };
        Ok(Self {
            window: query.window,
            watermark_us: pipeline.stream.watermark_us,
            late: pipeline.stream.late,
            failed_groups: pipeline.stream.failed_groups,
            correct_for_us: pipeline.stream.correct_for_us,
            future_us: pipeline.stream.future_us,
            memory_bytes: pipeline.stream.memory_bytes as usize,
            dedup,
            filter: query.filter.as_ref().map(|f| physical(f, &query.input)).transpose()?,
            keys,
            key_schema: Arc::new(Schema::new(key_fields)),
            functions,
            registers,
            slots,
            layer: Arc::new(Schema::new(layer)),
            aggregated: Arc::new(aggregated),
            having: query.having.as_ref().map(|h| physical(h, &query.aggregated)).transpose()?,
            output,
            output_schema: Arc::clone(&query.output_schema),
            decode,
            input,
            table,
            is_ordered: query.is_ordered,
        })
    }

    /// The columns of a closed window, in order.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output_schema
    }

    /// Evaluates the inputs of aggregation for the rows of `table`.
    pub(crate) fn evaluate(&self, table: &RecordBatch) -> Result<AggregateInputs, EngineError> {
        let rows = table.num_rows();
        let array = |expr: &Arc<dyn PhysicalExpr>| -> Result<ArrayRef, EngineError> {
            Ok(expr.evaluate(table)?.into_array(rows)?)
        };
        let columns = |exprs: &[Arc<dyn PhysicalExpr>]| exprs.iter().map(array).collect::<Result<Vec<_>, _>>();
        let functions = self
            .functions
            .iter()
            .map(|function| Ok((columns(&function.args)?, function.filter.as_ref().map(array).transpose()?)))
            .collect::<Result<Vec<_>, EngineError>>()?;
        Ok(AggregateInputs { rows, keys: columns(&self.keys)?, functions, registers: columns(&self.registers)? })
    }

    /// Start, in microseconds, of the last window that contains `event_us`.
    #[inline]
    pub(crate) fn last_start(&self, event_us: i64) -> i64 {
        self.window.last_start_us(event_us)
    }

    pub(crate) fn end(&self, start_us: i64) -> i64 {
        start_us + self.window.size_us
    }

    /// Number of the last window that ends at or before `instant_us`.
    pub(crate) fn ends_by(&self, instant_us: i64) -> i64 {
        self.window.ends_by(instant_us)
    }

    pub(crate) fn is_tumbling(&self) -> bool {
        self.window.slide_us == self.window.size_us
    }
}
