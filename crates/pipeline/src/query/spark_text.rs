//! The query as Apache Spark computes it: the same SELECT, with those places rewritten where Spark's default meaning is
//! another one, and with columns that a publisher needs. docs/sql.md, "Differences from Spark", lists the places.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, NullTreatment, ObjectName, SelectItem, Value, ValueWithSpan,
    VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::parsed::{one_select, plain_arguments};
use super::{MESSAGE_ORDER, Query, WINDOW_END, WINDOW_START};

/// Column of a Spark query: whether HAVING is true for the group; null counts as no.
pub const SPARK_HAVING: &str = "__having";
/// Column of a Spark query: how many messages the group was computed from, a bigint.
pub const SPARK_MESSAGES: &str = "__messages";
/// Column of a Spark query: where those messages stand, an array of `struct<topic, partition, block>`: block `n` is the
/// [`SPARK_BLOCK`] offsets from `n * SPARK_BLOCK` on.
pub const SPARK_BLOCKS: &str = "__blocks";
/// Offsets in a block.
pub const SPARK_BLOCK: i64 = 4_096;

/// A query for Spark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkQuery {
    /// One SELECT over the stream's table, which has the columns of the schema and those of [`MESSAGE_ORDER`]. Its columns:
    /// those of the result, then [`WINDOW_START`], [`WINDOW_END`], [`SPARK_HAVING`], [`SPARK_MESSAGES`], [`SPARK_BLOCKS`].
    pub sql: String,
    /// Its WHERE.
    pub filter: Option<String>,
    /// What may be another number than the embedded engine's, a sentence each.
    pub approximate: Vec<&'static str>,
}

impl Query {
    /// The query for Spark.
    ///
    /// # Errors
    /// What Spark cannot compute, a sentence each.
    pub fn for_spark(&self) -> Result<SparkQuery, Vec<String>> {
        let mut select = one_select(&self.sql).ok_or_else(|| vec!["the query is not one SELECT".to_owned()])?;
        let event_time = self.input.field(self.event_time).name();
        let mut rewriter = Rewriter { event_time, refused: Vec::new(), approximate: Vec::new() };
        let _ = select.visit(&mut rewriter);
        let Rewriter { mut refused, mut approximate, .. } = rewriter;
        refused.dedup();
        if !refused.is_empty() {
            return Err(refused);
        }
        approximate.dedup();
        for (item, (name, _)) in select.projection.iter_mut().zip(&self.output) {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                *item = aliased(expr.clone(), name);
            }
        }
        let having = select.having.take().unwrap_or_else(|| value(Value::Boolean(true)));
        let bound = |name: &str| Expr::CompoundIdentifier(vec![Ident::new("window"), Ident::new(name)]);
        let [topic, partition, offset] = MESSAGE_ORDER.map(column);
        let block = Expr::BinaryOp {
            left: Box::new(offset),
            op: BinaryOperator::MyIntegerDivide,
            right: Box::new(value(Value::Number(SPARK_BLOCK.to_string(), false))),
        };
        let blocks = call("collect_set", vec![call("struct", vec![topic, partition, block])]);
        select.projection.extend([
            aliased(bound("start"), WINDOW_START),
            aliased(bound("end"), WINDOW_END),
            aliased(Expr::Nested(Box::new(having)), SPARK_HAVING),
            aliased(call("count", vec![value(Value::Number("1".to_owned(), false))]), SPARK_MESSAGES),
            aliased(blocks, SPARK_BLOCKS),
        ]);
        let filter = select.selection.as_ref().map(ToString::to_string);
        Ok(SparkQuery { sql: select.to_string(), filter, approximate })
    }
}

