//! Prints an error as fact, cause and next step, and maps it to an exit code.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::exit::Exit;
use crate::style::{self, Tone};

/// An error that carries its next step and its exit code. Rooms' own errors are wrapped in it where they reach the top:
/// [`Failure::of`] keeps such an error with all its causes, [`Failure::new`] states a fact of the top's own.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    what: What,
    hint: Option<String>,
}

#[derive(Debug)]
enum What {
    Fact { fact: String, cause: Option<anyhow::Error> },
    Error(anyhow::Error),
}

impl Failure {
    /// A failure with a fact and an exit code.
    pub(crate) fn new(exit: Exit, fact: impl Into<String>) -> Self {
        Self { exit, what: What::Fact { fact: fact.into(), cause: None }, hint: None }
    }

    /// A room's error as a failure: its text is the fact, its source the cause.
    pub(crate) fn of(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, what: What::Error(error.into()), hint: None }
    }

    /// Adds the next step.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        // A room may have nothing to advise.
        self.hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        self
    }

    /// Adds the next step, where there is one.
    pub(crate) fn maybe_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into).or(self.hint);
        self
    }

    /// What a person does next.
    pub(crate) fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Adds the cause of a fact.
    pub(crate) fn cause(self, cause: impl Into<anyhow::Error>) -> Self {
        let what = match self.what {
            What::Fact { fact, .. } => What::Fact { fact, cause: Some(cause.into()) },
            What::Error(error) => What::Fact { fact: error.to_string(), cause: Some(cause.into()) },
        };
        Self { what, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Fact { fact, .. } => f.write_str(fact),
            What::Error(error) => error.fmt(f),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.what {
            What::Fact { cause, .. } => cause.as_ref().map(|cause| &**cause as _),
            What::Error(error) => error.source(),
        }
    }
}

/// Prints `error` to stderr and returns the exit code it stands for.
pub(crate) fn print(error: &anyhow::Error) -> ExitCode {
    let exit = error.chain().find_map(|e| e.downcast_ref::<Failure>()).map_or(Exit::Failed, |f| f.exit);
    match exit {
        // Ctrl-C while it waited is no error.
        Exit::Done => eprintln!("{error}"),
        _ => eprint!("{}", render(error, style::on_stderr())),
    }
    exit.into()
}

/// Prints to stderr what a person should know although nothing failed.
pub(crate) fn warn(text: &str) {
    eprintln!("{} {text}", style::paint(Tone::Warning, "warning:", style::on_stderr()));
}

/// Prints to stderr that something failed, in one line.
pub(crate) fn print_error(text: &str) {
    eprintln!("{} {text}", style::paint(Tone::Error, "error:", style::on_stderr()));
}

fn render(error: &anyhow::Error, colours: bool) -> String {
    let mut out = format!("{} {error}\n", style::paint(Tone::Error, "error:", colours));
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // A library's error often repeats its source's text; a person reads it once.
        if !last.contains(&text) {
            out.push_str(&format!("cause: {text}\n"));
            last = text;
        }
    }
    if let Some(hint) = error.chain().find_map(|e| e.downcast_ref::<Failure>()).and_then(Failure::next_step) {
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
            render(&error, false),
            "error: window W was not published\ncause: another process owns this pipeline\nhint:  stop that process\n"
        );
    }

    #[test]
    fn a_hint_without_words_is_none() {
        let error = anyhow::Error::from(Failure::new(Exit::Failed, "it failed").hint(""));
        assert_eq!(render(&error, false), "error: it failed\n");
    }

    #[test]
    fn a_room_s_error_keeps_its_causes() {
        let error = std::io::Error::other("disk full");
        let error = anyhow::Error::from(error).context("the state cannot be written");
        let failure = Failure::of(Exit::Lake, error).hint("free some");
        let failure = anyhow::Error::from(failure);
        let text = "error: the state cannot be written\ncause: disk full\nhint:  free some\n";
        assert_eq!(render(&failure, false), text);
        assert!(failure.chain().any(|cause| cause.is::<std::io::Error>()));
        assert_eq!(turnstile_values::human::error(failure.as_ref()), "the state cannot be written: disk full");
    }
}
