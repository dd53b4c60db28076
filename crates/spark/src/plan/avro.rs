//! Avro messages as rows, in SQL. Spark's own `from_avro` takes bytes that do not follow their schema, and ends the executor on ten
//! bytes that announce a text of two gigabytes; here every value is read at its place, as the embedded engine reads it.
//!
//! A message is walked through by the steps of its schema ([`AvroProgram`]). Step `j` begins at byte `pos{j}`, is null where the
//! message is malformed before it; `hex{j}` are the bytes there, `len{j}` and `bits{j}` the number of variable length that they
//! begin with. Steps of several schemas share these columns.

use std::collections::BTreeMap;

use turnstile_message::{AvroShape, AvroType, AvroTypeId, LogicalType};
use turnstile_pipeline::{Field, FieldKind, TimestampFormat};
use turnstile_values::DAY_US;

use super::avro_program::{AvroProgram, Leaf, ProgramField, Step};
use super::avro_skip;
use super::decoding::{self, Decoding, NO_FIELD, RejectionCase};
use super::field;
use super::schemas::SCHEMA_ID;
use super::sql_text::text;

/// A number of variable length, in hexadecimal digits. The tenth byte has room for one bit.
const NUMBER: &str = r"\A(?:(?:[89A-F].){0,8}[0-7].|(?:[89A-F].){9}0[01])";

/// Days of the years 1 to 9999, since 1970.
const DAYS: &str = "BETWEEN -719162 AND 2932896";

/// How messages of the programs' schemas become rows.
pub(super) fn decoding(programs: &[(u32, AvroProgram)], needed: &[&Field]) -> Decoding {
    let mut steps = vec!["stepped0 AS (SELECT *, 0L AS pos0 FROM messages)".to_owned()];
    let depth = programs.iter().map(|(_, program)| program.steps.len()).max().unwrap_or(0);
    for at in 0..depth {
        let leaves = || programs.iter().filter_map(|(_, program)| program.steps.get(at)).flat_map(Step::leaves);
        let mut before = format!("stepped{at}");
        if leaves().any(|leaf| reads_number(leaf) || *leaf == Leaf::Boolean) {
            let bytes = hex_at(&pos(at), 10);
            steps.push(format!("hexed{at} AS (SELECT *, {bytes} AS hex{at} FROM {before})"));
            before = format!("hexed{at}");
        }
        if leaves().any(reads_number) {
            let hex = format!("hex{at}");
            let (len, bits) = (number_len(&hex), number_bits(&hex));
            steps.push(format!("measured{at} AS (SELECT *, {len} AS len{at}, {bits} AS bits{at} FROM {before})"));
            before = format!("measured{at}");
        }
        let next = by_schema(programs, |program| Some(program.end_of(at)));
        steps.push(format!("stepped{} AS (SELECT *, {next} AS {} FROM {before})", at + 1, pos(at + 1)));
    }
    let mut before = format!("stepped{depth}");
    let values = Values::of(programs);
    for (name, columns) in [("cut", values.bytes()), ("raws", values.texts_and_bits())] {
        steps.push(format!("{name} AS (SELECT *{columns} FROM {before})"));
        before = name.to_owned();
    }
    let text_of = |field: &Field, column| by_schema(programs, |program| program.text_of(column, &field.kind));
    steps.push(format!("sources AS (SELECT *{} FROM {before})", decoding::columns(needed, text_of, source)));
    let values = decoding::values(needed, |field, column| {
        let value = by_schema(programs, |program| program.value_of(column, &field.kind));
        let of_text = field::value(&field.kind, &source(column));
        let chosen = format!("CASE WHEN {source} IS NOT NULL THEN {of_text} ELSE {value} END", source = source(column));
        format!("CAST({chosen} AS {})", field.kind.spark_name())
    });
    steps.push(format!("valued AS (SELECT *{values} FROM sources)"));
    let problem = by_schema(programs, |program| Some(program.problem(needed)));
    steps.push(format!("typed AS (SELECT *, {problem} AS problem FROM valued)"));
    // Without a schema there is no message to look at.
    let cases = if programs.is_empty() { Vec::new() } else { vec![RejectionCase::problem()] };
    Decoding { steps, cases }
}

/// Column of the text that is the value of a needed field.
fn source(column: usize) -> String {
    format!("source{column}")
}

