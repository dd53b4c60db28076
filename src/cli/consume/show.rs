//! How a message is shown: aligned on a terminal, tab-separated in a pipe, exact as JSON.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};
use turnstile_engine::{Inspected, Rejection};
use turnstile_kafka::ConsumedMessage;

/// No column but the last is padded to more than this.
const WIDEST: usize = 40;

const DIM: &str = "\x1b[2m";
const CYAN: &str = "\x1b[36m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Prints messages.
pub(super) struct MessagePrinter {
    json: bool,
    /// Columns stand under each other.
    aligned: bool,
    colour: bool,
    /// Names of the decoded columns, when messages are decoded.
    fields: Option<Vec<String>>,
    titled: bool,
    widths: Vec<usize>,
}

/// One line, cell by cell.
struct PrintedRow {
    cells: Vec<String>,
    /// The last cell is the reason why the message cannot be decoded.
    is_wrong: bool,
}

impl MessagePrinter {
    /// For standard output; colour only on a terminal whose user has not set NO_COLOR.
    pub(super) fn new(json: bool, fields: Option<Vec<String>>) -> Self {
        let aligned = io::stdout().is_terminal();
        let colour = aligned && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::with(json, aligned, colour, fields)
    }

    fn with(json: bool, aligned: bool, colour: bool, fields: Option<Vec<String>>) -> Self {
        Self { json, aligned, colour, fields, titled: false, widths: Vec::new() }
    }

    /// Prints messages that came together; `decoded` has one entry each when they are decoded.
    pub(super) fn print(
        &mut self,
        messages: &[ConsumedMessage],
        decoded: Option<&[Inspected]>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let decoded = |at: usize| decoded.and_then(|all| all.get(at));
        if self.json {
            let fields = self.fields.as_deref().unwrap_or_default();
            return messages
                .iter()
                .enumerate()
                .try_for_each(|(at, message)| writeln!(out, "{}", as_json(message, fields, decoded(at))));
        }
        let mut rows = Vec::with_capacity(messages.len() + 1);
        if !self.titled && !messages.is_empty() && (self.aligned || self.fields.is_some()) {
            self.titled = true;
            rows.push(PrintedRow { cells: self.titles(), is_wrong: false });
        }
        let titles = rows.len();
        rows.extend(messages.iter().enumerate().map(|(at, message)| row(message, decoded(at))));
        if self.aligned {
            self.widen(&rows);
        }
        rows.iter().enumerate().try_for_each(|(at, row)| self.line(row, at < titles, out))
    }

    fn titles(&self) -> Vec<String> {
        let mut titles = ["partition", "offset", "timestamp", "key"].map(str::to_owned).to_vec();
        match &self.fields {
            Some(names) => titles.extend(names.iter().cloned()),
            None => titles.push("value".to_owned()),
        }
        titles
    }

    fn widen(&mut self, rows: &[PrintedRow]) {
        for row in rows {
            // What is wrong with a message is as long as it is; its cell is the last.
            let shared = row.cells.len() - usize::from(row.is_wrong);
            for (at, cell) in row.cells[..shared].iter().enumerate() {
                if self.widths.len() <= at {
                    self.widths.push(0);
                }
                self.widths[at] = self.widths[at].max(cell.chars().count().min(WIDEST));
            }
        }
    }

