//! The shell: lines with history and completion, `\d`, timing.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper};
use signal_hook::consts::SIGINT;
use tokio::runtime::Runtime;
use turnstile_warehouse::{AnswerFormat, Warehouse};

use super::{answer, failure, summary};
use crate::exit::Exit;
use crate::flow;

/// Where lines are kept, in the folder of `turnstile up` or beside it.
const HISTORY: &str = ".turnstile_sql_history";

const HELP: &str = "\
  SELECT … ;     ask, over as many lines as it takes
  \\d             list tables       \\d NAME  list a table's columns
  \\timing        switch timing     \\?       this help
  \\q             end (or Ctrl-D)";

/// Words that completion offers beside names.
const WORDS: [&str; 18] = [
    "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "HAVING", "JOIN", "ON", "AND", "OR", "LIKE", "IN",
    "BETWEEN", "count(*)", "sum(", "EXPLAIN", "DISTINCT",
];

pub(super) fn run(runtime: &Runtime, warehouse: &Warehouse, format: AnswerFormat) -> anyhow::Result<Exit> {
    let names = runtime.block_on(names(warehouse)).map_err(flow::warehouse_failed)?;
    let mut editor: Editor<Words, FileHistory> = Editor::new()?;
    editor.set_helper(Some(Words { names }));
    let history = std::env::home_dir().map(|home| home.join(HISTORY));
    if let Some(history) = &history {
        // The first time there is none.
        let _ = editor.load_history(history);
    }
    // Ctrl-C ends a question, not the shell: while a line is typed the terminal gives it to the editor.
    let interrupt = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGINT, Arc::clone(&interrupt))?;
    outln!("turnstile {}: {} (\\? for help)", env!("CARGO_PKG_VERSION"), warehouse.source());
    let mut timing = true;
    loop {
        match editor.readline("turnstile=> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                editor.add_history_entry(line.trim())?;
                if let Some(history) = &history {
                    // Without it the next shell remembers less; nothing else is lost.
                    let _ = editor.append_history(history);
                }
                match line.trim().trim_end_matches(';').trim() {
                    "\\q" | "exit" | "quit" => break,
                    "\\?" | "help" => outln!("{HELP}"),
                    "\\timing" => {
                        timing = !timing;
                        outln!("timing is {}", if timing { "on" } else { "off" });
                    }
                    line => ask(runtime, warehouse, &meant(line), format, timing, &interrupt),
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Exit::Done)
}

/// Asks, and gives up when Ctrl-C is pressed.
fn ask(
    runtime: &Runtime,
    warehouse: &Warehouse,
    query: &str,
    format: AnswerFormat,
    timing: bool,
    interrupt: &AtomicBool,
) {
    let began = Instant::now();
    interrupt.store(false, Ordering::Relaxed);
    let asked = runtime.block_on(async {
        tokio::select! {
            answered = answer(warehouse, query, format) => Some(answered),
            () = interrupted(interrupt) => None,
        }
    });
    match asked {
        Some(Ok(rows)) if timing => outln!("{}", summary(rows, began)),
        Some(Ok(_)) => {}
        Some(Err(error)) => {
            crate::report::print(&failure(query, error));
        }
        None => outln!("given up"),
    }
}

async fn interrupted(interrupt: &AtomicBool) {
    while !interrupt.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the short forms ask.
pub(super) fn meant(line: &str) -> String {
    let quoted = |name: &str| name.to_lowercase().replace('\'', "''");
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["\\d" | "\\dt"] => "SELECT table_schema AS schema, table_name AS name, table_type AS type \
             FROM information_schema.tables WHERE table_schema <> 'information_schema' ORDER BY 1 DESC, 2"
            .to_owned(),
        ["\\d", name] => {
            let (schema, table) = name.split_once('.').unwrap_or(("public", name));
            format!(
                "SELECT column_name AS column, data_type AS type, is_nullable AS nullable FROM information_schema.columns \
                 WHERE table_schema = '{}' AND table_name = '{}' ORDER BY ordinal_position",
                quoted(schema),
                quoted(table)
            )
        }
        _ => line.to_owned(),
    }
}

/// Tables and their columns.
async fn names(warehouse: &Warehouse) -> Result<Vec<String>, turnstile_warehouse::WarehouseError> {
    let session = warehouse.session().await?;
    let mut names = Warehouse::table_names(&session);
    names.extend(warehouse.source().columns.fields().iter().map(|field| field.name().clone()));
    for model in warehouse.models().iter() {
        names.extend(model.columns.iter().map(|column| column.name.clone()));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Completes names and words; a line is whole when it ends in a semicolon or is a command.
struct Words {
    names: Vec<String>,
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = &line[..at];
        let start = before
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .map_or(0, |found| found + before[found..].chars().next().map_or(1, char::len_utf8));
        let begun = before[start..].to_lowercase();
        if begun.is_empty() {
            return Ok((start, Vec::new()));
        }
        let known = self.names.iter().map(String::as_str).chain(WORDS);
        Ok((start, known.filter(|name| name.to_lowercase().starts_with(&begun)).map(str::to_owned).collect()))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let line = context.input().trim();
        let command = line.starts_with('\\') || ["exit", "quit", "help"].contains(&line);
        let whole = line.is_empty() || line.ends_with(';') || command;
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Borrowed(hint)
    }
}

impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_questions_to_the_catalog() {
        assert!(meant("\\d").contains("information_schema.tables"));
        assert!(meant("\\d _turnstile.files").contains("table_schema = '_turnstile' AND table_name = 'files'"));
        assert_eq!(meant("SELECT 1"), "SELECT 1");
    }
}
