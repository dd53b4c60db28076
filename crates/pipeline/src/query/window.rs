//! `window(ts, size[, slide[, start]])`: the one thing that every query groups by.

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned, Value};
use turnstile_values::{duration, human, suggest};

use super::text::SqlText;
use crate::file::Fault;

/// Windows that one row may be in: a day by minutes.
const MAX_WINDOWS: i64 = 1_440;

/// Windows `[start, start + size)`, one beginning at every `offset + n * slide` from the epoch (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowSpec {
    /// Length in microseconds, above 0.
    pub size_us: i64,
    /// From one start to the next in microseconds: above 0, at most the size. Equal to it: the windows
    /// tumble; below it they overlap.
    pub slide_us: i64,
    /// Shift of the starts from the epoch in microseconds, at least 0 and below the slide.
    pub offset_us: i64,
}

impl WindowSpec {
    /// The number of the last window that ends at or before an instant; the first one after the epoch is 0.
    pub fn ends_by(&self, instant_us: i64) -> i64 {
        instant_us.saturating_sub(self.offset_us + self.size_us).div_euclid(self.slide_us)
    }

    /// Where the last window begins that an event belongs to, microseconds since the epoch.
    pub fn last_start_us(&self, event_us: i64) -> i64 {
        (event_us - self.offset_us).div_euclid(self.slide_us) * self.slide_us + self.offset_us
    }

    /// Where that window ends.
    pub fn last_end_us(&self, event_us: i64) -> i64 {
        self.last_start_us(event_us) + self.size_us
    }
}

/// The call of `window`, if `expr` is one.
pub(crate) fn call(expr: &Expr) -> Option<&Function> {
    match expr {
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("window") => Some(function),
        Expr::Nested(inner) => call(inner),
        _ => None,
    }
}

/// Reads the arguments of a call; `event_time` is the column that it must be over.
pub(crate) fn read(
    text: &SqlText,
    function: &Function,
    event_time: &str,
    qualifier: &str,
) -> Result<WindowSpec, Fault> {
    let place = function.name.span();
    let form = "write window(timestamp, 'size'[, 'slide'[, 'start']])";
    let list = match &function.args {
        FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => &list.args,
        _ => return Err(text.fault(place, "window needs arguments").hint(form)),
    };
    if function.over.is_some() || function.filter.is_some() {
        return Err(text.fault(place, "window takes neither OVER nor FILTER").hint(form));
    }
    let mut args = Vec::new();
    for arg in list {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(expr),
            other => return Err(text.fault(other.span(), format!("window cannot take \"{other}\"")).hint(form)),
        }
    }
    let (time, size, slide, start) = match args.as_slice() {
        [time, size] => (time, size, None, None),
        [time, size, slide] => (time, size, Some(slide), None),
        [time, size, slide, start] => (time, size, Some(slide), Some(start)),
        _ => return Err(text.fault(place, format!("window takes 2 to 4 arguments, not {}", args.len())).hint(form)),
    };
    let column = match time {
        Expr::Identifier(ident) => Some(&ident.value),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, column] if table.value.eq_ignore_ascii_case(qualifier) => Some(&column.value),
            _ => None,
        },
        _ => None,
    };
    if !column.is_some_and(|column| column.eq_ignore_ascii_case(event_time)) {
        let message = format!("window must be over the event time \"{event_time}\", not \"{time}\"");
        return Err(text.fault(time.span(), message).hint("[stream] event_time names the column"));
    }
    let size_us = positive(text, size, "size")?;
    let slide_us = slide.map_or(Ok(size_us), |slide| positive(text, slide, "slide"))?;
    if slide_us > size_us {
        let message = format!(
            "the window's slide ({}) is longer than its size ({}): rows between windows would be lost",
            human::duration(slide_us),
            human::duration(size_us)
        );
        return Err(text.fault(slide.map_or(place, |slide| slide.span()), message));
    }
    if size_us / slide_us > MAX_WINDOWS {
        let message =
            format!("every row would be in {} windows; more than {MAX_WINDOWS} are not supported", size_us / slide_us);
        return Err(text.fault(slide.map_or(place, |slide| slide.span()), message));
    }
    let start_us = start.map_or(Ok(0), |start| interval(text, start))?;
    if start_us.unsigned_abs() >= slide_us.unsigned_abs() {
        let message = "the window's start must be shorter than its slide, as Spark requires";
        return Err(text.fault(start.map_or(place, |start| start.span()), message));
    }
    Ok(WindowSpec { size_us, slide_us, offset_us: start_us.rem_euclid(slide_us) })
}

fn positive(text: &SqlText, expr: &Expr, what: &str) -> Result<i64, Fault> {
    match interval(text, expr)? {
        us if us > 0 => Ok(us),
        _ => Err(text.fault(expr.span(), format!("the window's {what} must be greater than zero"))),
    }
}

fn interval(text: &SqlText, expr: &Expr) -> Result<i64, Fault> {
    let literal = match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(literal) | Value::DoubleQuotedString(literal) => Some(literal),
            _ => None,
        },
        _ => None,
    };
    let Some(literal) = literal else {
        let message = format!("a window's interval must be a string, not \"{expr}\"");
        return Err(text.fault(expr.span(), message).hint("write '5 minutes'"));
    };
    duration::parse_spark_us(literal).map_err(|error| {
        let words = ["microseconds", "milliseconds", "seconds", "minutes", "hours", "days", "weeks"];
        let word = literal.split_whitespace().last().unwrap_or_default();
        text.fault(expr.span(), "the interval").caused_by(error).hint(suggest(word, words))
    })
}
