//! The arguments of a call: as they stand in the text, translated, and how many there may be.

use sqlparser::ast;
use sqlparser::tokenizer::Span;

use super::translator::{Operand, Translator};
use crate::file::Fault;

/// An argument as it stands in the text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument<'a> {
    Expr(&'a ast::Expr),
    Star,
}

/// A call of a scalar function with its translated arguments.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) args: Vec<Operand>,
}

/// Refuses a call with too few or too many arguments.
pub(crate) fn check_arity(
    translator: &Translator<'_>,
    name: &str,
    span: Span,
    given: usize,
    (least, most): (usize, usize),
) -> Result<(), Fault> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    let wanted = match (least, most) {
        (1, 1) => "1 argument".to_owned(),
        (least, most) if least == most => format!("{least} arguments"),
        (least, usize::MAX) => format!("{least} or more arguments"),
        (least, most) => format!("{least} to {most} arguments"),
    };
    Err(translator.fault(span, format!("{name} takes {wanted}, not {given}")))
}
