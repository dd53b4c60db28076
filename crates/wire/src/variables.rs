//! The configuration parameters of one connection, which `SET`, `RESET` and `SHOW` change and read.
//!
//! In: names and values as text. Out: the values kept, or an error.
//! Refuses to change anything beyond its connection. Start at [`Variables::set`].

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use datafusion::arrow::array::timezone::Tz;
use turnstile_values::{MILLISECOND_US, duration};

use crate::pg_catalog::SERVER_VERSION;
use crate::read_only;
use crate::sqlstate::SqlError;
use crate::suggest::suggestions;

/// Can be set: name, default, and whether changes are reported to the client, as drivers rely on it.
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

/// Can be read, and set to their fixed value only.
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
pub(crate) type ParameterValue = (&'static str, String);

impl Variables {
    pub(crate) fn new(longest_timeout: Duration) -> Self {
        Self { changed: BTreeMap::new(), statement_timeout: longest_timeout, longest_timeout }
    }

    /// The value of a variable, by its name in any case.
    pub(crate) fn get(&self, name: &str) -> Result<ParameterValue, SqlError> {
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
    pub(crate) fn all(&self) -> Vec<ParameterValue> {
        let names = SETTABLE.iter().map(|(name, ..)| *name).chain(FIXED.iter().map(|(name, _)| *name));
        let mut all: Vec<ParameterValue> = names.filter_map(|name| self.get(name).ok()).collect();
        all.sort_unstable_by_key(|(name, _)| name.to_lowercase());
        all
    }

    /// The parameters that are reported when a connection begins.
    pub(crate) fn reported(&self) -> Vec<ParameterValue> {
        let settable = SETTABLE.iter().filter(|(.., reported)| *reported).map(|(name, ..)| *name);
        let fixed = ["server_version", "server_encoding", "integer_datetimes", "is_superuser", "in_hot_standby"];
        let fixed = fixed.into_iter().chain(["default_transaction_read_only"]);
        settable.chain(fixed).filter_map(|name| self.get(name).ok()).collect()
    }

    /// Sets a variable; `None` means its default. Returns the change to report to the client, if any.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<ParameterValue>, SqlError> {
        let name = name.to_lowercase();
        let Some((shown, _, reported)) = settable(&name) else {
            return match FIXED.iter().find(|(fixed, _)| *fixed == name) {
                Some((_, same)) if value.is_none_or(|value| is_same(value, same)) => Ok(None),
                Some(_) => Err(read_only::refuse_setting(&name)),
                None if name.starts_with("datafusion.") => Err(read_only::refuse_setting(&name)),
                None => Err(unknown(&name)),
            };
        };
        match (name.as_str(), value) {
            ("statement_timeout", None) => self.statement_timeout = self.longest_timeout,
            ("statement_timeout", Some(value)) => self.statement_timeout = self.timeout(value)?,
            (_, None) => drop(self.changed.remove(&name)),
            (_, Some(value)) => {
                let value = check_value(&name, value)?;
                self.changed.insert(name.clone(), value);
            }
        }
        let value = self.get(&name)?.1;
        Ok(reported.then_some((shown, value)))
    }

    /// Resets all variables. Returns the values to report to the client.
    pub(crate) fn reset(&mut self) -> Vec<ParameterValue> {
        self.changed.clear();
        self.statement_timeout = self.longest_timeout;
        let reported = SETTABLE.iter().filter(|(.., reported)| *reported);
        reported.filter_map(|(name, ..)| self.get(name).ok()).collect()
    }

    /// The time zone in which instants are shown.
    pub(crate) fn zone(&self) -> String {
        self.changed.get("timezone").cloned().unwrap_or_else(|| "UTC".into())
    }

    /// The schema of unqualified names, if one was set.
    pub(crate) fn schema(&self) -> Option<&str> {
        let path = self.changed.get("search_path")?;
        path.split(',').map(|schema| schema.trim().trim_matches('"')).find(|schema| !schema.starts_with('$'))
    }

    /// A statement timeout within the server's limit; 0 asks for the limit itself.
    fn timeout(&self, value: &str) -> Result<Duration, SqlError> {
        let asked = duration::parse_us_or_number(value, MILLISECOND_US);
        match asked.map_err(|_| invalid("statement_timeout", value, TIMEOUT_HINT))? {
            0 => Ok(self.longest_timeout),
            // A fraction of a millisecond is not rounded to 0, which would mean no limit.
            us => Ok(duration::from_us(us.max(MILLISECOND_US)).min(self.longest_timeout)),
        }
    }
}

const TIMEOUT_HINT: &str = "give milliseconds, or a number with a unit: 500ms, 30s, 5min";

pub(crate) const ZONE_HINT: &str = "give a name as in the tz database (America/New_York) or an offset (+02:00)";

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

/// The value to keep. Results are always text as PostgreSQL writes it, so other formats are refused.
fn check_value(lower: &str, value: &str) -> Result<String, SqlError> {
    match lower {
        "client_encoding" => {
            let known = ["utf8", "utf-8", "unicode"].iter().any(|name| value.eq_ignore_ascii_case(name));
            known.then(|| "UTF8".into()).ok_or_else(|| invalid("client_encoding", value, "only UTF8 is supported"))
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
            Err(invalid("standard_conforming_strings", value, "a backslash is an ordinary character here"))
        }
        "timezone" => {
            let zone = if ["gmt", "z"].iter().any(|name| value.eq_ignore_ascii_case(name)) { "UTC" } else { value };
            Tz::from_str(zone).map(|_| zone.to_owned()).map_err(|_| invalid("TimeZone", value, ZONE_HINT))
        }
        _ => Ok(value.to_owned()),
    }
}

pub(crate) fn invalid(name: &str, value: &str, hint: &str) -> SqlError {
    SqlError::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\"")).hint(hint)
}

