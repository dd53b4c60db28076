//! The SELECT that looks for rows for which a check does not hold.

use std::ops::RangeInclusive;

use chrono::DateTime;

use super::check::Check;
use super::definition::Model;

impl Check {
    /// A SELECT with two columns: how many rows it does not hold for, and one of them as text. `external` is the name
    /// of the external table.
    pub(crate) fn sql(&self, model: &Model, external: &str) -> String {
        self.sql_over(model, &model.name, external)
    }

    /// The same for the model's rows in `table`.
    pub(crate) fn sql_over(&self, model: &Model, table: &str, external: &str) -> String {
        self.sql_of(model, &quote(table), external)
    }

    /// The same for a model's whole table, when the external table has lost the windows that start within `deleted`,
    /// microseconds since the epoch, UTC: facts of them have nothing to be compared with.
    pub(crate) fn sql_without(&self, model: &Model, external: &str, deleted: &[RangeInclusive<i64>]) -> String {
        let (Self::Conservation(_), Some(window), false) = (self, &model.window, deleted.is_empty()) else {
            return self.sql(model, external);
        };
        let instant = |us: &i64| DateTime::from_timestamp_micros(*us).unwrap_or_default().to_rfc3339();
        let within = deleted.iter().map(|range| {
            format!("{} BETWEEN '{}' AND '{}'", quote(window), instant(range.start()), instant(range.end()))
        });
        let within = within.collect::<Vec<_>>().join(" OR ");
        self.sql_of(model, &format!("(SELECT * FROM {} WHERE NOT ({within}))", quote(&model.name)), external)
    }

    /// `table` is SQL, as is what stands for it.
    fn sql_of(&self, model: &Model, table: &str, external: &str) -> String {
        match self {
            Self::Unique(columns) => {
                let columns = columns.iter().map(|c| quote(c)).collect::<Vec<_>>();
                let (list, text) = (columns.join(", "), as_text(&columns));
                format!(
                    "SELECT count(*), min(example) FROM (SELECT {text} AS example FROM {table} GROUP BY {list} HAVING count(*) > 1)"
                )
            }
            Self::NotNull(column) => {
                let keys: Vec<String> = model.key.iter().filter(|k| *k != column).map(|k| quote(k)).collect();
                let text = if keys.is_empty() { "'a row'".to_owned() } else { as_text(&keys) };
                format!("SELECT count(*), min({text}) FROM {table} WHERE {} IS NULL", quote(column))
            }
            Self::Relationship { column, table: to, other } => {
                let (column, other) = (quote(column), quote(other));
                format!(
                    "SELECT count(*), min(CAST(t.{column} AS text)) FROM {table} t \
                     WHERE t.{column} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {} o WHERE o.{other} = t.{column})",
                    quoted(to)
                )
            }
            Self::Accepted { column, values } => {
                let list = values.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect::<Vec<_>>().join(", ");
                let text = format!("CAST({} AS text)", quote(column));
                format!("SELECT count(*), min({text}) FROM {table} WHERE {text} NOT IN ({list})")
            }
            Self::Conservation(columns) => {
                let sums = |from: &str| {
                    let sums = columns.iter().map(|c| format!("coalesce(sum({0}), 0) AS {0}", quote(c)));
                    format!("(SELECT {} FROM {from})", sums.collect::<Vec<_>>().join(", "))
                };
                let differ =
                    columns.iter().map(|c| format!("m.{0} <> e.{0}", quote(c))).collect::<Vec<_>>().join(" OR ");
                let each = columns
                    .iter()
                    .map(|c| format!("'{c} ', CAST(m.{0} AS text), ' of ', CAST(e.{0} AS text)", quote(c)));
                let text = each.collect::<Vec<_>>().join(", ', ', ");
                format!(
                    "SELECT count(*), min(concat({text})) FROM {} m CROSS JOIN {} e WHERE {differ}",
                    sums(table),
                    sums(external)
                )
            }
        }
    }
}

/// A table's name, which may have its schema before it.
fn quoted(name: &str) -> String {
    name.split('.').map(quote).collect::<Vec<_>>().join(".")
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn as_text(columns: &[String]) -> String {
    let parts: Vec<String> = columns.iter().map(|column| format!("CAST({column} AS text)")).collect();
    format!("concat({})", parts.join(", ' ', "))
}
