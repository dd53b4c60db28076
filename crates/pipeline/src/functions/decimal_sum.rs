//! The sum of decimals of more than 28 digits: exact, and an error instead of a wrong number.
//!
//! DataFusion adds decimals in 128 bits and wraps around. Sums of up to 28 digits cannot get there: their result has ten digits
//! more than its terms.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, BooleanArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, DecimalType, Field,
    FieldRef, i256,
};
use datafusion_common::{DataFusionError, Result, not_impl_err, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::format_state_name;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// Digits of terms whose sum DataFusion computes.
pub(crate) const SAFE_DIGITS: u8 = 28;

/// `sum(decimal(p, s))`, a decimal(38, s); null for a group without a value.
pub(crate) fn decimal_sum() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(AggregateUDF::from(DecimalSum { signature }))
    });
    Arc::clone(&FUNCTION)
}

/// Whether a planned aggregate is this one.
pub(crate) fn is_decimal_sum(function: &AggregateUDF) -> bool {
    function.inner().is::<DecimalSum>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DecimalSum {
    signature: Signature,
}

fn wide(scale: i8) -> DataType {
    DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale)
}

fn scale_of(data_type: &DataType) -> Result<i8> {
    match data_type {
        DataType::Decimal128(_, scale) => Ok(*scale),
        other => plan_err!("the exact sum of decimals does not take {other}"),
    }
}

impl AggregateUDFImpl for DecimalSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale_of(&args[0])?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let data_type = wide(scale_of(args.input_fields[0].data_type())?);
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), data_type, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("the exact sum of decimals is computed for all groups at once")
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let scale = scale_of(args.expr_fields[0].data_type())?;
        // 2^64 terms of 38 digits have fewer than 58.
        let sums = PrimitiveGroupsAccumulator::new(&wide(scale), |sum: &mut i256, term| *sum = sum.wrapping_add(term));
        Ok(Box::new(DecimalSums { scale, sums }))
    }
}

struct DecimalSums<F: Fn(&mut i256, i256) + Send + Sync + 'static> {
    scale: i8,
    sums: PrimitiveGroupsAccumulator<Decimal256Type, F>,
}

impl<F: Fn(&mut i256, i256) + Send + Sync + 'static> GroupsAccumulator for DecimalSums<F> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let terms = cast(&values[0], &wide(self.scale))?;
        self.sums.update_batch(&[terms], group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.sums.evaluate(emit_to)?;
        let narrow = |sum: i256| {
            let fits = |sum: &i128| Decimal128Type::is_valid_decimal_precision(*sum, DECIMAL128_MAX_PRECISION);
            sum.to_i128().filter(fits).ok_or_else(|| {
                let sum = Decimal256Type::format_decimal(sum, DECIMAL256_MAX_PRECISION, self.scale);
                let message = format!("the sum {sum} does not fit 38 digits; cast the argument of sum to fewer digits");
                DataFusionError::Execution(message)
            })
        };
        let narrowed: Decimal128Array =
            sums.as_primitive::<Decimal256Type>().try_unary::<_, Decimal128Type, _>(narrow)?;
        Ok(Arc::new(narrowed.with_precision_and_scale(DECIMAL128_MAX_PRECISION, self.scale)?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.sums.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.sums.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.sums.convert_to_state(&[cast(&values[0], &wide(self.scale))?], opt_filter)
    }

    fn size(&self) -> usize {
        self.sums.size()
    }
}
