//! Prints an error as fact, cause and hint, and maps it to an exit code.

use std::process::ExitCode;

use crate::exit::Exit;

/// An error with a hint and an exit code. Errors of the rooms are wrapped in it at the top: `error.context(...)` adds facts,
/// [`Failure`] adds what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{fact}")]
pub(crate) struct Failure {
    pub(crate) fact: String,
    pub(crate) hint: Option<String>,
    pub(crate) exit: Exit,
    #[source]
    pub(crate) cause: Option<anyhow::Error>,
}

impl Failure {
    /// A failure with a fact and an exit code.
    pub(crate) fn new(exit: Exit, fact: impl Into<String>) -> Self {
        Self { fact: fact.into(), hint: None, exit, cause: None }
    }

    /// Adds the next step.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    pub(crate) fn cause(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

/// Prints `error` to stderr and returns the exit code it stands for.
pub(crate) fn print(error: &anyhow::Error) -> ExitCode {
    let exit = error.chain().find_map(|e| e.downcast_ref::<Failure>()).map_or(Exit::Failed, |f| f.exit);
    match exit {
        // Ctrl-C while waiting is no error.
        Exit::Done => eprintln!("{error}"),
        _ => eprint!("{}", render(error)),
    }
    exit.into()
}

fn render(error: &anyhow::Error) -> String {
    let mut out = format!("error: {error}\n");
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // A library's error often repeats the text of its source; it is printed once.
        if !last.contains(&text) {
            out.push_str(&format!("cause: {text}\n"));
            last = text;
        }
    }
    if let Some(hint) = error.chain().find_map(|e| e.downcast_ref::<Failure>()).and_then(|f| f.hint.as_deref()) {
        out.push_str(&format!("hint:  {hint}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_fact_cause_and_next_step() {
        let error = anyhow::Error::from(
            Failure::new(Exit::Fenced, "window W was not published")
                .cause(anyhow::anyhow!("another process owns this pipeline"))
                .hint("stop that process"),
        );
        assert_eq!(
            render(&error),
            "error: window W was not published\ncause: another process owns this pipeline\nhint:  stop that process\n"
        );
    }
}
