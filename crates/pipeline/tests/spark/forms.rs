//! What is compared: the dialect's operators, casts, functions and aggregates as forms whose places are filled.
//!
//! A place is a letter in braces: `s` text, `i` int, `l` bigint, `d` double, `b` boolean, `t` timestamp, `a` date, `n` a number
//! of any type, `x` a value of any type, `k` a small constant. What is filled in at `n` and `x` is of one type within a form.

use crate::Case;
use crate::answer::Answer;

/// A form, what it gives, and what its results may differ in.
pub(crate) struct Form {
    pub(crate) sql: &'static str,
    /// A letter as of a place.
    pub(crate) gives: char,
    pub(crate) allowed: Allowed,
}

/// A difference that docs/sql.md names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    Nothing,
    /// One number, of another type.
    Type,
    /// The last bits of a double, and its type.
    LastBits,
    /// Six digits of what lies between two values.
    Interpolated,
    /// Null where Spark has an error.
    NullForError,
    /// An error where one operand fails and the other is null: Spark does not look at the second operand then.
    ErrorForNull,
    /// What comes of [`Allowed::ErrorForNull`] within other forms: an error, which no reader overlooks; either zero; the text of
    /// a double, which Java before 19 writes with more digits than it needs.
    Errors,
    /// An error where Spark takes 2^63 for the largest bigint.
    ErrorForLimit,
    /// What docs/sql.md says of regular expressions, and of names of zones and days: nothing is compared but that it runs.
    Unlike,
}

impl Allowed {
    /// What may differ where the query that is sent to Spark says it in other words.
    pub(crate) fn once_rewritten(self, sql: &str) -> Self {
        let estimated = ["percentile", "approx_"].iter().any(|name| sql.contains(name));
        match self {
            Self::NullForError | Self::Type => Self::Nothing,
            Self::Unlike if !estimated => Self::Nothing,
            other => other,
        }
    }

    /// Whether `ours` is what it should be, beside `spark`'s.
    pub(crate) fn same(self, ours: &Answer, spark: &Answer) -> bool {
        ours == spark
            || match self {
                Self::Nothing => false,
                Self::Type => ours.is_same_number(spark),
                Self::LastBits => ours.is_within(spark, 1e-12),
                Self::Interpolated => ours.is_within(spark, 1e-5),
                Self::NullForError => (ours, spark) == (&Answer::Null, &Answer::Error),
                Self::ErrorForNull => (ours, spark) == (&Answer::Error, &Answer::Null),
                Self::Errors => *ours == Answer::Error || ours.is_same_number(spark) || ours.is_same_double(spark),
                Self::ErrorForLimit => {
                    *ours == Answer::Error && *spark == Answer::Exact("9223372036854775807".to_owned())
                }
                Self::Unlike => *ours != Answer::Error,
            }
    }
}

const fn form(sql: &'static str, gives: char) -> Form {
    Form { sql, gives, allowed: Allowed::Nothing }
}

const fn unlike(sql: &'static str, gives: char, allowed: Allowed) -> Form {
    Form { sql, gives, allowed }
}

/// The columns that fill a place, in the order of their use.
pub(crate) fn columns(place: char) -> &'static [&'static str] {
    match place {
        's' => &["S", "U"],
        'i' => &["I", "J"],
        'l' => &["L", "M"],
        'd' => &["D", "E"],
        'b' => &["B", "B"],
        't' => &["T", "V"],
        'a' => &["to_date(V)", "to_date(T)"],
        'k' => &["2", "5", "-3", "0", "1"],
        other => panic!("a place {other}"),
    }
}

/// The places of `sql` and the text around them, in order.
pub(crate) fn filled(sql: &str, mut by: impl FnMut(char) -> String) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}').unwrap();
        out.push_str(before);
        out.push_str(&by(place.chars().next().unwrap()));
        rest = after;
    }
    out + rest
}

/// The names of functions that `sql` calls.
pub(crate) fn calls(sql: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in sql.match_indices('(') {
        let word = sql[..at].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |start| start + 1);
        let word = &sql[word..at];
        if !["", "decimal"].contains(&word)
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            found.push(word);
        }
    }
    found
}

