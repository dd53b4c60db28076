//! Calls: which function a name stands for, and the names that are refused with a reason.

use datafusion_expr::Expr;
use sqlparser::ast::{
    DuplicateTreatment, Function, FunctionArg, FunctionArgExpr, FunctionArguments, NullTreatment, ObjectNamePart,
    Spanned,
};
use sqlparser::tokenizer::Span;

use super::aggregate::{self, AggregateCall};
use super::arguments::{Argument, Call, check_arity};
use super::scalar::SCALARS;
use super::translator::{Clause, Operand, Translator};
use super::window;
use crate::file::Fault;
use turnstile_values::suggest;

/// Translates a call of any kind.
pub(crate) fn function(translator: &mut Translator<'_>, function: &Function) -> Result<Expr, Fault> {
    let place = function.name.span();
    let name = match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => name.value.to_ascii_lowercase(),
        _ => return Err(unknown(translator, &function.name.to_string(), place)),
    };
    if function.over.is_some() {
        let fault =
            translator.fault(place, format!("{name}(…) OVER is not supported: a window function needs all rows"));
        return Err(fault.hint("group by window(…) and aggregate"));
    }
    if window::call(&sqlparser::ast::Expr::Function(function.clone())).is_some() {
        let fault = translator.fault(place, format!("window(…) cannot be used in {}", clause_name(translator.clause)));
        return Err(fault.hint("group by it; elsewhere write window.start and window.end"));
    }
    if let Some(reason) = refused(&name) {
        return Err(translator.fault(place, format!("{name} is not supported: {reason}")));
    }
    if !function.within_group.is_empty() {
        return Err(translator.fault(place, format!("{name}: WITHIN GROUP is not supported")));
    }
    let ignore_nulls = function.null_treatment == Some(NullTreatment::IgnoreNulls);
    if function.null_treatment.is_some() && !aggregate::takes_null_treatment(&name) {
        let fault = translator.fault(place, format!("{name} takes neither IGNORE NULLS nor RESPECT NULLS"));
        return Err(fault.hint("first, last and any_value do"));
    }
    let (args, distinct) = arguments(translator, function, &name, place)?;
    if let Some(found) = aggregate::find(&name) {
        let call = AggregateCall { name, span: place, distinct, filter: function.filter.as_deref(), ignore_nulls };
        return aggregate::translate(translator, found, call, &args);
    }
    if distinct || function.filter.is_some() {
        return Err(
            translator.fault(place, format!("{name} is not an aggregate: it takes neither DISTINCT nor FILTER"))
        );
    }
    let mut operands = Vec::with_capacity(args.len());
    for arg in args {
        match arg {
            Argument::Expr(expr) => operands.push(translator.translate(expr)?),
            Argument::Star => return Err(translator.fault(place, format!("{name}(*) is not supported"))),
        }
    }
    scalar(translator, &name, place, operands)
}

fn arguments<'a>(
    translator: &Translator<'_>,
    function: &'a Function,
    name: &str,
    place: Span,
) -> Result<(Vec<Argument<'a>>, bool), Fault> {
    let list = match &function.args {
        FunctionArguments::None => return Ok((Vec::new(), false)),
        FunctionArguments::List(list) if list.clauses.is_empty() => list,
        _ => return Err(translator.fault(place, format!("{name}: this form of arguments is not supported"))),
    };
    let args = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(Argument::Expr(expr)),
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Ok(Argument::Star),
        other => Err(translator.fault(place, format!("{name}: the argument \"{other}\" is not supported"))),
    });
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    Ok((args.collect::<Result<_, _>>()?, distinct))
}

/// Builds a call of a scalar function.
pub(crate) fn scalar(translator: &Translator<'_>, name: &str, span: Span, args: Vec<Operand>) -> Result<Expr, Fault> {
    let name = name.to_ascii_lowercase();
    let Some(found) = SCALARS.iter().find(|scalar| scalar.names.contains(&name.as_str())) else {
        return Err(unknown(translator, &name, span));
    };
    check_arity(translator, &name, span, args.len(), found.arity)?;
    (found.build)(translator, Call { name, span, args })
}

fn unknown(translator: &Translator<'_>, name: &str, span: Span) -> Fault {
    let hint = match turnstile_values::nearest(name, names()) {
        Some(_) => suggest(name, names().collect::<Vec<_>>()),
        None => "docs/sql.md lists the functions".to_owned(),
    };
    translator.fault(span, format!("unknown function \"{name}\"")).hint(hint)
}

/// Every name that a query can call.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let scalars = SCALARS.iter().flat_map(|scalar| scalar.names.iter().copied());
    let shown = scalars.filter(|name| !name.ends_with("_of"));
    shown.chain(aggregate::names()).chain(["window"])
}

fn clause_name(clause: Clause) -> &'static str {
    match clause {
        Clause::Where => "WHERE",
        Clause::GroupBy => "an expression of GROUP BY",
        Clause::Select => "SELECT",
        Clause::Having => "HAVING",
        Clause::Argument => "an argument",
    }
}

/// Why a function of Spark is refused on purpose.
fn refused(name: &str) -> Option<&'static str> {
    Some(match name {
        "nth_value" => "it is a window function; first, last, min_by and max_by are supported",
        "collect_list" | "collect_set" | "array_agg" | "listagg" | "string_agg" => {
            "a file's column holds one value, and the order of rows is not fixed"
        }
        "now" | "current_timestamp" | "current_date" | "curdate" | "localtimestamp" | "current_timezone" => {
            "it reads the clock, so a replay would give another result"
        }
        "rand" | "random" | "randn" | "uuid" | "monotonically_increasing_id" | "shuffle" => {
            "it is random, so a replay would give another result"
        }
        "session_window" => "only windows of a fixed size are supported; write window(…)",
        "input_file_name" | "spark_partition_id" => "it describes the machine, not the data",
        _ => return None,
    })
}
