//! Parses the query and refuses what a stream cannot do, or what is not supported.

use sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Spanned, Statement, TableFactor, Visit, Visitor,
};
use sqlparser::dialect::SparkSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Tokenizer};

use super::text::SqlText;
use crate::file::Fault;
use turnstile_values::nearest;

/// The query in its parts: one SELECT over one table.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) items: Vec<Item>,
    pub(crate) filter: Option<Expr>,
    pub(crate) groups: Vec<Expr>,
    pub(crate) having: Option<Expr>,
    /// Names by which columns may be qualified: the table's, or its alias.
    pub(crate) qualifier: String,
    /// The query without comments, in one spelling of blanks and keywords.
    pub(crate) canonical: String,
}

/// One expression of the SELECT list.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) aliased: bool,
    pub(crate) expr: Expr,
    pub(crate) span: Span,
}

/// Parses `text` and takes it apart. `table` is the name that FROM must have.
pub(crate) fn parse(text: &mut SqlText, table: &str) -> Result<Shape, Vec<Fault>> {
    let dialect = SparkSqlDialect {};
    let tokens = Tokenizer::new(&dialect, &text.sql).tokenize_with_location();
    text.tokens = tokens.map_err(|error| vec![text.fault(at(error.location), error.message)])?;
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(text.tokens.clone());
    let mut statements = parser.parse_statements().map_err(|error| vec![parse_fault(text, error)])?;
    let query = match (statements.len(), statements.pop()) {
        (1, Some(Statement::Query(query))) => *query,
        _ => return Err(vec![text.fault(Span::empty(), "the query must be one SELECT")]),
    };
    let canonical = query.to_string();
    let mut refusals = Refusals { text, faults: Vec::new() };
    let _ = query.visit(&mut refusals);
    refusals.query(&query);
    let select = match *query.body {
        SetExpr::Select(select) => *select,
        SetExpr::SetOperation { op, .. } => {
            let place = refusals.any_keyword(&[Keyword::UNION, Keyword::INTERSECT, Keyword::EXCEPT, Keyword::MINUS]);
            let message = format!("{op} is not supported: a pipeline has one SELECT");
            refusals.push(place, message, "write a second pipeline for the second SELECT");
            return Err(refusals.faults);
        }
        _ => return Err(vec![refusals.text.fault(Span::empty(), "the query must be one SELECT")]),
    };
    refusals.select(&select);
    let qualifier = refusals.table(&select, table);
    let groups = refusals.groups(&select);
    let items = refusals.items(select.projection);
    match (refusals.faults.is_empty(), qualifier) {
        (true, Some(qualifier)) => {
            Ok(Shape { items, filter: select.selection, groups, having: select.having, qualifier, canonical })
        }
        _ => Err(refusals.faults),
    }
}

fn at(location: Location) -> Span {
    Span::new(location, location)
}

/// The parser says where only inside its message.
fn parse_fault(text: &SqlText, error: ParserError) -> Fault {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return text.fault(Span::empty(), "the query is nested too deeply");
        }
    };
    let say =
        |fact: &str| format!("SQL: {}", fact.replacen("Expected: ", "expected ", 1).replacen("found: ", "found ", 1));
    let Some((fact, place)) = message.rsplit_once(" at Line: ") else {
        let end = text.tokens.last().map_or_else(Span::empty, |token| token.span);
        return text.fault(end, say(&message).replace("found EOF", "found the end of the query"));
    };
    let number = |text: &str| text.trim().trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().ok();
    let span = place
        .split_once(", Column: ")
        .and_then(|(line, column)| Some(at(Location::new(number(line)?, number(column)?))))
        .unwrap_or_else(Span::empty);
    text.fault(span, say(fact))
}

struct Refusals<'a> {
    text: &'a SqlText,
    faults: Vec<Fault>,
}

impl Visitor for Refusals<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> std::ops::ControlFlow<()> {
        let subquery = matches!(expr, Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. });
        if subquery {
            self.push(expr.span(), "a subquery is not supported: the stream has one table, read once", "");
            return std::ops::ControlFlow::Break(());
        }
        std::ops::ControlFlow::Continue(())
    }
}

