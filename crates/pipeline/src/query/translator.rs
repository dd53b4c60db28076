//! What the translation of an expression needs to know, and how it says what is wrong: below all that translates.

use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;
use datafusion_common::{Column, DFSchemaRef, DataFusionError, ScalarValue};
use datafusion_expr::{Expr, ExprSchemable, lit};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::Span;

use super::spark_type;
use super::text::SqlText;
use crate::file::Fault;

/// A translated expression and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) expr: Expr,
    pub(crate) span: Span,
}

/// Which clause is being translated: it decides what may be referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clause {
    Where,
    GroupBy,
    Select,
    Having,
    /// The argument of an aggregate function.
    Argument,
}

impl Clause {
    pub(super) fn name(self) -> &'static str {
        match self {
            Clause::Where => "WHERE",
            Clause::GroupBy => "GROUP BY",
            Clause::Select => "SELECT",
            Clause::Having => "HAVING",
            Clause::Argument => "the argument of an aggregate",
        }
    }

    /// Whether groups, and with them the window and aggregates, exist here.
    pub(crate) fn sees_groups(self) -> bool {
        matches!(self, Clause::Select | Clause::Having)
    }
}

/// Translates the expressions of one query.
pub(crate) struct Translator<'a> {
    pub(crate) text: &'a SqlText,
    /// All fields, then the window's bounds.
    pub(crate) schema: &'a DFSchemaRef,
    pub(crate) simplifier: &'a ExprSimplifier,
    /// The name that columns may be qualified with.
    pub(crate) qualifier: &'a str,
    /// Zone of the event time, which is the zone of text that becomes a timestamp.
    pub(crate) zone: &'a str,
    /// The field that holds the event time.
    pub(crate) event_time: &'a str,
    pub(crate) clause: Clause,
    /// The place of the expression around the one that is being translated.
    pub(crate) place: Span,
    /// In HAVING: the names of the SELECT list.
    pub(crate) aliases: Vec<(String, Expr)>,
    /// In HAVING: the columns that are grouped by.
    pub(crate) grouped: Vec<String>,
    /// Columns used outside aggregates, with their places.
    pub(crate) uses: Vec<(String, Span)>,
}

impl Translator<'_> {
    /// Where `expr` stands; the parser does not keep the place of everything, so what is near has to do.
    pub(super) fn span_of(&self, expr: &ast::Expr) -> Span {
        let span = match expr {
            ast::Expr::RLike { expr, .. } => expr.span(),
            ast::Expr::Interval(interval) => interval.value.span(),
            other => other.span(),
        };
        if span.start.line == 0 { self.place } else { span }
    }

    /// The expression with DataFusion's implicit casts, or what DataFusion has against it.
    pub(crate) fn coerced(&self, expr: Expr, span: Span) -> Result<Operand, Fault> {
        let coerced = self.simplifier.coerce(expr, self.schema).map_err(|error| self.rejected(span, error))?;
        coerced.get_type(self.schema.as_ref()).map_err(|error| self.rejected(span, error))?;
        Ok(Operand { expr: coerced, span })
    }

    /// A fault at `span`.
    pub(crate) fn fault(&self, span: Span, message: impl Into<String>) -> Fault {
        self.text.fault(span, message)
    }

    /// DataFusion's own words, at `span`.
    pub(crate) fn rejected(&self, span: Span, error: DataFusionError) -> Fault {
        let written = self.text.between(span);
        let what = if written.is_empty() { "the query".to_owned() } else { format!("\"{written}\"") };
        self.fault(span, what).caused_by(Rejected(error))
    }

    /// The type of a translated expression.
    pub(crate) fn type_of(&self, operand: &Operand) -> Result<DataType, Fault> {
        operand.expr.get_type(self.schema.as_ref()).map_err(|error| self.rejected(operand.span, error))
    }

    /// The expression of `operand`, which must be true, false or null.
    pub(crate) fn condition(&self, operand: Operand) -> Result<Expr, Fault> {
        match self.type_of(&operand)? {
            DataType::Boolean | DataType::Null => Ok(operand.expr),
            other => {
                let message = format!("this must be true or false; it is {}", show(&other));
                Err(self.fault(operand.span, message))
            }
        }
    }

    /// The zone of the event time.
    pub(crate) fn zone(&self) -> Tz {
        self.zone.parse().unwrap_or(Tz::UTC)
    }

    /// The expression with constants computed, as those of rows are; an error stays an expression.
    pub(crate) fn folded(&self, expr: Expr, span: Span) -> Result<Expr, Fault> {
        self.simplifier.simplify(expr).map_err(|error| self.rejected(span, error))
    }

    /// The type of instants: microseconds in the zone of the event time.
    pub(crate) fn timestamp_type(&self) -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some(self.zone.into()))
    }
}

/// DataFusion's error in its own words, without the lines that help only its developers.
#[derive(Debug, thiserror::Error)]
#[error("{}", words(.0))]
struct Rejected(DataFusionError);

fn words(error: &DataFusionError) -> String {
    let message = error.strip_backtrace();
    message.trim_start_matches("Error during planning: ").lines().next().unwrap_or_default().to_owned()
}

/// A column by its exact name.
pub(crate) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// A constant.
pub(crate) fn lit_scalar(scalar: ScalarValue) -> Expr {
    lit(scalar)
}

/// A type by Spark's name, with its article.
pub(crate) fn show(data_type: &DataType) -> String {
    match spark_type(data_type) {
        Some(name) if name.starts_with('i') => format!("an {name}"),
        Some(name) => format!("a {name}"),
        None => format!("a {data_type}"),
    }
}