/// An expression for messages of each schema; null for those for which there is none.
fn by_schema(programs: &[(u32, AvroProgram)], of: impl Fn(&AvroProgram) -> Option<String>) -> String {
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (id, program) in programs {
        if let Some(expression) = of(program) {
            ids.entry(expression).or_default().push(id.to_string());
        }
    }
    if ids.is_empty() {
        return "NULL".to_owned();
    }
    let whens = ids.into_iter().map(|(then, ids)| format!("WHEN {SCHEMA_ID} IN ({}) THEN {then}", ids.join(", ")));
    format!("CASE {} END", whens.collect::<Vec<_>>().join(" "))
}

/// Column of the byte at which a step begins.
fn pos(at: usize) -> String {
    format!("pos{at}")
}

/// The bytes from `at` on, `count` or fewer, as hexadecimal digits.
pub(super) fn hex_at(at: &str, count: usize) -> String {
    format!("hex({})", bytes_at(at, &count.to_string()))
}

/// The bytes from `at` on, `count` or fewer.
fn bytes_at(at: &str, count: &str) -> String {
    format!("substring(body, int({at}) + 1, {count})")
}

/// Whether a step begins with a number of variable length.
fn reads_number(leaf: &Leaf) -> bool {
    matches!(leaf, Leaf::Long | Leaf::Int | Leaf::Symbol(_) | Leaf::Text | Leaf::Branch(_))
}

/// How many bytes the number takes that `hex` begins with; null if that is none.
pub(super) fn number_len(hex: &str) -> String {
    format!("nullif(length(regexp_extract({hex}, {}, 0)), 0) div 2", text(NUMBER))
}

/// Its bits, seven of each byte. Most numbers take one.
pub(super) fn number_bits(hex: &str) -> String {
    let last = format!("int({}) - 1", number_len(hex));
    format!(
        "CASE WHEN {hex} < '8' THEN bigint(conv(left({hex}, 2), 16, 10)) ELSE aggregate(sequence(0, {last}), 0L, \
         (b, k) -> b | shiftleft(bigint(conv(substring({hex}, 2 * k + 1, 2), 16, 10)) & 127L, 7 * k)) END"
    )
}

/// The number that zigzag bits mean.
pub(super) fn zigzag(bits: &str) -> String {
    format!("(shiftrightunsigned({bits}, 1) ^ -({bits} & 1L))")
}

/// The number that a step has read.
fn number(at: usize) -> String {
    zigzag(&format!("bits{at}"))
}

/// Where a value ends that begins at `at`, with the number of `len` bytes `number` there, if it begins with one.
fn end(leaf: &Leaf, at: &str, hex: &str, [len, number]: [&str; 2]) -> String {
    let if_so = |so: String| format!("CASE WHEN {so} THEN {at} + {len} END");
    match leaf {
        Leaf::Nothing | Leaf::Misplaced => at.to_owned(),
        Leaf::Malformed | Leaf::Skipped(_) => "CAST(NULL AS bigint)".to_owned(),
        Leaf::Bytes(size) => format!("CASE WHEN {at} + {size}L <= octet_length(body) THEN {at} + {size}L END"),
        Leaf::Boolean => format!("CASE WHEN left({hex}, 2) IN ('00', '01') THEN {at} + 1 END"),
        Leaf::Long => format!("{at} + {len}"),
        Leaf::Int => if_so(format!("{number} BETWEEN -2147483648 AND 2147483647")),
        Leaf::Symbol(count) | Leaf::Branch(count) => if_so(format!("{number} >= 0 AND {number} < {count}")),
        Leaf::Text => format!(
            "CASE WHEN {number} >= 0 AND {number} <= octet_length(body) - {at} - {len} THEN {at} + {len} + {number} END"
        ),
    }
}

/// The expression that has the number `chosen`; null for those for which there is none.
fn choice(chosen: &str, of: impl Iterator<Item = Option<String>>) -> String {
    let whens = of.enumerate().filter_map(|(number, then)| Some(format!("WHEN {number} THEN {}", then?)));
    match whens.collect::<Vec<_>>() {
        whens if whens.is_empty() => "NULL".to_owned(),
        whens => format!("CASE {chosen} {} END", whens.join(" ")),
    }
}

/// `body` with a name for `value` in it.
pub(super) fn with(name: &str, value: &str, body: &str) -> String {
    format!("get(transform(array({value}), {name} -> {body}), 0)")
}

