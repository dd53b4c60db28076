//! `increase`, `resets` and `jumps`: aggregates of a cumulative register, known here by name only.
//!
//! They need the previous reading of the same group, which may lie before the window, so the engine
//! computes them itself; for the planner they are aggregates that return a 64-bit integer.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Result, not_impl_err};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RegisterFunction {
    Increase,
    Resets,
    Jumps,
}

/// The planner's stand-in for a register function.
pub(crate) fn register(function: RegisterFunction) -> Arc<AggregateUDF> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    Arc::new(AggregateUDF::from(Register { function, signature }))
}

impl RegisterFunction {
    /// Which function a planned aggregate is, if it is one of these.
    pub(crate) fn of(function: &AggregateUDF) -> Option<Self> {
        function.inner().downcast_ref::<Register>().map(|register| register.function)
    }

    /// Its name in SQL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            RegisterFunction::Increase => "increase",
            RegisterFunction::Resets => "resets",
            RegisterFunction::Jumps => "jumps",
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Register {
    function: RegisterFunction,
    signature: Signature,
}

impl AggregateUDFImpl for Register {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} is computed by the engine", self.function.name())
    }
}
