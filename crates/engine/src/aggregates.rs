//! The aggregates of a query and their evaluated inputs.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use datafusion_expr::GroupsAccumulator;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::GroupsAccumulatorAdapter;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

use crate::error::EngineError;

/// The evaluated expressions of some rows.
pub(crate) struct AggregateInputs {
    pub(crate) rows: usize,
    /// Group keys.
    pub(crate) keys: Vec<ArrayRef>,
    /// Arguments and FILTER of every function.
    pub(crate) functions: Vec<(Vec<ArrayRef>, Option<ArrayRef>)>,
    /// Registers, as 64-bit integers.
    pub(crate) registers: Vec<ArrayRef>,
}

impl AggregateInputs {
    /// The rows that `picked` names.
    pub(crate) fn take(&self, picked: &UInt32Array) -> Result<Self, EngineError> {
        let column = |array: &ArrayRef| -> Result<ArrayRef, EngineError> { Ok(take(array, picked, None)?) };
        let columns = |arrays: &[ArrayRef]| arrays.iter().map(column).collect::<Result<Vec<_>, _>>();
        let functions = self
            .functions
            .iter()
            .map(|(args, filter)| Ok((columns(args)?, filter.as_ref().map(column).transpose()?)))
            .collect::<Result<Vec<_>, EngineError>>()?;
        Ok(Self { rows: picked.len(), keys: columns(&self.keys)?, functions, registers: columns(&self.registers)? })
    }
}

/// One ordinary aggregate function.
#[derive(Debug)]
pub(crate) struct AggregateFunction {
    pub(crate) expr: Arc<AggregateFunctionExpr>,
    pub(crate) args: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) states: usize,
}

impl AggregateFunction {
    pub(crate) fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>, EngineError> {
        if self.expr.groups_accumulator_supported() {
            return Ok(self.expr.create_groups_accumulator()?);
        }
        let expr = Arc::clone(&self.expr);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || expr.create_accumulator())))
    }
}

/// Where an aggregate column of the result comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AggregateSlot {
    Function(usize),
    Increase { register: usize, cap: Option<i64> },
    Resets { register: usize },
    Jumps { register: usize, cap: i64 },
}