impl AvroProgram {
    /// Where step number `at` ends; a message that has no such step ends before.
    fn end_of(&self, at: usize) -> String {
        let (begin, hex) = (pos(at), format!("hex{at}"));
        let (len, value) = (format!("len{at}"), number(at));
        let end = |leaf: &Leaf| match leaf {
            Leaf::Skipped(kinds) => avro_skip::end_of(&self.schema, kinds, &begin),
            leaf => end(leaf, &begin, &hex, [&len, &value]),
        };
        match self.steps.get(at) {
            None => "CAST(NULL AS bigint)".to_owned(),
            Some(Step::Read(leaf)) => end(leaf),
            Some(Step::Choose(leaves)) => choice(&number(at - 1), leaves.iter().map(|leaf| Some(end(leaf)))),
        }
    }

    /// The value of a needed field that is no text; `None`: the schema lacks it, or nothing else that it has there fits.
    fn value_of(&self, column: usize, kind: &FieldKind) -> Option<String> {
        self.read_as(column, |avro, at| value(kind, avro, at))
    }

    /// The text of a needed field; `None`: the schema has none there.
    fn text_of(&self, column: usize, kind: &FieldKind) -> Option<String> {
        self.read_as(column, |avro, at| text_value(kind, avro, at))
    }

    /// What `of` makes of the type that a needed field has, and of the step that reads it.
    fn read_as(&self, column: usize, of: impl Fn(&AvroType, usize) -> Option<String>) -> Option<String> {
        let (field, avro) = self.field_of(column)?;
        let first = field.steps.start;
        let branches = self.branches(avro);
        if field.steps.len() == 1 {
            return of(branches[0], first);
        }
        Some(choice(&number(first), branches.into_iter().map(|avro| of(avro, first + 1))))
    }

    fn field_of(&self, column: usize) -> Option<(&ProgramField, AvroTypeId)> {
        self.fields.iter().find_map(|field| match field.column {
            Some((of, kind)) if of == column => Some((field, kind)),
            _ => None,
        })
    }

    /// The first thing that is wrong with a message.
    fn problem(&self, needed: &[&Field]) -> String {
        let problem = |reason: &str, field: Option<&str>, detail: String| {
            let field = field.map_or(NO_FIELD.to_owned(), text);
            format!("named_struct('reason', '{reason}', 'field', {field}, 'detail', {detail})")
        };
        let detail = |words: &str| format!("concat({}, {SCHEMA_ID}, ')')", text(&format!("{words} (schema ")));
        let mut whens = Vec::new();
        let mut when = |so: String, problem: String| whens.push(format!("WHEN {so} THEN {problem}"));
        for field in &self.fields {
            let name = field.name.as_deref();
            let malformed = problem("avro", name, detail("its bytes do not follow the schema"));
            when(format!("{} IS NULL", pos(field.steps.end)), malformed);
            let Some((column, kind)) = field.column else { continue };
            let (branches, last) = (self.branches(kind), field.steps.end - 1);
            // In which branches: all, for what is no union.
            let chosen = |which: fn(&AvroType) -> bool| {
                let numbers: Vec<String> = (branches.iter().enumerate())
                    .filter(|(_, branch)| which(branch))
                    .map(|(number, _)| number.to_string())
                    .collect();
                match (numbers.is_empty(), field.steps.len()) {
                    (true, _) => None,
                    (false, 1) => Some("true".to_owned()),
                    (false, _) => Some(format!("{} IN ({})", number(field.steps.start), numbers.join(", "))),
                }
            };
            if let Some(is_text) = chosen(|avro| avro.shape == AvroShape::String) {
                when(
                    format!("{is_text} AND text{last} IS NULL"),
                    problem("not-utf8", name, detail("the text is not UTF-8")),
                );
            }
            if let Some(is_some) = chosen(|avro| avro.shape != AvroShape::Null) {
                let words = format!("expected {}, found a value that is none", needed[column].kind.spark_name());
                when(
                    format!("{is_some} AND {} IS NULL", decoding::value(column)),
                    problem("type", name, detail(&words)),
                );
            }
        }
        let trailing = problem("avro", None, detail("bytes follow the record"));
        when(format!("{} < octet_length(body)", pos(self.steps.len())), trailing);
        format!("CASE {} END", whens.join(" "))
    }
}

/// Which columns values are made of.
#[derive(Default)]
struct Values {
    /// Steps that read texts or bytes with a length.
    texts: Vec<usize>,
    /// Steps that read floating-point numbers, and their sizes.
    floats: Vec<(usize, usize)>,
}

