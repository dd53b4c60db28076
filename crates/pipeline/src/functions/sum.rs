//! The sum of integers: exact, the same in any order, and an error instead of a wrong number.
//!
//! Spark's sum of 64-bit integers fails when it overflows on the way. Here the order of rows is not
//! fixed (partitions interleave), so the sum is kept in 128 bits and only a result that does not fit
//! 64 bits is an error.

use std::mem::size_of_val;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array};
use arrow::compute;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::format_state_name;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// `sum(int64)`, null for a group without a value.
pub(crate) fn exact_sum() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let signature = Signature::exact(vec![DataType::Int64], Volatility::Immutable);
        Arc::new(AggregateUDF::from(ExactSum { signature }))
    });
    Arc::clone(&FUNCTION)
}

const STATE: DataType = DataType::Decimal128(38, 0);

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactSum {
    signature: Signature,
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), STATE, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Single { sum: None }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        // 2^64 rows of the largest values fit 128 bits, so the addition itself cannot overflow.
        Ok(Box::new(Grouped(PrimitiveGroupsAccumulator::new(&STATE, |sum, value| *sum += value))))
    }
}

fn widen(values: &Int64Array) -> Result<Decimal128Array> {
    Ok(values.unary::<_, Decimal128Type>(i128::from).with_data_type(STATE))
}

fn narrow(sum: i128) -> Result<i64> {
    i64::try_from(sum).map_err(|_| {
        DataFusionError::Execution(format!("the sum {sum} does not fit 64 bits; cast the argument of sum to double"))
    })
}

struct Grouped<F: Fn(&mut i128, i128) + Send + Sync + 'static>(PrimitiveGroupsAccumulator<Decimal128Type, F>);

impl<F: Fn(&mut i128, i128) + Send + Sync + 'static> GroupsAccumulator for Grouped<F> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let wide: ArrayRef = Arc::new(widen(values[0].as_primitive::<Int64Type>())?);
        self.0.update_batch(&[wide], group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let wide = self.0.evaluate(emit_to)?;
        let narrowed: Int64Array = wide.as_primitive::<Decimal128Type>().try_unary::<_, Int64Type, _>(narrow)?;
        Ok(Arc::new(narrowed))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.0.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let wide: ArrayRef = Arc::new(widen(values[0].as_primitive::<Int64Type>())?);
        self.0.convert_to_state(&[wide], opt_filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

#[derive(Debug)]
struct Single {
    sum: Option<i128>,
}

impl Single {
    fn add(&mut self, values: &Decimal128Array) {
        for value in values.iter().flatten() {
            self.sum = Some(self.sum.unwrap_or(0) + value);
        }
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let wide = widen(values[0].as_primitive::<Int64Type>())?;
        self.add(&wide);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(self.sum.map(narrow).transpose()?))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Decimal128(self.sum, 38, 0)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        // A state read back from a snapshot may carry another precision of the same decimal.
        let states = compute::cast(&states[0], &STATE)?;
        self.add(states.as_primitive::<Decimal128Type>());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    fn grouped() -> Box<dyn GroupsAccumulator> {
        Box::new(Grouped(PrimitiveGroupsAccumulator::new(&STATE, |sum, value| *sum += value)))
    }

    #[test]
    fn a_sum_that_overflows_on_the_way_and_comes_back_is_exact() {
        let mut sum = grouped();
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(i64::MAX), Some(-i64::MAX), None]));
        sum.update_batch(&[values], &[0, 0, 0, 1], None, 2).unwrap();
        let mut merged = grouped();
        let state = sum.state(EmitTo::All).unwrap();
        merged.merge_batch(&state, &[0, 1], 2).unwrap();
        let out = merged.evaluate(EmitTo::All).unwrap();
        let out = out.as_primitive::<Int64Type>();
        assert_eq!((out.value(0), out.is_null(1)), (i64::MAX, true));
    }

    #[test]
    fn a_sum_that_does_not_fit_is_an_error_and_not_a_wrong_number() {
        let mut sum = grouped();
        let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
        sum.update_batch(&[Arc::clone(&values)], &[0, 0], None, 1).unwrap();
        let error = sum.evaluate(EmitTo::All).unwrap_err().to_string();
        assert!(error.contains("9223372036854775808 does not fit 64 bits"), "{error}");
        let mut single = Single { sum: None };
        single.update_batch(&[values]).unwrap();
        assert!(single.evaluate().is_err());
    }
}
