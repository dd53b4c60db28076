//! What a connection may set for itself, and what it may see: `SET`, `RESET`, `SHOW`.
//!
//! In: names and values as text. Out: the values kept, or a complaint.
//! Refuses to change anything beyond its connection. Start at [`Variables::set`].

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use datafusion::arrow::array::timezone::Tz;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Set, Statement, UnaryOperator, Value};

use crate::catalog::SERVER_VERSION;
use crate::meant::meant;
use crate::refusal;
use crate::sqlstate::Complaint;

/// May be set. Those marked so are told to the client when they change, as drivers count on it.
const SETTABLE: [(&str, &str, bool); 19] = [
    ("application_name", "", true),
    ("bytea_output", "hex", false),
    ("client_encoding", "UTF8", true),
    ("client_min_messages", "notice", false),
    ("DateStyle", "ISO, MDY", true),
    ("default_transaction_isolation", "read committed", false),
    ("escape_string_warning", "on", false),
    ("extra_float_digits", "1", false),
    ("idle_in_transaction_session_timeout", "0", false),
    ("idle_session_timeout", "0", false),
    ("IntervalStyle", "postgres", true),
    ("jit", "off", false),
    ("lock_timeout", "0", false),
    ("row_security", "on", false),
    ("search_path", "public", false),
    ("standard_conforming_strings", "on", true),
    ("statement_timeout", "", false),
    ("TimeZone", "UTC", true),
    ("transaction_isolation", "read committed", false),
];