    fn line(&self, row: &PrintedRow, is_title: bool, out: &mut impl Write) -> io::Result<()> {
        let last = row.cells.len() - 1;
        let mut line = String::new();
        for (at, cell) in row.cells.iter().enumerate() {
            let colour = match at {
                _ if !self.colour => "",
                _ if is_title => DIM,
                at if at == last && row.is_wrong => RED,
                0..=2 => DIM,
                3 => CYAN,
                _ if cell == NULL || cell == EMPTY => DIM,
                _ => "",
            };
            line.push_str(colour);
            line.push_str(cell);
            if !colour.is_empty() {
                line.push_str(PLAIN);
            }
            if at == last {
                break;
            }
            if self.aligned {
                let width = self.widths.get(at).copied().unwrap_or_default();
                let blanks = width.saturating_sub(cell.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', blanks));
            } else {
                line.push('\t');
            }
        }
        line.push('\n');
        out.write_all(line.as_bytes())
    }
}

/// What stands for a payload that is not there, and for one of no bytes.
const NULL: &str = "<null>";
const EMPTY: &str = "<empty>";

fn row(message: &ConsumedMessage, decoded: Option<&Inspected>) -> PrintedRow {
    let at = &message.position;
    let timestamp = timestamp(message).unwrap_or_else(|| "-".to_owned());
    let mut cells = vec![at.partition.partition.to_string(), at.offset.to_string(), timestamp];
    cells.push(payload(message.key.as_deref()));
    let mut is_wrong = false;
    match decoded {
        Some(Inspected::Fields(fields)) => {
            let text = |field: &Option<String>| payload(field.as_deref().map(str::as_bytes));
            cells.extend(fields.iter().map(text));
        }
        Some(Inspected::Rejected(rejection)) => {
            is_wrong = true;
            let value = payload(message.value.as_deref());
            cells.push(format!("{}; the value: {value}", why(rejection)));
        }
        Some(Inspected::Tombstone) | None => cells.push(payload(message.value.as_deref())),
    }
    if !message.headers.is_empty() {
        let header = |(name, value): &(String, Option<Vec<u8>>)| {
            format!("{}={}", text(name.as_bytes()), payload(value.as_deref()))
        };
        let headers = message.headers.iter().map(header).collect::<Vec<_>>().join(" ");
        match cells.last_mut().filter(|_| is_wrong) {
            Some(last) => *last = format!("{last}; headers: {headers}"),
            None => cells.push(headers),
        }
    }
    PrintedRow { cells, is_wrong }
}

fn why(rejection: &Rejection) -> String {
    let field = rejection.field.as_ref().map(|field| format!(" in {field}")).unwrap_or_default();
    format!("rejected, {}{field}: {}", rejection.reason, text(rejection.detail.as_bytes()))
}

fn timestamp(message: &ConsumedMessage) -> Option<String> {
    let at = DateTime::from_timestamp_millis(message.timestamp_ms?)?;
    Some(at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn payload(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => NULL.to_owned(),
        Some([]) => EMPTY.to_owned(),
        Some(bytes) => text(bytes),
    }
}

/// Bytes on one line: what would break it or steer a terminal is escaped, and what is not UTF-8 is `\xNN`.
fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02X}");
        }
    }
    out
}

/// Bytes exactly: as text when they are text, and in base64 under another name when not.
fn exact(into: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => into.insert(name.to_owned(), Value::Null),
        Some((Ok(text), _)) => into.insert(name.to_owned(), text.into()),
        Some((Err(_), bytes)) => into.insert(format!("{name}_base64"), BASE64_STANDARD.encode(bytes).into()),
    };
}

