//! A window without the groups that cannot be computed: found by halving, since one evaluation covers all groups.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use turnstile_message::{FailedGroup, FailedWindow};

use crate::error::EngineError;
use crate::groups::{Layer, WindowGroups, WindowResult};
use crate::registers::Carry;
use crate::stream_plan::StreamPlan;

/// A window's result and the groups that it lacks.
pub(crate) struct PartialResult {
    pub(crate) result: WindowResult,
    pub(crate) groups: u64,
    /// The first of them, at most [`FailedWindow::SHOWN`].
    pub(crate) shown: Vec<FailedGroup>,
}

/// Computes the groups of `layer`, which holds all of a window, that can be computed.
pub(crate) fn without_failed_groups(
    plan: &Arc<StreamPlan>,
    layer: &Layer,
    start_us: i64,
    carry: &Carry,
) -> Result<PartialResult, EngineError> {
    let window = Window { plan, layer, start_us, carry };
    let mut failed = Vec::new();
    let groups = layer.groups.num_rows() as u32;
    window.find_failed(0, groups, &mut failed)?;
    let mut others = (0..groups).collect::<Vec<_>>();
    others.retain(|group| failed.binary_search_by_key(group, |(group, _)| *group).is_err());
    let result = window.result(&others)?;
    let count = failed.len() as u64;
    failed.truncate(FailedWindow::SHOWN);
    let shown = failed
        .into_iter()
        .map(|(group, error)| Ok(FailedGroup { key: key(plan, &layer.groups, group)?, reason: error.reason() }))
        .collect::<Result<_, EngineError>>()?;
    Ok(PartialResult { result, groups: count, shown })
}

struct Window<'a> {
    plan: &'a Arc<StreamPlan>,
    layer: &'a Layer,
    start_us: i64,
    carry: &'a Carry,
}

impl Window<'_> {
    /// The failing ones of the groups `from..to`, ascending.
    fn find_failed(&self, from: u32, to: u32, failed: &mut Vec<(u32, EngineError)>) -> Result<(), EngineError> {
        if from == to {
            return Ok(());
        }
        match self.result(&(from..to).collect::<Vec<_>>()) {
            Ok(_) => {}
            Err(error) if to - from == 1 => failed.push((from, error)),
            Err(_) => {
                let middle = from + (to - from) / 2;
                self.find_failed(from, middle, failed)?;
                self.find_failed(middle, to, failed)?;
            }
        }
        Ok(())
    }

    fn result(&self, groups: &[u32]) -> Result<WindowResult, EngineError> {
        let mut some = WindowGroups::new(self.plan)?;
        some.merge(&self.layer.of_groups(groups)?)?;
        some.finish(self.start_us, self.carry)
    }
}

impl Layer {
    /// The groups with these numbers, ascending.
    fn of_groups(&self, groups: &[u32]) -> Result<Self, EngineError> {
        let picked = take_record_batch(&self.groups, &UInt32Array::from(groups.to_vec()))?;
        let number = |group: u32| groups.binary_search(&group).ok().map(|at| at as u32);
        Ok(Self { groups: picked, readings: self.readings.of_groups(number) })
    }
}

/// The key of a group: `STATION = A, DATE = 2026-01-05`.
fn key(plan: &StreamPlan, groups: &RecordBatch, group: u32) -> Result<String, EngineError> {
    let options = FormatOptions::default().with_null("null");
    let columns = groups.columns().iter().zip(plan.key_schema.fields());
    let text = |(column, field): (&Arc<dyn Array>, &Arc<arrow::datatypes::Field>)| {
        let value = ArrayFormatter::try_new(column, &options)?.value(group as usize).to_string();
        Ok(match field.name().strip_prefix("__") {
            // An expression has no name.
            Some(_) => value,
            None => format!("{} = {value}", field.name()),
        })
    };
    Ok(columns.map(text).collect::<Result<Vec<_>, EngineError>>()?.join(", "))
}
