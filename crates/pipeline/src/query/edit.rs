//! A query's text with another window. It is edited where the parser finds the window, so that all else stays as it was
//! written: blanks, comments, and a string that only looks like a window.

use sqlparser::ast::{Expr, GroupByExpr, Spanned, Value};

use super::parsed::{one_select, plain_arguments};
use super::text::offset;
use super::window;

/// `sql` with windows of length `size`, one every `slide` (`size` when it is `None`); both are Spark intervals such as
/// `5 minutes`. The window's start, where the query gives one, stays. `None`: `sql` is not one SELECT that groups by
/// `window(time, 'size'[, 'slide'[, 'start']])`.
pub fn with_window(sql: &str, size: &str, slide: Option<&str>) -> Option<String> {
    let groups = groups(sql)?;
    let args = plain_arguments(groups.iter().find_map(window::call)?)?;
    let (first, last, has_start) = match args.as_slice() {
        [_, size] => (size, size, false),
        [_, size, slide] => (size, slide, false),
        [_, size, slide, _] => (size, slide, true),
        _ => return None,
    };
    let (start, end) = (offset(sql, first.span().start), offset(sql, last.span().end));
    let written = match slide.or(has_start.then_some(size)) {
        Some(slide) => format!("{}, {}", quoted(size), quoted(slide)),
        None => quoted(size),
    };
    Some(format!("{}{written}{}", sql.get(..start)?, sql.get(end..)?))
}

/// What the one SELECT groups by.
fn groups(sql: &str) -> Option<Vec<Expr>> {
    match one_select(sql)?.group_by {
        GroupByExpr::Expressions(groups, _) => Some(groups),
        GroupByExpr::All(_) => None,
    }
}

fn quoted(text: &str) -> String {
    Value::SingleQuotedString(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "\
-- Not this one: GROUP BY window(TIMESTAMP, '5 minutes')
SELECT STATION, 'window(TIMESTAMP, ''5 minutes'')' AS TEXT, sum(ENTRIES) AS ENTRIES -- é
FROM readings
GROUP BY STATION, window(TIMESTAMP, /* size */ '5 minutes' )  -- window(TIMESTAMP, '5 minutes')
HAVING sum(ENTRIES) > 0";

    #[test]
    fn a_window_in_a_comment_or_a_string_is_left_alone() {
        let expected = QUERY.replace("'5 minutes' )", "'1 hour', '10 minutes' )");
        assert_eq!(with_window(QUERY, "1 hour", Some("10 minutes")), Some(expected));
        assert_eq!(with_window(QUERY, "5 minutes", None).as_deref(), Some(QUERY));
    }

    #[test]
    fn a_slide_goes_and_a_start_stays() {
        let query = |window: &str| format!("SELECT count(*) AS n FROM t GROUP BY WINDOW(ts, {window})");
        assert_eq!(with_window(&query("'1 hour', '5 minutes'"), "2 hours", None), Some(query("'2 hours'")));
        let started = query("'1 hour', '1 hour', '15 minutes'");
        assert_eq!(with_window(&started, "2 hours", None), Some(query("'2 hours', '2 hours', '15 minutes'")));
    }

    #[test]
    fn what_groups_by_no_window_is_not_edited() {
        for sql in ["SELECT 1", "SELECT a FROM t GROUP BY a", "SELECT a FROM t GROUP BY window(ts)", "SELECT", ""] {
            assert_eq!(with_window(sql, "5 minutes", None), None, "{sql}");
        }
    }
}
