//! Parts of a parsed query, for what changes its text.

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Select, SetExpr, Statement};
use sqlparser::dialect::SparkSqlDialect;
use sqlparser::parser::Parser;

/// The one SELECT that `sql` is; `None` if it is something else.
pub(super) fn one_select(sql: &str) -> Option<Select> {
    let mut statements = Parser::parse_sql(&SparkSqlDialect {}, sql).ok()?;
    let (Some(Statement::Query(query)), true) = (statements.pop(), statements.is_empty()) else { return None };
    match *query.body {
        SetExpr::Select(select) => Some(*select),
        _ => None,
    }
}

/// The arguments of a call; `None` if one is named or a `*`.
pub(super) fn plain_arguments(call: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &call.args else { return None };
    let unnamed = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    unnamed.collect()
}