impl Form {
    /// The form with columns in its places: each type that it takes, and the columns in two orders.
    pub(crate) fn cases(&self) -> impl Iterator<Item = Case> + '_ {
        let any: &[char] = match self.sql {
            sql if sql.contains("{x}") => &['s', 'i', 'l', 'd', 'b', 't', 'a'],
            sql if sql.contains("{n}") => &['i', 'l', 'd'],
            _ => &['x'],
        };
        any.iter().flat_map(move |any| {
            let turns = if self.sql.matches('{').count() > 1 { 2 } else { 1 };
            (0..turns).map(move |turn| {
                let mut used = [0; 128];
                let sql = filled(self.sql, |place| {
                    let place = if matches!(place, 'x' | 'n') { *any } else { place };
                    let columns = columns(place);
                    let at = used[place as usize] + turn;
                    used[place as usize] += 1;
                    columns[at % columns.len()].to_owned()
                });
                Case { sql, allowed: self.allowed }
            })
        })
    }
}

use Allowed::{ErrorForLimit, ErrorForNull, Interpolated, LastBits, NullForError, Type, Unlike};

pub(crate) const SCALARS: &[Form] = &[
    // Comparisons, of one type and across types.
    form("{x} = {x}", 'b'),
    form("{x} <> {x}", 'b'),
    form("{x} < {x}", 'b'),
    form("{x} <= {x}", 'b'),
    form("{x} > {x}", 'b'),
    form("{x} >= {x}", 'b'),
    form("{x} <=> {x}", 'b'),
    form("{x} IS DISTINCT FROM {x}", 'b'),
    form("{x} IS NOT DISTINCT FROM {x}", 'b'),
    form("{x} IS NULL", 'b'),
    form("{x} IS NOT NULL", 'b'),
    form("{x} IN ({x}, {x})", 'b'),
    form("{x} NOT IN ({x}, NULL)", 'b'),
    form("I IN (CASE WHEN B THEN J WHEN J > 0 THEN I END, CASE WHEN B THEN I WHEN J < 0 THEN J END)", 'b'),
    form("S NOT IN (CASE WHEN B THEN S WHEN J > 0 THEN U END, CASE WHEN B THEN U WHEN J < 0 THEN S END)", 'b'),
    form("{x} BETWEEN {x} AND {x}", 'b'),
    form("{x} NOT BETWEEN {x} AND {x}", 'b'),
    form("{i} = {l}", 'b'),
    form("{i} < {d}", 'b'),
    form("{l} = {d}", 'b'),
    form("{l} >= {d}", 'b'),
    unlike("{i} = {s}", 'b', ErrorForNull),
    unlike("{s} < {l}", 'b', ErrorForNull),
    unlike("{d} > {s}", 'b', ErrorForNull),
    unlike("{s} = {b}", 'b', ErrorForNull),
    unlike("{t} >= {s}", 'b', ErrorForNull),
    unlike("{s} = {a}", 'b', ErrorForNull),
    form("{t} > {a}", 'b'),
    form("{a} = {t}", 'b'),
    form("{t} BETWEEN {a} AND {t}", 'b'),
    unlike("{t} BETWEEN {s} AND {t}", 'b', ErrorForNull),
    form("{a} IN ({t}, {a})", 'b'),
    form("{t} IN ({a}, {t})", 'b'),
    form("{i} IN ({l}, {d})", 'b'),
    unlike("{i} IN ({s}, {i})", 'b', ErrorForNull),
    form("{t} >= DATE '2024-12-30'", 'b'),
    form("{t} < '2024-03-10'", 'b'),
    form("{t} = TIMESTAMP '2023-11-05 01:30:00'", 'b'),
    form("{t} > TIMESTAMP '2024-03-10 02:30:00'", 'b'),
    // Logic.
    form("{b} AND {b}", 'b'),
    form("{b} OR {b}", 'b'),
    form("NOT {b}", 'b'),
    form("{b} IS TRUE", 'b'),
    form("{b} IS NOT TRUE", 'b'),
    form("{b} IS FALSE", 'b'),
    form("{b} IS NOT FALSE", 'b'),
    form("{i} > 0 AND {d} < 1e0", 'b'),
    form("{i} > 0 OR {s} = 'x'", 'b'),
    // Arithmetic.
    form("{n} + {n}", 'n'),
    form("{n} - {n}", 'n'),
    form("{n} * {n}", 'n'),
    form("-{n}", 'n'),
    form("{i} + {l}", 'l'),
    form("{i} - {d}", 'd'),
    form("{l} * {d}", 'd'),
    form("{i} + 1", 'i'),
    form("{l} - 1", 'l'),
    unlike("{s} + {i}", 'l', ErrorForNull),
    unlike("{s} * {d}", 'd', ErrorForNull),
    form("{n} / nullif({n}, 0)", 'd'),
    form("{n} % nullif({n}, 0)", 'n'),
    form("mod({n}, nullif({n}, 0))", 'n'),
    unlike("{n} / {n}", 'd', NullForError),
    unlike("{n} % {n}", 'n', NullForError),
    unlike("mod({n}, {n})", 'n', NullForError),
    form("try_divide({n}, {n})", 'd'),
    form("{t} + INTERVAL 90 MINUTES", 't'),
    form("{t} - INTERVAL 1 DAY", 't'),
    form("INTERVAL 5 SECONDS + {t}", 't'),
    form("{t} + INTERVAL 25 HOURS", 't'),
    form("{t} - INTERVAL 36 HOURS", 't'),
    form("{a} + INTERVAL 1 DAY", 'a'),
    form("{a} - INTERVAL 1 HOUR", 't'),
    form("unix_timestamp({t}) - unix_timestamp({t})", 'l'),
    // Text.
    form("{s} || {s}", 's'),
    form("{s} || {x}", 's'),
    form("concat({s}, '-', {x})", 's'),
    form("concat_ws('/', {s}, {x}, {s})", 's'),
    form("{s} LIKE '%t%'", 'b'),
    form("{s} LIKE '\\%\\_%'", 'b'),
    form("{s} NOT LIKE '_'", 'b'),
    form("{s} LIKE {s}", 'b'),
    form("{s} ILIKE 'TEST%'", 'b'),
    form("{s} RLIKE '^[0-9]+$'", 'b'),
    form("regexp_like({s}, '[a-z]+X')", 'b'),
    form("regexp({s}, 'é|本')", 'b'),
    form("rlike({s}, ' ')", 'b'),
    form("upper({s})", 's'),
    form("ucase({s})", 's'),
    form("lower({s})", 's'),
    form("lcase({s})", 's'),
    form("trim({s})", 's'),
    form("trim(BOTH 'T7' FROM {s})", 's'),
    form("trim(LEADING '0+' FROM {s})", 's'),
    form("trim(TRAILING 'n ' FROM {s})", 's'),
    form("btrim({s})", 's'),
    form("btrim({s}, 'x ')", 's'),
    form("ltrim({s})", 's'),
    form("rtrim({s})", 's'),
    form("substring({s}, {k})", 's'),
    form("substring({s}, {k}, {k})", 's'),
    form("substr({s}, {i}, 3)", 's'),
    form("substring({s}, {i}, {i})", 's'),
    form("substring({s} FROM 2 FOR 4)", 's'),
    form("left({s}, {k})", 's'),
    form("left({s}, {i})", 's'),
    form("right({s}, {k})", 's'),
    form("right({s}, {i})", 's'),
    form("right({s}, 0)", 's'),
    form("length({s})", 'i'),
    form("len({s})", 'i'),
    form("char_length({s})", 'i'),
    form("character_length({s})", 'i'),
    form("length({n})", 'i'),
    form("replace({s}, {s}, '$')", 's'),
    form("replace({s}, 'X', {s})", 's'),
    form("translate({s}, 'TeX7', 'ab')", 's'),
    form("translate({s}, {s}, '1')", 's'),
    form("split_part({s}, ' ', 1)", 's'),
    form("split_part({s}, 'X', {k})", 's'),
    form("split_part({s}, '', 1)", 's'),
    form("lpad({s}, 6, '*')", 's'),
    form("lpad({s}, {k}, 'ab')", 's'),
    form("lpad({s}, 9)", 's'),
    form("lpad({s}, 4, '')", 's'),
    form("rpad({s}, 6, '-+')", 's'),
    form("rpad({s}, {k})", 's'),
    form("repeat({s}, {k})", 's'),
    form("reverse({s})", 's'),
    form("startswith({s}, {s})", 'b'),
    form("startswith({s}, 'T')", 'b'),
    form("endswith({s}, '5')", 'b'),
    form("contains({s}, 'X')", 'b'),
    form("contains({s}, '')", 'b'),
    form("instr({s}, '本')", 'i'),
    form("instr({s}, '')", 'i'),
    form("instr({s}, {s})", 'i'),
    form("position('t' IN {s})", 'i'),
    form("position('X', {s}, 3)", 'i'),
    form("locate('X', {s})", 'i'),
    form("locate('X', {s}, {k})", 'i'),
    form("locate({s}, {s}, {i})", 'i'),
    // Conditions and nulls.
    form("if({b}, {x}, {x})", 'x'),
    form("if({i} > 1, {x}, NULL)", 'x'),
    form("if({b}, {i}, {d})", 'd'),
    form("if({b}, {t}, {a})", 't'),
    form("CASE WHEN {b} THEN {x} WHEN {i} > 0 THEN {x} END", 'x'),
    form("CASE {i} WHEN {i} THEN 'same' WHEN 7 THEN 'seven' ELSE {s} END", 's'),
    form("CASE WHEN {b} THEN {a} ELSE {t} END", 't'),
    form("CASE WHEN {b} THEN {i} WHEN {l} > 0 THEN {l} ELSE {d} END", 'd'),
    form("nullif({x}, {x})", 'x'),
    form("nullif({i}, {d})", 'i'),
    form("nullif({t}, {a})", 't'),
    form("coalesce({x}, {x})", 'x'),
    form("coalesce({i}, {l}, {d})", 'd'),
    form("coalesce({a}, {t})", 't'),
    form("nvl({x}, {x})", 'x'),
    form("nvl({l}, {i})", 'l'),
    form("ifnull({x}, {x})", 'x'),
    form("nvl2({s}, {x}, {x})", 'x'),
    form("isnull({x})", 'b'),
    form("isnotnull({x})", 'b'),
    unlike("greatest({x}, {x})", 'x', Type),
    form("greatest({i}, {d}, {l})", 'd'),
    form("greatest({a}, {t})", 't'),
    unlike("least({x}, {x})", 'x', Type),
    form("least({i}, {l})", 'l'),
    form("least({t}, {a})", 't'),
    // Numbers.
    form("abs({n})", 'n'),
    form("ceil({n})", 'l'),
    form("ceiling({d})", 'l'),
    form("floor({n})", 'l'),
    unlike("round({n})", 'd', Type),
    unlike("round({n}, 2)", 'd', Type),
    unlike("round({d}, {k})", 'd', Type),
    unlike("round({l}, -2)", 'd', Type),
    form("sqrt({d})", 'd'),
    form("sqrt({i})", 'd'),
    unlike("exp({d})", 'd', LastBits),
    unlike("power({d}, {i})", 'd', LastBits),
    unlike("pow({i}, {k})", 'd', LastBits),
    form("sign({n})", 'd'),
    form("signum({d})", 'd'),
    unlike("ln({n})", 'd', LastBits),
    unlike("log10({n})", 'd', LastBits),
    unlike("log2({n})", 'd', LastBits),
    // Time.
    form("date_format({t}, 'yyyy-MM-dd HH:mm:ss.SSSSSS')", 's'),
    form("date_format({t}, 'yy M d H h K k m s a Q D')", 's'),
    form("date_format({t}, 'MMM MMMM E EEEE')", 's'),
    form("date_format({t}, 'S SSS X XX XXX x xx xxx Z ZZZZZ VV')", 's'),
    form("date_format({t}, 'y L LL dd DDD qq kk KK hh')", 's'),
    form("date_format({a}, 'yyyy/MM/dd HH')", 's'),
    form("date_format({t}, \"yyyy-MM-dd'T'HH 'o''clock'\")", 's'),
    unlike("date_format({t}, 'z')", 's', Unlike),
    form("year({t})", 'i'),
    form("quarter({t})", 'i'),
    form("month({a})", 'i'),
    form("weekofyear({a})", 'i'),
    form("day({t})", 'i'),
    form("dayofmonth({a})", 'i'),
    form("dayofyear({t})", 'i'),
    form("extract(DOY FROM {t})", 'i'),
    form("dayofweek({t})", 'i'),
    form("weekday({a})", 'i'),
    form("hour({t})", 'i'),
    form("minute({t})", 'i'),
    form("second({t})", 'i'),
    form("extract(YEAR FROM {t})", 'i'),
    form("extract(WEEK FROM {t})", 'i'),
    form("extract(HOUR FROM {t})", 'i'),
    form("date_trunc('year', {t})", 't'),
    form("date_trunc('QUARTER', {t})", 't'),
    form("date_trunc('month', {a})", 't'),
    form("date_trunc('week', {t})", 't'),
    form("date_trunc('day', {t})", 't'),
    form("date_trunc('hour', {t})", 't'),
    form("date_trunc('minute', {t})", 't'),
    form("date_trunc('second', {t})", 't'),
    form("date_trunc('millisecond', {t})", 't'),
    form("date_trunc('microsecond', {t})", 't'),
    form("to_date({t})", 'a'),
    form("to_date({s})", 'a'),
    form("to_date({s}, 'yyyy-MM-dd')", 'a'),
    form("date({t})", 'a'),
    form("to_timestamp({s})", 't'),
    form("to_timestamp({a})", 't'),
    form("to_timestamp({s}, 'yyyy-MM-dd HH:mm:ss')", 't'),
    form("try_to_timestamp({s}, 'yyyy-MM-dd[ HH:mm:ss][.S]')", 't'),
    form("timestamp({s})", 't'),
    form("unix_timestamp({t})", 'l'),
    form("unix_timestamp({a})", 'l'),
    form("unix_timestamp({s}, 'yyyy-MM-dd HH:mm:ss')", 'l'),
    form("to_unix_timestamp({t})", 'l'),
    form("unix_seconds({t})", 'l'),
    // Casts.
    form("CAST({x} AS string)", 's'),
    form("CAST({n} AS int)", 'i'),
    unlike("CAST({n} AS bigint)", 'l', ErrorForLimit),
    form("CAST({n} AS double)", 'd'),
    form("CAST({n} AS boolean)", 'b'),
    form("CAST({n} AS decimal(10, 2))", 'n'),
    form("CAST({n} AS decimal(38, 6))", 'n'),
    form("CAST({s} AS int)", 'i'),
    form("CAST({s} AS bigint)", 'l'),
    form("CAST({s} AS double)", 'd'),
    form("CAST({s} AS decimal(12, 2))", 'n'),
    form("CAST({s} AS boolean)", 'b'),
    form("CAST({s} AS date)", 'a'),
    form("CAST({s} AS timestamp)", 't'),
    form("CAST(CAST({d} AS decimal(20, 3)) AS int) > 1", 'b'),
    form("CAST(CAST({d} AS decimal(20, 3)) AS decimal(12, 1)) = 1.3", 'b'),
    form("CAST({l} AS int) < 100", 'b'),
    form("CAST(if(abs(D) < 1e9, D, NULL) AS bigint) = 2", 'b'),
    form("CAST({b} AS int)", 'i'),
    form("CAST({b} AS double)", 'd'),
    form("CAST({t} AS bigint)", 'l'),
    form("CAST({t} AS double)", 'd'),
    form("CAST({t} AS date)", 'a'),
    form("CAST({a} AS timestamp)", 't'),
    form("CAST(CAST({d} AS decimal(20, 3)) AS int)", 'i'),
    form("CAST(CAST({d} AS decimal(20, 3)) AS string)", 's'),
    form("CAST(CAST({s} AS decimal(20, 5)) AS decimal(12, 1))", 'n'),
    form("TRY_CAST({s} AS int)", 'i'),
    form("TRY_CAST({s} AS double)", 'd'),
    form("TRY_CAST({s} AS decimal(6, 2))", 'n'),
    form("TRY_CAST({s} AS date)", 'a'),
    form("TRY_CAST({s} AS timestamp)", 't'),
    form("TRY_CAST({s} AS boolean)", 'b'),
    form("TRY_CAST({d} AS int)", 'i'),
    form("TRY_CAST({d} AS decimal(6, 2))", 'n'),
    form("TRY_CAST({l} AS int)", 'i'),
    form("string({x})", 's'),
    form("int({s})", 'i'),
    unlike("bigint({d})", 'l', ErrorForLimit),
    form("double({l})", 'd'),
    form("boolean({i})", 'b'),
];