impl Refusals<'_> {
    fn push(&mut self, span: Span, message: impl Into<String>, hint: &str) {
        let fault = self.text.fault(span, message);
        self.faults.push(if hint.is_empty() { fault } else { fault.hint(hint) });
    }

    fn keyword(&self, keyword: Keyword) -> Span {
        self.text.keyword(keyword)
    }

    fn any_keyword(&self, keywords: &[Keyword]) -> Span {
        keywords.iter().map(|keyword| self.keyword(*keyword)).find(|span| span.start.line > 0).unwrap_or(Span::empty())
    }

    fn query(&mut self, query: &Query) {
        if query.with.is_some() {
            let hint = "write the expression where it is used";
            self.push(self.keyword(Keyword::WITH), "WITH is not supported: a pipeline has one SELECT", hint);
        }
        if query.order_by.is_some() {
            let hint = "the warehouse can sort what it reads";
            self.push(self.keyword(Keyword::ORDER), "ORDER BY is not supported: a stream has no end to sort at", hint);
        }
        if query.limit_clause.is_some() || query.fetch.is_some() {
            let place = self.any_keyword(&[Keyword::LIMIT, Keyword::OFFSET, Keyword::FETCH]);
            self.push(place, "LIMIT is not supported: every row of a stream counts", "filter with WHERE or HAVING");
        }
        if !query.locks.is_empty() || query.for_clause.is_some() || !query.pipe_operators.is_empty() {
            self.push(Span::empty(), "the query has a clause that is not supported", "see docs/sql.md");
        }
    }

    fn select(&mut self, select: &Select) {
        if select.distinct.is_some() {
            let hint = "list the columns in GROUP BY; duplicates of messages are dropped by [stream] dedup";
            self.push(self.keyword(Keyword::DISTINCT), "SELECT DISTINCT is not supported", hint);
        }
        for (there, keyword, name) in [
            (!select.lateral_views.is_empty(), Keyword::LATERAL, "LATERAL VIEW"),
            (!select.cluster_by.is_empty(), Keyword::CLUSTER, "CLUSTER BY"),
            (!select.distribute_by.is_empty(), Keyword::DISTRIBUTE, "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), Keyword::SORT, "SORT BY"),
            (!select.named_window.is_empty(), Keyword::WINDOW, "the WINDOW clause"),
            (select.qualify.is_some(), Keyword::QUALIFY, "QUALIFY"),
            (select.top.is_some(), Keyword::TOP, "TOP"),
            (select.into.is_some(), Keyword::INTO, "INTO"),
            (select.prewhere.is_some(), Keyword::PREWHERE, "PREWHERE"),
            (!select.connect_by.is_empty(), Keyword::CONNECT, "CONNECT BY"),
            (select.exclude.is_some(), Keyword::EXCLUDE, "EXCLUDE"),
            (select.value_table_mode.is_some(), Keyword::VALUE, "SELECT AS"),
        ] {
            if there {
                self.push(self.keyword(keyword), format!("{name} is not supported"), "see docs/sql.md");
            }
        }
    }

    fn table(&mut self, select: &Select, table: &str) -> Option<String> {
        let from = match select.from.as_slice() {
            [from] => from,
            [] => {
                self.push(Span::empty(), "the query has no FROM", &format!("write FROM {table}"));
                return None;
            }
            [_, second, ..] => {
                self.push(second.span(), "a join is not supported: the stream has one table", JOIN_HINT);
                return None;
            }
        };
        if let Some(join) = from.joins.first() {
            self.push(join.span(), "a join is not supported: the stream has one table", JOIN_HINT);
            return None;
        }
        let (name, alias) = match &from.relation {
            TableFactor::Table { name, alias, args: None, version: None, sample: None, partitions, .. }
                if partitions.is_empty() =>
            {
                (name, alias)
            }
            other => {
                let place = if other.span().start.line > 0 { other.span() } else { self.keyword(Keyword::FROM) };
                self.push(place, "FROM must name the stream, and nothing else", &format!("write FROM {table}"));
                return None;
            }
        };
        let written = name.to_string();
        if !written.eq_ignore_ascii_case(table) {
            let near = nearest(&written, [table]).is_some();
            let hint = match near {
                true => format!("did you mean \"{table}\"?"),
                false => format!("the stream is called \"{table}\" ([source] table)"),
            };
            self.push(name.span(), format!("unknown table \"{written}\""), &hint);
            return None;
        }
        match alias {
            Some(alias) if !alias.columns.is_empty() => {
                self.push(alias.name.span, "a list of column names after the table is not supported", "");
                None
            }
            Some(alias) => Some(alias.name.value.clone()),
            None => Some(table.to_owned()),
        }
    }

    fn groups(&mut self, select: &Select) -> Vec<Expr> {
        match &select.group_by {
            GroupByExpr::Expressions(groups, modifiers) if modifiers.is_empty() => {
                for group in groups {
                    if matches!(group, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)) {
                        let place = self.any_keyword(&[Keyword::GROUPING, Keyword::CUBE, Keyword::ROLLUP]);
                        self.push(
                            place,
                            "GROUPING SETS, CUBE and ROLLUP are not supported",
                            "write a pipeline for each",
                        );
                    }
                }
                groups.clone()
            }
            GroupByExpr::Expressions(..) => {
                let place = self.any_keyword(&[Keyword::ROLLUP, Keyword::CUBE, Keyword::GROUPING, Keyword::WITH]);
                self.push(place, "GROUPING SETS, CUBE and ROLLUP are not supported", "write a pipeline for each");
                Vec::new()
            }
            GroupByExpr::All(_) => {
                self.push(self.keyword(Keyword::GROUP), "GROUP BY ALL is not supported", "list the columns");
                Vec::new()
            }
        }
    }

    fn items(&mut self, projection: Vec<SelectItem>) -> Vec<Item> {
        let mut items = Vec::new();
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let span = expr.span();
                    items.push(Item { name: plain_name(&expr), aliased: false, expr, span });
                }
                SelectItem::ExprWithAlias { expr, alias: Ident { value, .. } } => {
                    let span = expr.span();
                    items.push(Item { name: value, aliased: true, expr, span });
                }
                other => {
                    let hint = "list the columns: a group has only its keys and its aggregates";
                    self.push(other.span(), format!("\"{other}\" is not supported"), hint);
                }
            }
        }
        items
    }
}

const JOIN_HINT: &str = "join in the warehouse, where both sides are whole";

/// The name that Spark gives to an expression without one: the last part of a column, or its text.
fn plain_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.clone()).unwrap_or_default(),
        Expr::Nested(inner) => plain_name(inner),
        other => other.to_string().replace("count(*)", "count(1)"),
    }
}