struct Rewriter<'a> {
    event_time: &'a str,
    refused: Vec<String>,
    approximate: Vec<&'static str>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    /// Inner expressions come first, so that none is rewritten twice.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            // A constant with a point is a decimal there and a double here.
            Expr::Value(ValueWithSpan { value: Value::Number(digits, false), .. })
                if digits.contains('.') && !digits.contains(['e', 'E']) =>
            {
                digits.push('D');
            }
            // Division by zero is an error there and null here.
            Expr::BinaryOp { op: BinaryOperator::Divide | BinaryOperator::Modulo, right, .. } => {
                **right = not_zero(std::mem::replace(&mut **right, nothing()));
            }
            Expr::Function(function) => {
                let name = function.name.to_string().to_lowercase();
                if let Some(rewritten) = self.function(&name, function) {
                    *expr = rewritten;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    /// What stands in the place of a call; `None`: the call, changed or not.
    fn function(&mut self, name: &str, function: &mut Function) -> Option<Expr> {
        match name {
            "mod" => {
                let divisor = arguments(function).pop()?;
                *last_argument(function)? = not_zero(divisor);
                None
            }
            // A double here, the argument's type there.
            "round" => {
                let FunctionArguments::List(list) = &mut function.args else { return None };
                if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(rounded))) = list.args.first_mut() {
                    *rounded = double(rounded.clone());
                }
                None
            }
            "sign" | "signum" => Some(double(Expr::Function(function.clone()))),
            "avg" | "mean" => {
                let argument = arguments(function).pop()?;
                *last_argument(function)? = double(argument);
                None
            }
            "count" if is_distinct(function) => Some(distinct_count(function)),
            // By event time and offset here, by the order in which tasks read there.
            "first" | "first_value" | "any_value" => Some(self.by_time("min_by", function)),
            "last" | "last_value" => Some(self.by_time("max_by", function)),
            "min_by" | "max_by" => {
                let [chosen, by] = <[Expr; 2]>::try_from(arguments(function)).ok()?;
                let order = self.order(Some(by.clone()));
                Some(filtered(function, call(name, vec![chosen, order]), vec![is_not_null(by)]))
            }
            "increase" | "resets" | "jumps" => {
                let message = format!(
                    "{name}(…) needs each key's reading before the window, which a Spark query in append mode cannot keep"
                );
                self.refused.push(message);
                None
            }
            "approx_count_distinct" | "approx_distinct" => {
                self.approximate.push("approx_count_distinct is estimated by another sketch");
                (name == "approx_distinct").then(|| {
                    function.name = object("approx_count_distinct");
                    Expr::Function(function.clone())
                })
            }
            "percentile_approx" | "approx_percentile" => {
                self.approximate
                    .push("percentile_approx is estimated by another sketch, and is of the argument's type");
                None
            }
            "median" | "percentile" => {
                self.approximate.push("percentiles are interpolated with all digits instead of six");
                None
            }
            "regexp_like" | "regexp" | "rlike" => {
                self.approximate.push("regular expressions are Java's");
                None
            }
            _ => None,
        }
    }

    /// `first` and `last` as a choice by the messages' order.
    fn by_time(&self, choice: &str, function: &Function) -> Expr {
        let mut args = arguments(function);
        let flag = if args.len() > 1 { args.pop() } else { None };
        let chosen = args.pop().unwrap_or_else(nothing);
        let says = |treatment: &NullTreatment| matches!(treatment, NullTreatment::IgnoreNulls);
        let clause = match &function.args {
            FunctionArguments::List(list) => list.clauses.iter().any(
                |clause| matches!(clause, FunctionArgumentClause::IgnoreOrRespectNulls(treatment) if says(treatment)),
            ),
            _ => false,
        };
        let flagged = matches!(flag, Some(Expr::Value(ValueWithSpan { value: Value::Boolean(true), .. })));
        let ignores = clause || flagged || function.null_treatment.as_ref().is_some_and(says);
        let only = if ignores { vec![is_not_null(chosen.clone())] } else { Vec::new() };
        filtered(function, call(choice, vec![chosen, self.order(None)]), only)
    }

    /// The order of messages, after `by` if there is one.
    fn order(&self, by: Option<Expr>) -> Expr {
        let order = MESSAGE_ORDER.map(column);
        call("struct", by.into_iter().chain([column(self.event_time)]).chain(order).collect())
    }
}

/// `count(DISTINCT …)`, which Spark's streams do not have.
fn distinct_count(function: &Function) -> Expr {
    let args = arguments(function);
    let only = args.iter().cloned().map(is_not_null).collect();
    let counted = if args.len() == 1 { args } else { vec![call("struct", args)] };
    let set = filtered(function, call("collect_set", counted), only);
    call("bigint", vec![call("size", vec![set])])
}

/// `aggregate` with the FILTER of `function`, and more conditions.
fn filtered(function: &Function, aggregate: Expr, more: Vec<Expr>) -> Expr {
    let Expr::Function(mut aggregate) = aggregate else { return aggregate };
    let given = function.filter.iter().map(|filter| Expr::Nested(filter.clone()));
    let all = given.chain(more).reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    });
    aggregate.filter = all.map(Box::new);
    Expr::Function(aggregate)
}

fn is_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

/// The plain arguments of a call; `*` is none.
fn arguments(function: &Function) -> Vec<Expr> {
    plain_arguments(function).unwrap_or_default().into_iter().cloned().collect()
}

fn last_argument(function: &mut Function) -> Option<&mut Expr> {
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match list.args.last_mut()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: object(name),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn object(name: &str) -> ObjectName {
    ObjectName::from(vec![Ident::new(name)])
}

fn column(name: &str) -> Expr {
    Expr::Identifier(Ident::with_quote('`', name))
}

fn aliased(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('`', name) }
}

