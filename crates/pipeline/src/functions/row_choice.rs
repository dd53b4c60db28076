//! The value of the row that is first or last in an order: `first`, `last`, `min_by`, `max_by`.
//!
//! The order is part of the arguments, so the result does not depend on which row arrives first: rows of several partitions
//! interleave differently in every run. The first argument is the value, the others are what rows are ordered by.

use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_empty_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion_common::{HashMap, Result, ScalarValue, not_impl_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::format_state_name;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};

/// Which row of a group is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Choice {
    First,
    Last,
}

/// The aggregate `name(value, order …)`: null for a group without a row that has a place in the order. A row in whose order
/// a null stands has none. `written` of the arguments stand in the query's text.
pub(crate) fn row_choice(name: &'static str, choice: Choice, written: usize) -> Arc<AggregateUDF> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    Arc::new(AggregateUDF::from(RowChoice { name, choice, written, signature }))
}

/// How many arguments of a call stand in the query's text; `None` for all.
pub(crate) fn written_arguments(function: &AggregateUDF) -> Option<usize> {
    function.inner().downcast_ref::<RowChoice>().map(|choice| choice.written)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowChoice {
    name: &'static str,
    choice: Choice,
    written: usize,
    signature: Signature,
}

impl AggregateUDFImpl for RowChoice {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(args[0].clone())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let column = |(at, field): (usize, &FieldRef)| {
            let name = format_state_name(args.name, &format!("argument{at}"));
            Arc::new(Field::new(name, field.data_type().clone(), true))
        };
        Ok(args.input_fields.iter().enumerate().map(column).collect())
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} is computed for all groups at once", self.name)
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let types = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Box::new(ChosenRows::new(self.choice, types)?))
    }
}

/// The chosen row of each group.
struct ChosenRows {
    choice: Choice,
    /// Of the value, then of what rows are ordered by.
    types: Vec<DataType>,
    converter: RowConverter,
    chosen: Vec<Option<ChosenRow>>,
    /// Of orders and values.
    bytes: usize,
}

struct ChosenRow {
    /// In Arrow's row format, which compares as bytes. It never leaves this process.
    order: Box<[u8]>,
    value: ScalarValue,
}

impl ChosenRow {
    fn bytes(&self) -> usize {
        self.order.len() + self.value.size()
    }
}

impl ChosenRows {
    fn new(choice: Choice, types: Vec<DataType>) -> Result<Self> {
        let order = types[1..].iter().map(|data_type| SortField::new(data_type.clone())).collect();
        Ok(Self { choice, types, converter: RowConverter::new(order)?, chosen: Vec::new(), bytes: 0 })
    }

    /// Takes the rows of `columns`, a value and its order each, that are before or after those chosen so far.
    fn choose(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.chosen.resize_with(total, || None);
        let (value, order) = (&columns[0], &columns[1..]);
        let orders = self.converter.convert_columns(order)?;
        // The best row of each group in this batch: a value is copied once a group and not once a row.
        let mut best: HashMap<usize, usize> = HashMap::new();
        let precedes = |a: &[u8], b: &[u8]| match self.choice {
            Choice::First => a < b,
            Choice::Last => a > b,
        };
        for (row, group) in groups.iter().enumerate() {
            if filter.is_some_and(|filter| !(filter.is_valid(row) && filter.value(row)))
                || order.iter().any(|column| column.is_null(row))
            {
                continue;
            }
            let this = orders.row(row);
            let before = match best.get(group) {
                Some(other) => precedes(this.data(), orders.row(*other).data()),
                None => self.chosen[*group].as_ref().is_none_or(|chosen| precedes(this.data(), &chosen.order)),
            };
            if before {
                best.insert(*group, row);
            }
        }
        for (group, row) in best {
            let value = ScalarValue::try_from_array(value, row)?;
            let new = ChosenRow { order: orders.row(row).data().into(), value: value.compacted() };
            self.bytes += new.bytes();
            self.bytes -= self.chosen[group].replace(new).map_or(0, |old| old.bytes());
        }
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Option<ChosenRow>> {
        let taken = emit_to.take_needed(&mut self.chosen);
        self.bytes -= taken.iter().flatten().map(ChosenRow::bytes).sum::<usize>();
        taken
    }

    fn values(&self, chosen: &[Option<ChosenRow>]) -> Result<ArrayRef> {
        if chosen.is_empty() {
            return Ok(new_empty_array(&self.types[0]));
        }
        let null = ScalarValue::try_from(&self.types[0])?;
        ScalarValue::iter_to_array(
            chosen.iter().map(|row| row.as_ref().map_or_else(|| null.clone(), |row| row.value.clone())),
        )
    }
}

impl GroupsAccumulator for ChosenRows {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.choose(values, group_indices, opt_filter, total_num_groups)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        // A group without a row has nulls for its order.
        self.choose(values, group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let chosen = self.take(emit_to);
        self.values(&chosen)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let chosen = self.take(emit_to);
        let parser = self.converter.parser();
        let orders = self.converter.convert_rows(chosen.iter().flatten().map(|row| parser.parse(&row.order)))?;
        let mut next = 0_u32;
        let places: UInt32Array = chosen
            .iter()
            .map(|row| {
                row.as_ref().map(|_| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        let mut columns = vec![self.values(&chosen)?];
        for order in &orders {
            columns.push(take(order, &places, None)?);
        }
        Ok(columns)
    }

    fn convert_to_state(&self, _: &[ArrayRef], _: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        not_impl_err!("the engine aggregates every row")
    }

    fn size(&self) -> usize {
        self.chosen.capacity() * size_of::<Option<ChosenRow>>() + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn rows(choice: Choice) -> ChosenRows {
        ChosenRows::new(choice, vec![DataType::Int64, DataType::Int64, DataType::Utf8View]).unwrap()
    }

    fn columns(rows: &[(Option<i64>, Option<i64>, &str)]) -> Vec<ArrayRef> {
        vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.2)).collect::<StringViewArray>()),
        ]
    }

    fn numbers(array: &ArrayRef) -> Vec<Option<i64>> {
        array.as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn the_order_decides_and_not_which_row_comes_first() {
        let all = [(Some(1), Some(10), "b"), (Some(2), Some(10), "a"), (None, Some(30), "a"), (Some(4), None, "a")];
        for (choice, expected) in [(Choice::First, Some(2)), (Choice::Last, None)] {
            for turn in 0..all.len() {
                let mut turned = all;
                turned.rotate_left(turn);
                let mut merged = rows(choice);
                for half in turned.chunks(2) {
                    let mut part = rows(choice);
                    part.update_batch(&columns(half), &vec![1; half.len()], None, 2).unwrap();
                    merged.merge_batch(&part.state(EmitTo::All).unwrap(), &[0, 1], 2).unwrap();
                    assert_eq!(part.bytes, 0);
                }
                assert_eq!(
                    numbers(&merged.evaluate(EmitTo::All).unwrap()),
                    [None, expected],
                    "{choice:?}, turn {turn}"
                );
            }
        }
    }

    #[test]
    fn a_row_that_the_filter_leaves_out_is_not_chosen() {
        let filter = BooleanArray::from(vec![Some(false), None, Some(true)]);
        let mut chosen = rows(Choice::First);
        let three = columns(&[(Some(1), Some(1), ""), (Some(2), Some(2), ""), (Some(3), Some(3), "")]);
        chosen.update_batch(&three, &[0, 0, 0], Some(&filter), 1).unwrap();
        assert_eq!(numbers(&chosen.evaluate(EmitTo::First(1)).unwrap()), [Some(3)]);
    }
}