impl Values {
    fn of(programs: &[(u32, AvroProgram)]) -> Self {
        let mut all = Self::default();
        for (_, program) in programs {
            for field in &program.fields {
                let Some((_, kind)) = field.column else { continue };
                let at = field.steps.end - 1;
                for avro in program.branches(kind) {
                    match avro.shape {
                        AvroShape::String | AvroShape::Bytes => all.texts.push(at),
                        AvroShape::Float => all.floats.push((at, 4)),
                        AvroShape::Double => all.floats.push((at, 8)),
                        _ => {}
                    }
                }
            }
        }
        all.texts.sort_unstable();
        all.texts.dedup();
        all.floats.sort_unstable();
        all.floats.dedup();
        all
    }

    /// The bytes of texts, `cut{j}`.
    fn bytes(&self) -> String {
        let cut = |at: &usize| {
            let begin = format!("{} + len{at}", pos(*at));
            let bytes = bytes_at(&begin, &format!("int({})", number(*at)));
            // The end says that the length is one.
            format!(
                ", CASE WHEN {} IS NOT NULL AND {} BETWEEN 0 AND octet_length(body) THEN {bytes} END AS cut{at}",
                pos(at + 1),
                number(*at)
            )
        };
        self.texts.iter().map(cut).collect()
    }

    /// Texts, `text{j}`, null if they are no UTF-8; the bits of floating-point numbers, `float{j}` and `double{j}`.
    fn texts_and_bits(&self) -> String {
        let texts = self.texts.iter().map(|at| {
            let cut = format!("CAST(cut{at} AS string)");
            format!(", CASE WHEN is_valid_utf8({cut}) THEN {cut} END AS text{at}")
        });
        let floats = self.floats.iter().map(|(at, size)| {
            let hex = hex_at(&pos(*at), *size);
            let bytes: Vec<String> =
                (0..*size).rev().map(|byte| format!("substring({hex}, {}, 2)", 2 * byte + 1)).collect();
            let name = if *size == 4 { "float" } else { "double" };
            format!(", bigint(conv(concat({}), 16, -10)) AS {name}{at}", bytes.join(", "))
        });
        texts.chain(floats).collect()
    }
}

/// The text that step number `at` has read and that a field of type `kind` takes; `None`: it never does.
fn text_value(kind: &FieldKind, avro: &AvroType, at: usize) -> Option<String> {
    let read = number(at);
    match (&avro.shape, avro.logical) {
        (AvroShape::String, _) => Some(format!("text{at}")),
        (AvroShape::Enum(symbols), _) => {
            let symbols = symbols.iter().map(|symbol| text(symbol)).collect::<Vec<_>>().join(", ");
            Some(format!("get(array({symbols}), try_cast({read} AS int))"))
        }
        (shape @ (AvroShape::Bytes | AvroShape::Fixed(_)), Some(LogicalType::Decimal(scale))) => {
            let bytes = match shape {
                AvroShape::Fixed(size) => bytes_at(&pos(at), &size.to_string()),
                _ => format!("cut{at}"),
            };
            matches!(kind, FieldKind::Decimal { .. }).then(|| decimal_text(&bytes, scale))
        }
        (AvroShape::Int, None) | (AvroShape::Long, None) => {
            matches!(kind, FieldKind::Decimal { .. } | FieldKind::Timestamp { format: TimestampFormat::Epoch(_), .. })
                .then(|| format!("string({read})"))
        }
        _ => None,
    }
}

/// The value in a field of type `kind` of what step number `at` has read, if that is no text; `None`: it never fits, or is null.
fn value(kind: &FieldKind, avro: &AvroType, at: usize) -> Option<String> {
    let read = number(at);
    let is_time = matches!(kind, FieldKind::Timestamp { .. });
    match (&avro.shape, avro.logical) {
        (AvroShape::Boolean, _) => matches!(kind, FieldKind::Boolean).then(|| format!("left(hex{at}, 2) = '01'")),
        (AvroShape::Int, Some(LogicalType::Date)) => is_time.then(|| {
            let time = local_time(&format!("{read} * {DAY_US}L"));
            format!("CASE WHEN {read} {DAYS} THEN {time} END")
        }),
        (AvroShape::Long, Some(LogicalType::Timestamp(unit))) => {
            is_time.then(|| within(&read, unit, |micros| format!("timestamp_micros({micros})")))
        }
        (AvroShape::Long, Some(LogicalType::LocalTimestamp(unit))) => is_time.then(|| within(&read, unit, local_time)),
        (AvroShape::Int | AvroShape::Long, _) => match kind {
            FieldKind::Int => Some(format!("try_cast({read} AS int)")),
            FieldKind::Long => Some(read),
            FieldKind::Double => Some(format!("double({read})")),
            _ => None,
        },
        (AvroShape::Float, _) => matches!(kind, FieldKind::Double).then(|| floating(&format!("float{at}"), 23, 8)),
        (AvroShape::Double, _) => matches!(kind, FieldKind::Double).then(|| floating(&format!("double{at}"), 52, 11)),
        _ => None,
    }
}

