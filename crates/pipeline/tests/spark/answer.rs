//! One value of one row, in a form that both engines' values have.

use std::fmt;
use std::sync::LazyLock;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type};
use arrow::datatypes::{TimeUnit, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use regex::{Captures, Regex};

/// What an expression came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Error,
    Null,
    Boolean(bool),
    /// A whole number or a decimal, by its text.
    Exact(String),
    Double(Double),
    Text(String),
    /// Days since 1970-01-01.
    Date(i64),
    /// Microseconds since the epoch.
    Instant(i64),
}

/// A double that equals itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Double(pub(crate) f64);

impl PartialEq for Double {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits() || self.0.is_nan() && other.0.is_nan()
    }
}

impl Answer {
    /// The value of the first row.
    pub(crate) fn of_array(array: &ArrayRef) -> Self {
        if array.is_null(0) || array.data_type().is_null() {
            return Self::Null;
        }
        match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean().value(0)),
            DataType::Int32 => Self::exact(&array.as_primitive::<Int32Type>().value(0).to_string()),
            DataType::Int64 => Self::exact(&array.as_primitive::<Int64Type>().value(0).to_string()),
            DataType::Decimal128(..) => Self::exact(&array.as_primitive::<Decimal128Type>().value_as_string(0)),
            DataType::Float64 => Self::Double(Double(array.as_primitive::<Float64Type>().value(0))),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().value(0).into()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Instant(array.as_primitive::<TimestampMicrosecondType>().value(0))
            }
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
                Self::Text(array_value_to_string(array, 0).unwrap())
            }
            other => Self::Text(format!("a value of type {other}")),
        }
    }

    /// What `answers.py` wrote of one value: a letter for the kind, then the value.
    pub(crate) fn parse(text: &str) -> Self {
        let (kind, value) = text.split_at(1);
        match kind {
            "!" => Self::Error,
            "-" => Self::Null,
            "b" => Self::Boolean(value == "true"),
            "n" => Self::exact(value),
            "d" => Self::Double(Double(value.parse().unwrap())),
            "s" => Self::Text(value.to_owned()),
            "a" => Self::Date(value.parse().unwrap()),
            "t" => Self::Instant(value.parse().unwrap()),
            other => panic!("an answer of kind {other}"),
        }
    }

    /// A number without the zeros that only its type writes.
    fn exact(text: &str) -> Self {
        let plain = match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.'),
            false => text,
        };
        Self::Exact(if plain == "-0" { "0" } else { plain }.to_owned())
    }

    /// Whether both are one number, whatever their types.
    pub(crate) fn is_same_number(&self, other: &Self) -> bool {
        match (self.number(), other.number()) {
            (Some(a), Some(b)) => a == b || a.is_nan() && b.is_nan(),
            _ => false,
        }
    }

    /// Whether both are one text, but for the digits of the doubles in it.
    pub(crate) fn is_same_double(&self, other: &Self) -> bool {
        static DOUBLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[0-9]+\.[0-9]+(E-?[0-9]+)?").unwrap());
        let shortest = |answer: &Self| match answer {
            Self::Text(text) => {
                let short = |found: &Captures<'_>| format!("{:e}", found[0].parse::<f64>().unwrap());
                Some(DOUBLE.replace_all(text, short).into_owned())
            }
            _ => None,
        };
        shortest(self).is_some() && shortest(self) == shortest(other)
    }

    /// Whether both are one number but for this part of it.
    pub(crate) fn is_within(&self, other: &Self, part: f64) -> bool {
        match (self.number(), other.number()) {
            (Some(a), Some(b)) => self.is_same_number(other) || (a - b).abs() <= a.abs().max(b.abs()) * part,
            _ => false,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Exact(text) => text.parse().ok(),
            Self::Double(number) => Some(number.0),
            _ => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("an error"),
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Exact(text) => f.write_str(text),
            Self::Double(number) => write!(f, "{:?}", number.0),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Date(days) => write!(f, "day {days}"),
            Self::Instant(us) => write!(f, "instant {us}"),
        }
    }
}