fn double(expr: Expr) -> Expr {
    call("double", vec![expr])
}

fn not_zero(divisor: Expr) -> Expr {
    call("nullif", vec![divisor, value(Value::Number("0".to_owned(), false))])
}

fn is_not_null(expr: Expr) -> Expr {
    Expr::IsNotNull(Box::new(Expr::Nested(Box::new(expr))))
}

fn value(value: Value) -> Expr {
    Expr::Value(ValueWithSpan { value, span: Span::empty() })
}

fn nothing() -> Expr {
    value(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pipeline;

    const FILE: &str = r#"
name = "x"
[source]
topic = "x"
format = "csv"
[source.schema]
STATION = "string"
ENTRIES = "int"
TIMESTAMP = { type = "timestamp", zone = "UTC" }
[stream]
event_time = "TIMESTAMP"
watermark = "0 seconds"
[query]
sql = '''SELECT ITEM AS X FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), STATION'''
[lake]
url = "file:./lake"
"#;

    fn query(item: &str) -> Result<SparkQuery, Vec<String>> {
        Pipeline::from_str(&FILE.replace("ITEM", item), "x.toml").unwrap().query.for_spark()
    }

    /// The first item of the rewritten query.
    fn item(item: &str) -> String {
        let sql = query(item).unwrap().sql;
        sql.strip_prefix("SELECT ").unwrap().split_once(" AS `X`, ").unwrap().0.to_owned()
    }

    #[test]
    fn what_a_publisher_needs_stands_behind_the_result() {
        assert_eq!(
            query("sum(ENTRIES)").unwrap().sql,
            "SELECT sum(ENTRIES) AS `X`, window.start AS `__window_start`, window.end AS `__window_end`, \
             (true) AS `__having`, count(1) AS `__messages`, \
             collect_set(struct(`__topic`, `__partition`, `__offset` DIV 4096)) AS `__blocks` \
             FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), STATION"
        );
    }

    #[test]
    fn a_groups_condition_becomes_a_column_so_that_its_messages_still_count() {
        let sql = "SELECT sum(ENTRIES) AS N FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes') HAVING N > 0";
        let file =
            FILE.replace("SELECT ITEM AS X FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), STATION", sql);
        let query = Pipeline::from_str(&file, "x.toml").unwrap().query.for_spark().unwrap();
        assert!(query.sql.contains("(N > 0) AS `__having`") && !query.sql.contains("HAVING"), "{}", query.sql);
    }

    #[test]
    fn constants_divisions_and_roundings_mean_what_they_mean_here() {
        assert_eq!(item("sum(ENTRIES) * 0.5"), "sum(ENTRIES) * 0.5D");
        assert_eq!(item("sum(ENTRIES) * 1.5e2"), "sum(ENTRIES) * 1.5e2");
        assert_eq!(item("sum(ENTRIES) / count(*)"), "sum(ENTRIES) / nullif(count(*), 0)");
        assert_eq!(item("mod(sum(ENTRIES), 7 % 2)"), "mod(sum(ENTRIES), nullif(7 % nullif(2, 0), 0))");
        assert_eq!(item("round(avg(ENTRIES), 1)"), "round(double(avg(double(ENTRIES))), 1)");
    }

    #[test]
    fn choices_go_by_the_messages_order() {
        let order = "struct(`TIMESTAMP`, `__topic`, `__partition`, `__offset`)";
        assert_eq!(item("first(ENTRIES)"), format!("min_by(ENTRIES, {order})"));
        assert_eq!(
            item("last(ENTRIES, true) FILTER (WHERE STATION = 'A' OR ENTRIES > 1)"),
            format!("max_by(ENTRIES, {order}) FILTER (WHERE (STATION = 'A' OR ENTRIES > 1) AND (ENTRIES) IS NOT NULL)")
        );
        assert_eq!(
            item("max_by(STATION, ENTRIES)"),
            format!("max_by(STATION, {}) FILTER (WHERE (ENTRIES) IS NOT NULL)", order.replace("(", "(ENTRIES, "))
        );
    }

    #[test]
    fn distinct_values_are_collected() {
        assert_eq!(
            item("count(DISTINCT STATION, ENTRIES)"),
            "bigint(size(collect_set(struct(STATION, ENTRIES)) FILTER (WHERE (STATION) IS NOT NULL AND (ENTRIES) IS NOT NULL)))"
        );
        assert_eq!(item("count(*)"), "count(*)");
    }

    #[test]
    fn what_spark_cannot_keep_is_refused_and_what_it_estimates_is_said() {
        assert_eq!(query("increase(ENTRIES)").unwrap_err().len(), 1);
        assert_eq!(query("percentile_approx(ENTRIES, 0.5)").unwrap().approximate.len(), 1);
    }
}
