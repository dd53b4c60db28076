//! The SQL's text, and the mapping from a position in it back to the pipeline file.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use crate::file::{Fault, PipelineText, StringMap, TextSpan};

/// The text of the query and where it stands in the file.
#[derive(Debug)]
pub(crate) struct SqlText {
    pub(crate) sql: String,
    pub(crate) tokens: Vec<TokenWithSpan>,
    at: TextSpan,
    map: StringMap,
}

impl SqlText {
    pub(crate) fn new(file: &PipelineText, sql: &str, at: &TextSpan) -> Self {
        let map = StringMap::new(file.written(at), sql);
        Self { sql: sql.to_owned(), tokens: Vec::new(), at: at.clone(), map }
    }

    /// A fault at a place of the query.
    pub(crate) fn fault(&self, span: Span, message: impl Into<String>) -> Fault {
        let location = if span.start.line == 0 { Location::new(1, 1) } else { span.start };
        let start = self.at.bytes.start + self.map.offset(offset(&self.sql, location));
        Fault::new(&TextSpan { text: self.at.text, bytes: start..self.at.bytes.end.max(start) }, message)
    }

    /// The query's text between two places, both inclusive as sqlparser counts them.
    pub(crate) fn between(&self, span: Span) -> &str {
        let (start, end) = (offset(&self.sql, span.start), offset(&self.sql, span.end));
        self.sql.get(start..end).unwrap_or_default().trim()
    }

    /// Where a keyword first stands.
    pub(crate) fn keyword(&self, keyword: Keyword) -> Span {
        self.tokens
            .iter()
            .find(|token| matches!(&token.token, Token::Word(word) if word.keyword == keyword && word.quote_style.is_none()))
            .map_or_else(Span::empty, |token| token.span)
    }
}

/// Where `location` stands in `sql`, in bytes; the end of its line, or of `sql`, where it lies behind it.
pub(super) fn offset(sql: &str, location: Location) -> usize {
    let mut line = 1;
    let mut column = 1;
    for (at, c) in sql.char_indices() {
        if line == location.line && column == location.column {
            return at;
        }
        if c == '\n' {
            if line == location.line {
                return at;
            }
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    sql.len()
}
