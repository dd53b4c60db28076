//! What is refused because the port is read-only.
//!
//! In: parsed statements. Out: none, or the [`SqlError`] that refuses it. Start at [`check`].

use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement};

use crate::sqlstate::SqlError;

/// The SQLSTATE of a statement that a read-only transaction refuses.
const READ_ONLY: &str = "25006";

/// Why `statement` is refused; `None` when it only reads.
pub(crate) fn check(statement: &Statement) -> Option<SqlError> {
    match statement {
        Statement::Query(query) if reads(query) => None,
        Statement::Explain { statement, .. } => check(statement),
        Statement::ExplainTable { .. } => None,
        Statement::ShowTables { .. } | Statement::ShowColumns { .. } | Statement::ShowFunctions { .. } => None,
        other => Some(refuse(&other.to_string())),
    }
}

/// The error that refuses a statement, by the verb that `sql` begins with.
pub(crate) fn refuse(sql: &str) -> SqlError {
    let verb: String = sql.chars().take_while(|c| c.is_ascii_alphabetic()).collect::<String>().to_uppercase();
    SqlError::new(READ_ONLY, format!("cannot execute {verb}: this port is read-only, tables change through loads"))
        .hint("to add or change a table, write a model in models/ and let the warehouse load it")
}

/// The error that refuses to change a setting of the server.
pub(crate) fn refuse_setting(name: &str) -> SqlError {
    SqlError::new(READ_ONLY, format!("cannot set \"{name}\": it belongs to the server, not to a connection"))
        .hint("set it where the server is started")
}

/// A query may contain a change: `WITH x AS (INSERT ...)`.
fn reads(query: &Query) -> bool {
    let with = query.with.iter().flat_map(|with| &with.cte_tables);
    with.map(|table| &table.query).all(|query| reads(query)) && body_reads(&query.body)
}

fn body_reads(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => reads(query),
        SetExpr::SetOperation { left, right, .. } => body_reads(left) && body_reads(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn refusal(sql: &str) -> Option<SqlError> {
        check(&Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap()[0])
    }

    #[test]
    fn reading_is_allowed() {
        for sql in ["SELECT 1", "WITH x AS (SELECT 1) SELECT * FROM x", "VALUES (1)", "EXPLAIN ANALYZE SELECT 1"] {
            assert_eq!(refusal(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_change_is_refused_wherever_it_is() {
        for sql in [
            "INSERT INTO t VALUES (1)",
            "DROP TABLE t",
            "CREATE TABLE t AS SELECT 1",
            "COPY t FROM STDIN",
            "EXPLAIN ANALYZE DELETE FROM t",
            "WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x",
            "SELECT 1 INTO t",
        ] {
            assert_eq!(refusal(sql).map(|error| error.code), Some("25006"), "{sql}");
        }
    }

    #[test]
    fn a_refusal_names_the_verb_and_the_alternative() {
        let error = refusal("insert into t values (1)").unwrap();
        assert!(error.message.starts_with("cannot execute INSERT:"), "{error:?}");
        assert!(error.hint.unwrap().contains("models/"));
    }
}
