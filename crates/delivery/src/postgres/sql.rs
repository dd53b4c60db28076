//! Pieces of SQL.

/// A quoted identifier.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal.
pub(super) fn text(text: &str) -> String {
    // The meaning of backslashes in a plain literal depends on a server setting; in E'' it does not.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A table of a schema.
pub(super) fn table(schema: &str, table: &str) -> String {
    format!("{}.{}", name(schema), name(table))
}

/// `"a", "b"`, each after `prefix`.
pub(super) fn names<S: AsRef<str>>(prefix: &str, names: &[S]) -> String {
    names.iter().map(|column| format!("{prefix}{}", name(column.as_ref()))).collect::<Vec<_>>().join(", ")
}

/// `a."k" = b."k" AND …`: the rows of two tables with the same key.
pub(super) fn same<S: AsRef<str>>(left: &str, right: &str, key: &[S]) -> String {
    let equal = |column: &S| format!("{left}.{0} = {right}.{0}", name(column.as_ref()));
    key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_do_not_end_a_name_or_a_text() {
        assert_eq!(table("a\"b", "t"), "\"a\"\"b\".\"t\"");
        assert_eq!(text("it's \\ one"), "E'it''s \\\\ one'");
        assert_eq!(same("t", "s", &["a", "b"]), "t.\"a\" = s.\"a\" AND t.\"b\" = s.\"b\"");
    }
}