fn unknown(name: &str) -> SqlError {
    let known = SETTABLE.iter().map(|(name, ..)| *name).chain(FIXED.iter().map(|(name, _)| *name));
    let error = SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""));
    match suggestions(name, known).first() {
        Some(name) => error.hint(format!("perhaps you meant {name}")),
        None => error.hint("SHOW ALL lists them"),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::set_statement::assignment;

    fn variables() -> Variables {
        Variables::new(Duration::from_secs(60))
    }

    fn set(variables: &mut Variables, sql: &str) -> Result<Option<ParameterValue>, SqlError> {
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
            ("SET statement_timeout = '0.5 min'", 30_000),
            ("SET statement_timeout = '1m'", 60_000),
            ("SET statement_timeout = 0", 60_000),
        ] {
            set(&mut variables, sql).unwrap();
            assert_eq!(variables.statement_timeout, Duration::from_millis(ms), "{sql}");
        }
        assert_eq!(set(&mut variables, "SET statement_timeout = '1 fortnight'").unwrap_err().code, "22023");
    }

    #[test]
    fn a_zone_is_validated_and_reported() {
        let mut variables = variables();
        let reported = set(&mut variables, "SET TIME ZONE 'America/New_York'").unwrap();
        assert_eq!(reported, Some(("TimeZone", "America/New_York".into())));
        assert_eq!(set(&mut variables, "SET timezone = 'Mars/Olympus'").unwrap_err().code, "22023");
        assert_eq!(variables.zone(), "America/New_York");
        set(&mut variables, "SET timezone TO DEFAULT").unwrap();
        assert_eq!(variables.zone(), "UTC");
    }

    #[test]
    fn a_connection_cannot_change_the_server_s_settings() {
        let mut variables = variables();
        for sql in ["SET datafusion.execution.batch_size = 1", "SET transaction_read_only = off", "SET ROLE root"] {
            assert_eq!(set(&mut variables, sql).unwrap_err().code, "25006", "{sql}");
        }
        assert_eq!(set(&mut variables, "SET transaction_read_only = true"), Ok(None));
    }

    #[test]
    fn an_unknown_name_is_refused_with_a_suggestion() {
        let error = set(&mut variables(), "SET statment_timeout = 1").unwrap_err();
        assert_eq!((error.code, error.hint.unwrap().as_str()), ("42704", "perhaps you meant statement_timeout"));
    }

    #[test]
    fn a_search_path_names_its_first_schema() {
        let mut variables = variables();
        set(&mut variables, "SET search_path TO \"$user\", _turnstile, public").unwrap();
        assert_eq!(variables.schema(), Some("_turnstile"));
    }
}
