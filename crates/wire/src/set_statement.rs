//! `SET` and `SHOW` statements: which name and value they mean.
//!
//! In: parsed statements. Out: names and values as text. Knows no variable. Start at [`assignment`].

use datafusion::sql::sqlparser::ast::{Expr, Ident, Set, Statement, UnaryOperator, Value};

use crate::read_only;
use crate::sqlstate::SqlError;
use crate::variables::{ZONE_HINT, invalid};

/// The name and value of a `SET` statement; `None` for one that has no effect here.
pub(crate) fn assignment(set: &Set) -> Result<Option<(String, Option<String>)>, SqlError> {
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let name = variable.to_string().replace('"', "");
            let text: Option<Vec<String>> = values.iter().map(text_of).collect();
            let text = text.ok_or_else(|| invalid(&name, "an expression", "give a plain value"))?.join(", ");
            Ok(Some((name, (!text.eq_ignore_ascii_case("default")).then_some(text))))
        }
        Set::SetTimeZone { value, .. } => {
            let text = text_of(value).ok_or_else(|| invalid("TimeZone", &value.to_string(), ZONE_HINT))?;
            let is_default = ["default", "local"].iter().any(|word| text.eq_ignore_ascii_case(word));
            Ok(Some(("TimeZone".into(), (!is_default).then_some(text))))
        }
        Set::SetNames { charset_name, .. } => Ok(Some(("client_encoding".into(), Some(charset_name.value.clone())))),
        Set::SetNamesDefault {} => Ok(Some(("client_encoding".into(), None))),
        // Every statement reads its own snapshot and changes nothing, in any kind of transaction.
        Set::SetTransaction { .. } => Ok(None),
        other => Err(read_only::refuse(&Statement::Set(other.clone()).to_string())),
    }
}

/// The name in a `SHOW` statement.
pub(crate) fn shown_name(words: &[Ident]) -> String {
    let words: Vec<String> = words.iter().map(|word| word.value.to_lowercase()).collect();
    match words.join(" ").as_str() {
        "time zone" => "TimeZone".into(),
        "transaction isolation level" => "transaction_isolation".into(),
        _ => words.join("."),
    }
}

fn text_of(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => Some(number.clone()),
            Value::Boolean(truth) => Some(if *truth { "on" } else { "off" }.into()),
            value => value.clone().into_string(),
        },
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundIdentifier(names) => Some(names.iter().map(|n| n.value.as_str()).collect::<Vec<_>>().join(".")),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(format!("-{}", text_of(expr)?)),
        _ => None,
    }
}