fn as_json(message: &ConsumedMessage, names: &[String], decoded: Option<&Inspected>) -> Value {
    let at = &message.position;
    let mut object = Map::new();
    object.insert("topic".to_owned(), (&*at.partition.topic).into());
    object.insert("partition".to_owned(), at.partition.partition.into());
    object.insert("offset".to_owned(), at.offset.into());
    object.insert("timestamp".to_owned(), timestamp(message).into());
    object.insert("timestamp_type".to_owned(), if message.appended_at { "log_append" } else { "create" }.into());
    exact(&mut object, "key", message.key.as_deref());
    exact(&mut object, "value", message.value.as_deref());
    let header = |(name, value): &(String, Option<Vec<u8>>)| {
        let mut header = Map::new();
        header.insert("name".to_owned(), name.as_str().into());
        exact(&mut header, "value", value.as_deref());
        Value::Object(header)
    };
    object.insert("headers".to_owned(), message.headers.iter().map(header).collect());
    match decoded {
        Some(Inspected::Fields(fields)) => {
            let fields = names.iter().cloned().zip(fields.iter().map(|field| field.clone().into()));
            object.insert("fields".to_owned(), Value::Object(fields.collect()));
        }
        Some(Inspected::Rejected(rejection)) => {
            let reason = rejection.reason.to_string();
            let rejected = json!({ "reason": reason, "field": rejection.field, "detail": rejection.detail });
            object.insert("rejected".to_owned(), rejected);
        }
        Some(Inspected::Tombstone) | None => {}
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use turnstile_message::{SourcePosition, TopicPartition};

    use super::*;

    fn message(offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> ConsumedMessage {
        ConsumedMessage {
            position: SourcePosition { partition: TopicPartition::new("t", 2), offset },
            timestamp_ms: Some(1_785_542_400_000),
            appended_at: false,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        }
    }

    fn shown(mut show: MessagePrinter, messages: &[ConsumedMessage], decoded: Option<&[Inspected]>) -> Vec<String> {
        let mut out = Vec::new();
        show.print(messages, decoded, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn in_a_pipe_a_message_is_one_line_of_tabs_whatever_it_holds() {
        let mut odd = message(8, None, Some(b"\xFFx"));
        odd.timestamp_ms = None;
        odd.headers = vec![("trace".into(), Some(b"a1".to_vec())), ("none".into(), None)];
        let messages = [message(7, Some(b"k"), Some(b"a\tb\n\x1b[31mc")), odd, message(9, Some(b""), None)];
        assert_eq!(
            shown(MessagePrinter::with(false, false, false, None), &messages, None),
            [
                "2\t7\t2026-08-01T00:00:00.000Z\tk\ta\\tb\\n\\u{1b}[31mc",
                "2\t8\t-\t<null>\t\\xFFx\ttrace=a1 none=<null>",
                "2\t9\t2026-08-01T00:00:00.000Z\t<empty>\t<null>",
            ]
        );
    }

    #[test]
    fn decoded_columns_stand_under_their_names_and_a_rejected_message_gives_the_reason() {
        let fields = vec!["STATION".to_owned(), "ENTRIES".to_owned()];
        let messages = [message(7, None, Some(b"59 ST,7")), message(8, None, Some(b"59 ST,x"))];
        let rejection = Rejection {
            reason: turnstile_engine::Reason::Type,
            field: Some("ENTRIES".into()),
            detail: "expected int".into(),
        };
        let decoded = [Inspected::Fields(vec![Some("59 ST".into()), Some("7".into())]), Inspected::Rejected(rejection)];
        assert_eq!(
            shown(MessagePrinter::with(false, true, false, Some(fields)), &messages, Some(&decoded)),
            [
                "partition  offset  timestamp                 key     STATION  ENTRIES",
                "2          7       2026-08-01T00:00:00.000Z  <null>  59 ST    7",
                "2          8       2026-08-01T00:00:00.000Z  <null>  \
                 rejected, type in ENTRIES: expected int; the value: 59 ST,x",
            ]
        );
    }

    #[test]
    fn colour_marks_what_is_not_data() {
        let lines = shown(MessagePrinter::with(false, true, true, None), &[message(7, Some(b"k"), None)], None);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("\x1b[36mk\x1b[0m") && lines[1].ends_with("\x1b[2m<null>\x1b[0m"), "{lines:?}");
    }

    #[test]
    fn json_distinguishes_nulls_text_and_bytes_exactly() {
        let mut odd = message(8, None, Some(b"\xFF"));
        odd.headers = vec![("h".into(), Some(b"\xFE".to_vec())), ("h".into(), None)];
        let lines =
            shown(MessagePrinter::with(true, true, true, None), &[message(7, Some(b""), Some(b"a\tb")), odd], None);
        let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["key"], &lines[0]["value"]), (&json!(""), &json!("a\tb")));
        assert_eq!((&lines[1]["key"], &lines[1]["value_base64"]), (&Value::Null, &json!("/w==")));
        assert!(lines[1].get("value").is_none());
        assert_eq!(
            lines[1]["headers"],
            json!([{ "name": "h", "value_base64": "/g==" }, { "name": "h", "value": null }])
        );
    }
}
