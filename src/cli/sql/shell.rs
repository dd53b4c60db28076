//! The shell: line editing with history and completion, `\d`, timing.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;
use tokio::sync::Notify;
use turnstile_warehouse::{QueryResultFormat, Warehouse};

use super::result::{failure, summary, write_result};
use crate::exit::Exit;
use crate::flow;

/// The history file in the user's home folder.
const HISTORY: &str = ".turnstile_sql_history";

const HELP: &str = "\
  SELECT … ;     run a query, on one or more lines
  \\d             list tables       \\d NAME  list a table's columns
  \\timing        toggle timing     \\?       this help
  \\q             quit (or Ctrl-D)";

/// Keywords that completion offers besides names.
const KEYWORDS: [&str; 18] = [
    "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "HAVING", "JOIN", "ON", "AND", "OR", "LIKE", "IN",
    "BETWEEN", "count(*)", "sum(", "EXPLAIN", "DISTINCT",
];

pub(super) fn run(context: &flow::Context, warehouse: &Warehouse, format: QueryResultFormat) -> anyhow::Result<Exit> {
    let names = context.block_on(names(warehouse)).map_err(flow::warehouse_failed)?;
    let mut editor: Editor<ShellHelper, FileHistory> = Editor::new()?;
    editor.set_helper(Some(ShellHelper { names }));
    let history = std::env::home_dir().map(|home| home.join(HISTORY));
    if let Some(history) = &history {
        // At first there is none.
        let _ = editor.load_history(history);
    }
    // Ctrl-C cancels a query, not the shell: while a line is edited, the terminal passes it to the editor.
    let interrupt = Arc::new(Notify::new());
    let (mut signals, interrupted) = (Signals::new([SIGINT])?, Arc::clone(&interrupt));
    std::thread::Builder::new()
        .name("interrupts".to_owned())
        .spawn(move || signals.forever().for_each(|_| interrupted.notify_waiters()))?;
    outln!("turnstile {}: {} (\\? for help)", env!("CARGO_PKG_VERSION"), warehouse.source());
    let mut timing = true;
    loop {
        match editor.readline("turnstile=> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                editor.add_history_entry(line.trim())?;
                if let Some(history) = &history {
                    // A shorter history is no reason to fail.
                    let _ = editor.append_history(history);
                }
                match line.trim().trim_end_matches(';').trim() {
                    "\\q" | "exit" | "quit" => break,
                    "\\?" | "help" => outln!("{HELP}"),
                    "\\timing" => {
                        timing = !timing;
                        outln!("timing is {}", if timing { "on" } else { "off" });
                    }
                    line => run_query(context, warehouse, &expand_command(line), format, timing, &interrupt),
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Exit::Done)
}

/// Runs a query; Ctrl-C cancels it.
fn run_query(
    context: &flow::Context,
    warehouse: &Warehouse,
    query: &str,
    format: QueryResultFormat,
    timing: bool,
    interrupt: &Notify,
) {
    let began = Instant::now();
    let outcome = context.block_on(async {
        tokio::select! {
            rows = write_result(warehouse, query, format) => Some(rows),
            () = interrupt.notified() => None,
        }
    });
    match outcome {
        Some(Ok(rows)) if timing => outln!("{}", summary(rows, began)),
        Some(Ok(_)) => {}
        Some(Err(error)) => {
            crate::report::print(&failure(query, error));
        }
        None => outln!("cancelled"),
    }
}

/// The query of a shell command; other lines are returned as they are.
pub(super) fn expand_command(line: &str) -> String {
    let escaped = |name: &str| name.to_lowercase().replace('\'', "''");
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["\\d" | "\\dt"] => "SELECT table_schema AS schema, table_name AS name, table_type AS type \
             FROM information_schema.tables WHERE table_schema <> 'information_schema' ORDER BY 1 DESC, 2"
            .to_owned(),
        ["\\d", name] => {
            let (schema, table) = name.split_once('.').unwrap_or(("public", name));
            format!(
                "SELECT column_name AS column, data_type AS type, is_nullable AS nullable FROM information_schema.columns \
                 WHERE table_schema = '{}' AND table_name = '{}' ORDER BY ordinal_position",
                escaped(schema),
                escaped(table)
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

/// Completes names and keywords; a statement is complete when it ends in a semicolon or is a command.
struct ShellHelper {
    names: Vec<String>,
}

impl Completer for ShellHelper {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = &line[..at];
        let start = before
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .map_or(0, |found| found + before[found..].chars().next().map_or(1, char::len_utf8));
        let prefix = before[start..].to_lowercase();
        if prefix.is_empty() {
            return Ok((start, Vec::new()));
        }
        let known = self.names.iter().map(String::as_str).chain(KEYWORDS);
        Ok((start, known.filter(|name| name.to_lowercase().starts_with(&prefix)).map(str::to_owned).collect()))
    }
}

impl Validator for ShellHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let line = context.input().trim();
        let command = line.starts_with('\\') || ["exit", "quit", "help"].contains(&line);
        let complete = line.is_empty() || line.ends_with(';') || command;
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for ShellHelper {
    type Hint = String;
}

impl Highlighter for ShellHelper {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Borrowed(hint)
    }
}

impl Helper for ShellHelper {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_commands_are_queries_on_the_catalog() {
        assert!(expand_command("\\d").contains("information_schema.tables"));
        assert!(
            expand_command("\\d _turnstile.files").contains("table_schema = '_turnstile' AND table_name = 'files'")
        );
        assert_eq!(expand_command("SELECT 1"), "SELECT 1");
    }
}