pub(crate) const AGGREGATES: &[Form] = &[
    form("count(*)", 'l'),
    form("count({x})", 'l'),
    form("count(DISTINCT {x})", 'l'),
    form("count({x}, {i})", 'l'),
    form("count(DISTINCT {x}, {b})", 'l'),
    form("count(DISTINCT {d}, {s}, {t})", 'l'),
    form("count_if({b})", 'l'),
    form("count_if({i} > 0)", 'l'),
    form("sum(if(abs(D) < 1e9, bigint(D), NULL))", 'l'),
    form("sum({i})", 'l'),
    unlike("sum(if(abs(D) < 1e9, D, NULL))", 'd', LastBits),
    form("sum(CAST({i} AS decimal(12, 2)))", 'n'),
    form("sum(CAST({l} AS decimal(38, 2)) * 1)", 'n'),
    form("sum(CAST({l} AS decimal(38, 0)))", 'n'),
    form("sum(if(L > 0, CAST('99999999999999999999999999999999999999' AS decimal(38, 0)), NULL))", 'n'),
    form("sum({i}) FILTER (WHERE {b})", 'l'),
    form("min({x})", 'x'),
    form("max({x})", 'x'),
    form("min_by({x}, L)", 'x'),
    form("max_by({x}, I)", 'x'),
    form("max_by({x}, S)", 'x'),
    form("min_by({x}, D)", 'x'),
    form("max_by({x}, T) FILTER (WHERE {b})", 'x'),
    unlike("first({x})", 'x', Unlike),
    unlike("first_value({x}, true)", 'x', Unlike),
    unlike("any_value({x})", 'x', Unlike),
    unlike("last({x}, true)", 'x', Unlike),
    unlike("last_value({x}) IGNORE NULLS", 'x', Unlike),
    unlike("avg({i})", 'd', LastBits),
    unlike("avg(if(abs(D) < 1e9, bigint(D), NULL))", 'd', LastBits),
    unlike("mean(if(abs(D) < 1e9, D, NULL))", 'd', LastBits),
    unlike("stddev({i})", 'd', LastBits),
    unlike("stddev_samp({i})", 'd', LastBits),
    unlike("std({i})", 'd', LastBits),
    unlike("stddev_pop({i})", 'd', LastBits),
    unlike("variance({i})", 'd', LastBits),
    unlike("var_samp({i})", 'd', LastBits),
    unlike("var_pop({i})", 'd', LastBits),
    form("median({i})", 'd'),
    unlike("percentile({i}, 0.9)", 'd', Interpolated),
    unlike("percentile_approx({i}, 0.5)", 'd', Unlike),
    unlike("approx_percentile({i}, 0.5)", 'd', Unlike),
    unlike("approx_count_distinct({s})", 'l', Unlike),
    unlike("approx_distinct({i})", 'l', Unlike),
    form("bool_and({b})", 'b'),
    form("every({i} > 0)", 'b'),
    form("bool_or({b})", 'b'),
    form("any({i} > 100)", 'b'),
    form("some({b})", 'b'),
];