/// A time that is `number` units since 1970, `unit` of which make a second: `of` its microseconds, within the years 1 to 9999.
fn within(number: &str, unit: i64, of: impl Fn(&str) -> String) -> String {
    let (begin, end) = (-62_135_596_800_i64, 253_402_300_800_i64);
    if unit > 1_000_000 {
        // All of them are within these years; what lies below a microsecond is cut off towards the past.
        let parts = unit / 1_000_000;
        return of(&format!("({number} div {parts}L - CASE WHEN {number} % {parts}L < 0 THEN 1L ELSE 0L END)"));
    }
    let (first, last) = (begin * unit, end * unit - 1);
    let micros = of(&format!("{number} * {}L", 1_000_000 / unit));
    format!("CASE WHEN {number} BETWEEN {first}L AND {last}L THEN {micros} END")
}

/// The instant at which a clock in the session's zone shows `micros`, counted from its 1970.
fn local_time(micros: &str) -> String {
    let seconds = format!("CAST(CAST({micros} AS decimal(20, 0)) / 1000000 AS decimal(18, 6))");
    format!("CAST(TIMESTAMP_NTZ'1970-01-01 00:00:00' + make_dt_interval(0, 0, 0, {seconds}) AS timestamp)")
}

/// The floating-point number of these bits of IEEE 754. Nothing is rounded: a product with a power of two is exact.
fn floating(bits: &str, mantissa_bits: u32, exponent_bits: u32) -> String {
    let (one, mask) = (1_i64 << mantissa_bits, (1_i64 << exponent_bits) - 1);
    let mantissa = format!("({bits} & {}L)", one - 1);
    let exponent = format!("(shiftrightunsigned({bits}, {mantissa_bits}) & {mask}L)");
    let sign = format!("shiftrightunsigned({bits}, {}) & 1L", mantissa_bits + exponent_bits);
    // The exponent of a number below which there is none but zero.
    let lowest = 2 - (1_i64 << (exponent_bits - 1)) - i64::from(mantissa_bits);
    format!(
        "CASE WHEN {exponent} = {mask} AND {mantissa} <> 0 THEN double('NaN') \
         ELSE (CASE WHEN {sign} = 1 THEN -1.0D ELSE 1.0D END) * CASE {exponent} WHEN {mask}L THEN double('Infinity') \
         WHEN 0L THEN double({mantissa}) * pow(2.0D, {lowest}.0D) \
         ELSE double({mantissa} + {one}L) * pow(2.0D, double({exponent} + {}L)) END END",
        lowest - 1
    )
}

/// The text of a decimal number in two's complement, highest byte first, with `scale` digits after the point; null if it has more
/// than 38 digits, or no byte.
fn decimal_text(bytes: &str, scale: i64) -> String {
    let hex = format!("hex({bytes})");
    let negative = format!("{hex} >= '8'");
    let short = format!(
        "CASE WHEN {negative} THEN regexp_replace({hex}, '\\\\A(?:FF)+(?=[89A-F])', '') \
         ELSE regexp_replace({hex}, '\\\\A(?:00)+(?=[0-7])', '') END"
    );
    let padded = format!("lpad({short}, 32, CASE WHEN {negative} THEN 'F' ELSE '0' END)");
    let high = format!("CAST(bigint(conv(left({padded}, 16), 16, -10)) AS decimal(19, 0))");
    let low = format!("CAST(conv(right({padded}, 16), 16, 10) AS decimal(20, 0))");
    let whole = format!("try_add(try_multiply({high}, 18446744073709551616BD), {low})");
    format!("CASE WHEN {hex} <> '' AND length({short}) <= 32 THEN concat(string({whole}), 'E-{scale}') END")
}