/// May be seen, and set to what it is.
const FIXED: [(&str, &str); 11] = [
    ("default_transaction_read_only", "on"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("max_identifier_length", "63"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160006"),
    ("transaction_read_only", "on"),
];

/// The variables of one connection.
#[derive(Debug)]
pub(crate) struct Variables {
    /// By the name in lower case; no more than there are settable ones.
    changed: BTreeMap<String, String>,
    pub(crate) statement_timeout: Duration,
    longest_timeout: Duration,
}

/// A name as PostgreSQL writes it, with its value.
pub(crate) type Named = (&'static str, String);

impl Variables {
    pub(crate) fn new(longest_timeout: Duration) -> Self {
        Self { changed: BTreeMap::new(), statement_timeout: longest_timeout, longest_timeout }
    }

    /// The value of a variable, by its name in any case.
    pub(crate) fn get(&self, name: &str) -> Result<Named, Complaint> {
        let name = name.to_lowercase();
        if let Some((shown, default, _)) = settable(&name) {
            let value = match name.as_str() {
                "statement_timeout" => format!("{}ms", self.statement_timeout.as_millis()),
                _ => self.changed.get(&name).cloned().unwrap_or_else(|| default.to_string()),
            };
            return Ok((shown, value));
        }
        let fixed = FIXED.iter().find(|(fixed, _)| *fixed == name);
        fixed.map(|(name, value)| (*name, value.to_string())).ok_or_else(|| unknown(&name))
    }

    /// Every variable, by name.
    pub(crate) fn all(&self) -> Vec<Named> {
        let names = SETTABLE.iter().map(|(name, ..)| *name).chain(FIXED.iter().map(|(name, _)| *name));
        let mut all: Vec<Named> = names.filter_map(|name| self.get(name).ok()).collect();
        all.sort_unstable_by_key(|(name, _)| name.to_lowercase());
        all
    }

    /// What a client is told when a connection begins.
    pub(crate) fn reported(&self) -> Vec<Named> {
        let told = SETTABLE.iter().filter(|(.., told)| *told).map(|(name, ..)| *name);
        let fixed = ["server_version", "server_encoding", "integer_datetimes", "is_superuser", "in_hot_standby"];
        let fixed = fixed.into_iter().chain(["default_transaction_read_only"]);
        told.chain(fixed).filter_map(|name| self.get(name).ok()).collect()
    }

    /// Sets a variable; `None` means its default. Returns what the client is to be told.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<Named>, Complaint> {
        let name = name.to_lowercase();
        let Some((shown, _, told)) = settable(&name) else {
            return match FIXED.iter().find(|(fixed, _)| *fixed == name) {
                Some((_, same)) if value.is_none_or(|value| is_same(value, same)) => Ok(None),
                Some(_) => Err(refusal::refused_setting(&name)),
                None if name.starts_with("datafusion.") => Err(refusal::refused_setting(&name)),
                None => Err(unknown(&name)),
            };
        };
        match (name.as_str(), value) {
            ("statement_timeout", None) => self.statement_timeout = self.longest_timeout,
            ("statement_timeout", Some(value)) => self.statement_timeout = self.timeout(value)?,
            (_, None) => drop(self.changed.remove(&name)),
            (_, Some(value)) => {
                let value = checked(&name, value)?;
                self.changed.insert(name.clone(), value);
            }
        }
        let value = self.get(&name)?.1;
        Ok(told.then_some((shown, value)))
    }

    /// Forgets everything set. Returns what the client is to be told.
    pub(crate) fn reset(&mut self) -> Vec<Named> {
        self.changed.clear();
        self.statement_timeout = self.longest_timeout;
        let told = SETTABLE.iter().filter(|(.., told)| *told);
        told.filter_map(|(name, ..)| self.get(name).ok()).collect()
    }

    /// The zone in which instants are shown.
    pub(crate) fn zone(&self) -> String {
        self.changed.get("timezone").cloned().unwrap_or_else(|| "UTC".into())
    }

    /// The schema in which unqualified names are looked for, when one was chosen.
    pub(crate) fn schema(&self) -> Option<&str> {
        let path = self.changed.get("search_path")?;
        path.split(',').map(|schema| schema.trim().trim_matches('"')).find(|schema| !schema.starts_with('$'))
    }

    /// 0 asks for no limit, which is the server's.
    fn timeout(&self, value: &str) -> Result<Duration, Complaint> {
        let digits = value.trim().find(|c: char| !c.is_ascii_digit()).unwrap_or(value.trim().len());
        let (number, unit) = value.trim().split_at(digits);
        let unit_ms = match unit.trim() {
            "" | "ms" => Some(1),
            "s" => Some(1_000),
            "min" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let asked = number.parse::<u64>().ok().zip(unit_ms).map(|(number, unit)| number.saturating_mul(unit));
        match asked
            .ok_or_else(|| invalid("statement_timeout", value, "give milliseconds, or a number with ms, s, min"))?
        {
            0 => Ok(self.longest_timeout),
            ms => Ok(Duration::from_millis(ms).min(self.longest_timeout)),
        }
    }
}

/// What a `SET` statement asks for: a name and its value, or nothing that this server keeps.
pub(crate) fn assignment(set: &Set) -> Result<Option<(String, Option<String>)>, Complaint> {
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let name = variable.to_string().replace('"', "");
            let text: Option<Vec<String>> = values.iter().map(text_of).collect();
            let text = text.ok_or_else(|| invalid(&name, "an expression", "give a plain value"))?.join(", ");
            Ok(Some((name, (!text.eq_ignore_ascii_case("default")).then_some(text))))
        }
        Set::SetTimeZone { value, .. } => {
            let text = text_of(value).ok_or_else(|| invalid("TimeZone", &value.to_string(), ZONES))?;
            let own = ["default", "local"].iter().any(|word| text.eq_ignore_ascii_case(word));
            Ok(Some(("TimeZone".into(), (!own).then_some(text))))
        }
        Set::SetNames { charset_name, .. } => Ok(Some(("client_encoding".into(), Some(charset_name.value.clone())))),
        Set::SetNamesDefault {} => Ok(Some(("client_encoding".into(), None))),
        // Every statement reads one snapshot of its own and changes nothing, whatever the transaction is called.
        Set::SetTransaction { .. } => Ok(None),
        other => Err(refusal::refused(&Statement::Set(other.clone()).to_string())),
    }
}

/// The name that a `SHOW` statement asks for.
pub(crate) fn shown_name(words: &[Ident]) -> String {
    let words: Vec<String> = words.iter().map(|word| word.value.to_lowercase()).collect();
    match words.join(" ").as_str() {
        "time zone" => "TimeZone".into(),
        "transaction isolation level" => "transaction_isolation".into(),
        _ => words.join("."),
    }
}

const ZONES: &str = "give a name as in the tz database (America/New_York) or an offset (+02:00)";

fn settable(lower: &str) -> Option<(&'static str, &'static str, bool)> {
    SETTABLE.into_iter().find(|(name, ..)| name.eq_ignore_ascii_case(lower))
}

fn is_same(value: &str, fixed: &str) -> bool {
    let truth = |text: &str| match text.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => "on".to_owned(),
        "off" | "false" | "no" | "0" => "off".to_owned(),
        other => other.to_owned(),
    };
    truth(value) == truth(fixed)
}

