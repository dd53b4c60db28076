//! Positions in a statement's text as PostgreSQL counts them: in characters, from 1.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// The position of a line and column, both from 1.
pub(crate) fn from_line_and_column(sql: &str, line: u64, column: u64) -> Option<usize> {
    let before = usize::try_from(line.checked_sub(1)?).ok()?;
    let column = usize::try_from(column.checked_sub(1)?).ok()?;
    let lines: usize = sql.split_inclusive('\n').take(before).map(|line| line.chars().count()).sum();
    Some(lines + column + 1)
}

/// The position that sqlparser names at the end of its message, and the message without it.
pub(crate) fn from_message<'m>(sql: &str, message: &'m str) -> (&'m str, Option<usize>) {
    let Some((fact, position)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let position = position
        .split_once(", Column: ")
        .and_then(|(line, column)| from_line_and_column(sql, line.trim().parse().ok()?, column.trim().parse().ok()?));
    (fact, position)
}

/// The first position of a name, as it is or folded to lower case.
pub(crate) fn find_name(sql: &str, name: &str) -> Option<usize> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().ok()?;
    let found = tokens.iter().find(|token| match &token.token {
        Token::Word(word) => word.value == name || (word.quote_style.is_none() && word.value.to_lowercase() == name),
        _ => false,
    })?;
    from_line_and_column(sql, found.span.start.line, found.span.start.column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_not_bytes() {
        assert_eq!(from_line_and_column("SELECT 'é', x", 1, 13), Some(13));
        assert_eq!(from_line_and_column("SELECT\n  x", 2, 3), Some(10));
    }

    #[test]
    fn a_message_yields_its_position() {
        let (fact, position) = from_message("SELEC 1", "Expected: a statement, found: SELEC at Line: 1, Column: 1");
        assert_eq!((fact, position), ("Expected: a statement, found: SELEC", Some(1)));
        assert_eq!(from_message("x", "no position"), ("no position", None));
    }

    #[test]
    fn a_name_is_found_as_a_word() {
        assert_eq!(find_name("SELECT stations, STATION FROM t", "station"), Some(18));
        assert_eq!(find_name("SELECT 'station'", "station"), None);
    }
}
