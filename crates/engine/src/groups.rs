//! Partial aggregates of one window: group keys, accumulators, register readings.
//!
//! In: rows ([`WindowGroups::update`]) or the partial states of other groups ([`WindowGroups::merge`]).
//! Out: a [`Layer`] (partial states, to merge or persist) or the final columns ([`WindowGroups::finish`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Int64Type;
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;

use crate::aggregates::{AggregateInputs, AggregateSlot};
use crate::error::EngineError;
use crate::registers::{CarriedReading, Carry, RegisterReadings};
use crate::stream_plan::StreamPlan;

/// Partial aggregates as they are handed over, merged and persisted.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// One row a group: the keys, then the functions' partial states.
    pub(crate) groups: RecordBatch,
    /// Register readings; their group numbers are rows of `groups`.
    pub(crate) readings: RegisterReadings,
}

impl Layer {
    pub(crate) fn bytes(&self) -> usize {
        self.groups.get_array_memory_size() + self.readings.bytes()
    }

    /// The same with buffers of its size.
    pub(crate) fn copied(&self, plan: &Arc<StreamPlan>) -> Result<Self, EngineError> {
        let mut groups = WindowGroups::new(plan)?;
        groups.merge(self)?;
        groups.into_layer()
    }
}

/// What a window is when it closes.
pub(crate) struct WindowResult {
    pub(crate) rows: RecordBatch,
    /// The readings that later windows build on.
    pub(crate) last_readings: Vec<CarriedReading>,
}

/// Accumulates the groups of one window.
pub(crate) struct WindowGroups {
    plan: Arc<StreamPlan>,
    /// `None` when the query groups by the window alone.
    values: Option<Box<dyn GroupValues>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    readings: RegisterReadings,
    ids: Vec<usize>,
    rows: usize,
}

impl WindowGroups {
    pub(crate) fn new(plan: &Arc<StreamPlan>) -> Result<Self, EngineError> {
        let values = if plan.keys.is_empty() {
            None
        } else {
            Some(new_group_values(Arc::clone(&plan.key_schema), &GroupOrdering::None)?)
        };
        let accumulators = plan.functions.iter().map(|f| f.accumulator()).collect::<Result<Vec<_>, _>>()?;
        let readings = RegisterReadings::new(plan.registers.len());
        Ok(Self { plan: Arc::clone(plan), values, accumulators, readings, ids: Vec::new(), rows: 0 })
    }

    fn len(&self) -> usize {
        self.values.as_ref().map_or(usize::from(self.rows > 0), |values| values.len())
    }

    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<(), EngineError> {
        self.rows += rows;
        match &mut self.values {
            Some(values) => values.intern(keys, &mut self.ids)?,
            None => {
                self.ids.clear();
                self.ids.resize(rows, 0);
            }
        }
        Ok(())
    }

    /// Adds rows. `orders` gives the source order of each row, which only registers ask for.
    pub(crate) fn update(
        &mut self,
        inputs: &AggregateInputs,
        event_us: &[i64],
        orders: impl Fn(usize) -> i64,
    ) -> Result<(), EngineError> {
        self.intern(&inputs.keys, inputs.rows)?;
        let total = self.len();
        for ((args, filter), accumulator) in inputs.functions.iter().zip(&mut self.accumulators) {
            let filter = filter.as_ref().map(|f| f.as_boolean());
            accumulator.update_batch(args, &self.ids, filter, total)?;
        }
        if !inputs.registers.is_empty() {
            let columns: Vec<_> = inputs.registers.iter().map(|c| c.as_primitive::<Int64Type>()).collect();
            for (row, event_us) in event_us.iter().enumerate() {
                let values = columns.iter().map(|c| c.is_valid(row).then(|| c.value(row)));
                self.readings.push(self.ids[row] as u32, *event_us, orders(row), values);
            }
        }
        Ok(())
    }

    /// Adds the partial states of `layer`.
    pub(crate) fn merge(&mut self, layer: &Layer) -> Result<(), EngineError> {
        let plan = Arc::clone(&self.plan);
        let (keys, states) = layer.groups.columns().split_at(plan.keys.len());
        self.intern(keys, layer.groups.num_rows())?;
        let total = self.len();
        let mut at = 0;
        for (function, accumulator) in plan.functions.iter().zip(&mut self.accumulators) {
            accumulator.merge_batch(&states[at..at + function.states], &self.ids, total)?;
            at += function.states;
        }
        self.readings.append(&layer.readings, &self.ids);
        Ok(())
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        let values = self.values.as_ref().map_or(0, |v| v.size());
        values + self.accumulators.iter().map(|a| a.size()).sum::<usize>() + self.readings.bytes()
    }

    /// The partial states; nothing is left.
    pub(crate) fn into_layer(mut self) -> Result<Layer, EngineError> {
        let rows = self.len();
        let mut columns = match &mut self.values {
            Some(values) => values.emit(EmitTo::All)?,
            None => Vec::new(),
        };
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let groups = RecordBatch::try_new_with_options(Arc::clone(&self.plan.layer), columns, &options)?;
        Ok(Layer { groups, readings: self.readings })
    }

    /// The result of the window that begins at `start_us`. `carry` gives the reading before it of each group.
    pub(crate) fn finish(mut self, start_us: i64, carry: &Carry) -> Result<WindowResult, EngineError> {
        let rows = self.len();
        let keys = match &mut self.values {
            Some(values) => values.emit(EmitTo::All)?,
            None => Vec::new(),
        };
        let mut finals = self
            .accumulators
            .iter_mut()
            .map(|accumulator| accumulator.evaluate(EmitTo::All).map(Some))
            .collect::<Result<Vec<_>, _>>()?;
        let growth = if self.plan.registers.is_empty() {
            None
        } else {
            Some(self.readings.growth(&self.plan, &keys, rows, start_us, carry)?)
        };
        let (growth, last_readings) = growth.unzip();
        let mut columns = Vec::with_capacity(self.plan.slots.len());
        for (at, slot) in self.plan.slots.iter().enumerate() {
            columns.push(match slot {
                AggregateSlot::Function(function) => finals[*function].take().expect("each function fills one slot"),
                _ => growth.as_ref().and_then(|g| g[at].clone()).expect("a register slot has its column"),
            });
        }
        let rows = self.plan.project(start_us, keys, columns, rows)?;
        Ok(WindowResult { rows, last_readings: last_readings.unwrap_or_default() })
    }
}