/// Values are text as PostgreSQL writes them, whatever a client wanted otherwise.
fn checked(lower: &str, value: &str) -> Result<String, Complaint> {
    match lower {
        "client_encoding" => {
            let known = ["utf8", "utf-8", "unicode"].iter().any(|name| value.eq_ignore_ascii_case(name));
            known.then(|| "UTF8".into()).ok_or_else(|| invalid("client_encoding", value, "only UTF8 is spoken here"))
        }
        "datestyle" if !value.to_lowercase().contains("iso") => {
            Err(invalid("DateStyle", value, "dates are written as ISO only"))
        }
        "bytea_output" if !value.eq_ignore_ascii_case("hex") => {
            Err(invalid("bytea_output", value, "only hex is written"))
        }
        "intervalstyle" if !value.eq_ignore_ascii_case("postgres") => {
            Err(invalid("IntervalStyle", value, "intervals are written as postgres only"))
        }
        "standard_conforming_strings" if !is_same(value, "on") => {
            Err(invalid("standard_conforming_strings", value, "a backslash is a character like any other here"))
        }
        "timezone" => {
            let zone = if ["gmt", "z"].iter().any(|name| value.eq_ignore_ascii_case(name)) { "UTC" } else { value };
            Tz::from_str(zone).map(|_| zone.to_owned()).map_err(|_| invalid("TimeZone", value, ZONES))
        }
        _ => Ok(value.to_owned()),
    }
}

fn invalid(name: &str, value: &str, hint: &str) -> Complaint {
    Complaint::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\"")).hint(hint)
}

fn unknown(name: &str) -> Complaint {
    let known = SETTABLE.iter().map(|(name, ..)| *name).chain(FIXED.iter().map(|(name, _)| *name));
    let complaint = Complaint::new("42704", format!("unrecognized configuration parameter \"{name}\""));
    match meant(name, known).first() {
        Some(meant) => complaint.hint(format!("perhaps you meant {meant}")),
        None => complaint.hint("SHOW ALL lists them"),
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

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn variables() -> Variables {
        Variables::new(Duration::from_secs(60))
    }

    fn set(variables: &mut Variables, sql: &str) -> Result<Option<Named>, Complaint> {
        let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        let [Statement::Set(set)] = statements.as_slice() else { panic!("{statements:?}") };
        match assignment(set)? {
            Some((name, value)) => variables.set(&name, value.as_deref()),
            None => Ok(None),
        }
    }

    #[test]
    fn a_timeout_is_lowered_and_raised_up_to_the_limit() {
        let mut variables = variables();
        for (sql, ms) in [
            ("SET statement_timeout = 500", 500),
            ("SET statement_timeout TO '2s'", 2_000),
            ("SET SESSION statement_timeout = '1h'", 60_000),
            ("SET statement_timeout = 0", 60_000),
        ] {
            set(&mut variables, sql).unwrap();
            assert_eq!(variables.statement_timeout, Duration::from_millis(ms), "{sql}");
        }
        assert_eq!(set(&mut variables, "SET statement_timeout = '1 fortnight'").unwrap_err().code, "22023");
    }

    #[test]
    fn a_zone_is_checked_and_told() {
        let mut variables = variables();
        let told = set(&mut variables, "SET TIME ZONE 'America/New_York'").unwrap();
        assert_eq!(told, Some(("TimeZone", "America/New_York".into())));
        assert_eq!(set(&mut variables, "SET timezone = 'Mars/Olympus'").unwrap_err().code, "22023");
        assert_eq!(variables.zone(), "America/New_York");
        set(&mut variables, "SET timezone TO DEFAULT").unwrap();
        assert_eq!(variables.zone(), "UTC");
    }

    #[test]
    fn the_server_s_settings_are_not_a_connection_s() {
        let mut variables = variables();
        for sql in ["SET datafusion.execution.batch_size = 1", "SET transaction_read_only = off", "SET ROLE root"] {
            assert_eq!(set(&mut variables, sql).unwrap_err().code, "25006", "{sql}");
        }
        assert_eq!(set(&mut variables, "SET transaction_read_only = true"), Ok(None));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_meant() {
        let complaint = set(&mut variables(), "SET statment_timeout = 1").unwrap_err();
        assert_eq!(
            (complaint.code, complaint.hint.unwrap().as_str()),
            ("42704", "perhaps you meant statement_timeout")
        );
    }

    #[test]
    fn a_search_path_names_its_first_schema() {
        let mut variables = variables();
        set(&mut variables, "SET search_path TO \"$user\", _turnstile, public").unwrap();
        assert_eq!(variables.schema(), Some("_turnstile"));
    }
}
