//! The rows that every expression is asked over: edge values of each type, side by side in many combinations.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringViewArray};

/// West of Greenwich with clock changes; east of it, half an hour off, without.
pub(crate) const ZONES: [&str; 2] = ["America/New_York", "Asia/Kolkata"];

/// Columns in the order of the schema.
pub(crate) const COLUMNS: [(&str, Kind); 11] = [
    ("S", Kind::Text),
    ("U", Kind::Text),
    ("I", Kind::Int),
    ("J", Kind::Int),
    ("L", Kind::Long),
    ("M", Kind::Long),
    ("D", Kind::Double),
    ("E", Kind::Double),
    ("B", Kind::Boolean),
    ("T", Kind::Instant),
    ("V", Kind::Instant),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    Long,
    Double,
    Boolean,
    Instant,
}

const TEXTS: [Option<&str>; 31] = [
    Some("Test Station"),
    None,
    Some(""),
    Some(" "),
    Some("007"),
    Some(" 7 "),
    Some("+9"),
    Some("-0"),
    Some("1.5"),
    Some("1e3"),
    Some("1.255"),
    Some("2147483648"),
    Some("9223372036854775808"),
    Some("true"),
    Some("No"),
    Some("NaN"),
    Some("Infinity"),
    Some("-inf"),
    Some("2023-09-22"),
    Some("2023-09-22 14:05:09.5"),
    Some("2024-03-10 02:30:00"),
    Some("2023-11-05 01:30:00"),
    Some("2023-09-22T14:05:09Z"),
    Some("2023-9-2 1:5"),
    Some("Ménilmontant"),
    Some("日本語"),
    Some("aXbXc"),
    Some("%_x"),
    Some("\t7\n"),
    Some("1969"),
    Some("x"),
];
const INTS: [Option<i32>; 11] = [
    Some(7),
    None,
    Some(0),
    Some(1),
    Some(-1),
    Some(2),
    Some(100),
    Some(-45),
    Some(i32::MAX),
    Some(i32::MIN),
    Some(1234),
];
const LONGS: [Option<i64>; 11] = [
    Some(-9_000_000_000),
    Some(3),
    None,
    Some(0),
    Some(1),
    Some(-1),
    Some(i64::MAX),
    Some(i64::MIN),
    Some(9_007_199_254_740_993),
    Some(12_345_678_901),
    Some(60),
];
const DOUBLES: [Option<f64>; 29] = [
    Some(2.5),
    None,
    Some(0.0),
    Some(-0.0),
    Some(0.5),
    Some(1.5),
    Some(-2.5),
    Some(1.005),
    Some(0.285),
    Some(1.255),
    Some(-1.255),
    Some(f64::NAN),
    Some(f64::INFINITY),
    Some(f64::NEG_INFINITY),
    Some(5e-324),
    Some(f64::MAX),
    Some(f64::MIN),
    Some(1e10),
    Some(123_456_789.125),
    Some(0.1),
    Some(-0.000_4),
    Some(1e20),
    Some(-1.0),
    Some(9.995),
    Some(2_147_483_647.9),
    Some(-2_147_483_648.9),
    Some(9_223_372_036_854_775_807.0),
    Some(1e-7),
    Some(4.0),
];
const BOOLEANS: [Option<bool>; 3] = [Some(true), Some(false), None];
/// Microseconds since the epoch.
const INSTANTS: [Option<i64>; 23] = [
    // 2023-09-22 14:05:09.12 in New York.
    Some(1_695_405_909_120_000),
    None,
    Some(0),
    Some(-1),
    Some(-1_500_000),
    // The hours around both changes of New York's clock.
    Some(1_699_162_200_000_000),
    Some(1_699_165_800_000_000),
    Some(1_699_169_400_000_000),
    Some(1_710_052_200_000_000),
    Some(1_710_055_800_000_000),
    // Ends of a day in New York, in Kolkata and in UTC.
    Some(1_735_534_799_999_999),
    Some(1_735_534_800_000_000),
    Some(1_735_583_400_000_000),
    Some(1_735_603_200_000_000),
    // A leap day; a day of week 53; the last day of a year of which week 1 is the next one's.
    Some(1_709_208_000_123_456),
    Some(1_609_675_200_000_000),
    Some(1_735_646_400_000_000),
    // 1900, before time zones had whole minutes; 1883, in the year of railway time; 2100, no leap year.
    Some(-2_208_988_800_000_000),
    Some(-2_717_640_000_000_000),
    Some(4_107_542_400_000_000),
    // The first year of the schema's timestamps, and the last before clock changes are unknown.
    Some(-62_135_510_400_000_000),
    Some(4_102_358_400_000_000),
    Some(1_000_000),
];

/// As many as combine every value of a column with several of each other.
pub(crate) const ROWS: usize = 62;

/// The columns of all rows.
pub(crate) struct Rows {
    pub(crate) zone: &'static str,
}

fn pick<T: Copy>(values: &[T], row: usize, stride: usize) -> T {
    values[row * stride % values.len()]
}

impl Rows {
    pub(crate) fn new(zone: &'static str) -> Self {
        Self { zone }
    }

    /// How many of the rows have all values of `sql`'s columns, in combinations.
    pub(crate) fn needed(&self, sql: &str) -> usize {
        let used = used(sql);
        match used.as_slice() {
            [] => 1,
            [one] => match COLUMNS[*one].1 {
                Kind::Text => TEXTS.len(),
                Kind::Int => INTS.len(),
                Kind::Long => LONGS.len(),
                Kind::Double => DOUBLES.len(),
                Kind::Boolean => BOOLEANS.len(),
                Kind::Instant => INSTANTS.len(),
            },
            _ => ROWS,
        }
    }

    fn text(&self, column: &str, row: usize) -> Option<&'static str> {
        if column == "S" { pick(&TEXTS, row, 1) } else { pick(&TEXTS, row + 3, 5) }
    }

    fn int(&self, column: &str, row: usize) -> Option<i32> {
        if column == "I" { pick(&INTS, row, 1) } else { pick(&INTS, row + row / 11, 3) }
    }

    fn long(&self, column: &str, row: usize) -> Option<i64> {
        if column == "L" { pick(&LONGS, row, 1) } else { pick(&LONGS, row + row / 11, 4) }
    }

    fn double(&self, column: &str, row: usize) -> Option<f64> {
        if column == "D" { pick(&DOUBLES, row, 1) } else { pick(&DOUBLES, row + 2, 8) }
    }

    fn instant(&self, column: &str, row: usize) -> Option<i64> {
        // The event time is never null.
        if column == "T" {
            Some(pick(&INSTANTS, row, 1).unwrap_or(86_399_999_999))
        } else {
            pick(&INSTANTS, row + 1, 7)
        }
    }

    /// A column's values of the rows `from..to`.
    pub(crate) fn array(&self, column: usize, rows: &[usize]) -> ArrayRef {
        let (name, kind) = COLUMNS[column];
        let rows = rows.iter().copied();
        match kind {
            Kind::Text => Arc::new(rows.map(|row| self.text(name, row)).collect::<StringViewArray>()),
            Kind::Int => Arc::new(rows.map(|row| self.int(name, row)).collect::<Int32Array>()),
            Kind::Long => Arc::new(rows.map(|row| self.long(name, row)).collect::<Int64Array>()),
            Kind::Double => Arc::new(rows.map(|row| self.double(name, row)).collect::<Float64Array>()),
            Kind::Boolean => Arc::new(rows.map(|row| pick(&BOOLEANS, row, 1)).collect::<BooleanArray>()),
            Kind::Instant => {
                let instants: TimestampMicrosecondArray = rows.map(|row| self.instant(name, row)).collect();
                Arc::new(instants.with_timezone(self.zone))
            }
        }
    }

    /// One value as a constant in SQL, for Spark (`exact`) or for a query.
    fn constant(&self, column: usize, row: usize, exact: bool) -> String {
        let (name, kind) = COLUMNS[column];
        let type_name = ["string", "int", "bigint", "double", "boolean", "timestamp"][kind as usize];
        let null = || format!("CAST(NULL AS {type_name})");
        match kind {
            Kind::Text => self.text(name, row).map_or_else(null, |text| {
                let escaped = text.replace('\t', "\\t").replace('\n', "\\n");
                format!("'{escaped}'")
            }),
            Kind::Int => self.int(name, row).map_or_else(null, |n| format!("CAST('{n}' AS int)")),
            Kind::Long => self.long(name, row).map_or_else(null, |n| format!("CAST('{n}' AS bigint)")),
            Kind::Double => self.double(name, row).map_or_else(null, |n| format!("CAST('{n:e}' AS double)")),
            Kind::Boolean => pick(&BOOLEANS, row, 1).map_or_else(null, |b| b.to_string()),
            Kind::Instant => self.instant(name, row).map_or_else(null, |us| {
                if exact {
                    return format!("timestamp_micros({us})");
                }
                let (days, rest) = (us.div_euclid(86_400_000_000), us.rem_euclid(86_400_000_000));
                let date = chrono::NaiveDate::from_num_days_from_ce_opt((days + 719_163) as i32).unwrap();
                let (secs, micros) = (rest / 1_000_000, rest % 1_000_000);
                let clock = format!("{:02}:{:02}:{:02}.{micros:06}", secs / 3_600, secs / 60 % 60, secs % 60);
                format!("TIMESTAMP '{} {clock}Z'", date.format("%Y-%m-%d"))
            }),
        }
    }

    /// The rows as an inline table of Spark SQL, with their numbers as `id`.
    pub(crate) fn table(&self) -> String {
        let row = |row| {
            let values = (0..COLUMNS.len()).map(|column| self.constant(column, row, true)).collect::<Vec<_>>();
            format!("({row}, {})", values.join(", "))
        };
        let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        let rows: Vec<String> = (0..ROWS).map(row).collect();
        format!("VALUES {} AS rows(id, {})", rows.join(", "), names.join(", "))
    }

    /// `sql` with the row's constants in place of columns.
    pub(crate) fn with_constants(&self, row: usize, sql: &str) -> String {
        replaced(sql, |column| self.constant(column, row, false))
    }

    /// The row's values of the columns in `sql`.
    pub(crate) fn shown(&self, row: usize, sql: &str) -> String {
        let used = used(sql).into_iter();
        used.map(|column| format!("{} {}", COLUMNS[column].0, self.constant(column, row, false)))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The columns in `sql`, ascending.
fn used(sql: &str) -> Vec<usize> {
    let mut found = BTreeSet::new();
    replaced(sql, |column| {
        found.insert(column);
        String::new()
    });
    found.into_iter().collect()
}

/// Whether the zone has a say in what `sql` is.
pub(crate) fn is_of_time(sql: &str) -> bool {
    let words = ["date", "timestamp", "DATE", "TIMESTAMP"];
    words.iter().any(|word| sql.contains(word)) || used(sql).iter().any(|column| COLUMNS[*column].1 == Kind::Instant)
}

/// `sql` with `by` in place of each column, which is a word of one letter outside quotes.
fn replaced(sql: &str, mut by: impl FnMut(usize) -> String) -> String {
    let (mut out, mut word, mut quoted) = (String::new(), String::new(), false);
    for c in sql.chars().chain([' ']) {
        if !quoted && (c.is_ascii_alphanumeric() || c == '_') {
            word.push(c);
            continue;
        }
        match COLUMNS.iter().position(|(name, _)| *name == word) {
            Some(column) => out.push_str(&by(column)),
            None => out.push_str(&word),
        }
        word.clear();
        quoted ^= c == '\'';
        out.push(c);
    }
    out.pop();
    out
}
