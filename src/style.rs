//! Colours on a terminal: few, and none where stderr is no terminal or `NO_COLOR` is set (<https://no-color.org>).

use std::ffi::OsString;
use std::io::IsTerminal;

/// What a text is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Something failed.
    Error,
    /// Something needs attention.
    Warning,
    /// It only labels what stands beside it.
    Label,
}

/// Whether stderr shows colours.
pub(crate) fn on_stderr() -> bool {
    shows_colours(std::io::stderr().is_terminal(), |name| std::env::var_os(name))
}

fn shows_colours(is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = variable("TERM").is_some_and(|value| value == "dumb");
    is_terminal && !refused && !is_dumb
}

/// `text` in the colour of its tone, where there are `colours`.
pub(crate) fn paint(tone: Tone, text: &str, colours: bool) -> String {
    let code = match tone {
        Tone::Error => "1;31",
        Tone::Warning => "33",
        Tone::Label => "2",
    };
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_user_has_not_refused_them() {
        let with = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        assert!(shows_colours(true, with(&[("TERM", "xterm")])));
        assert!(shows_colours(true, with(&[("NO_COLOR", "")])));
        assert!(!shows_colours(false, with(&[])));
        assert!(!shows_colours(true, with(&[("NO_COLOR", "1")])));
        assert!(!shows_colours(true, with(&[("TERM", "dumb")])));
        assert_eq!(paint(Tone::Error, "error:", false), "error:");
        assert_eq!(paint(Tone::Error, "error:", true), "\x1b[1;31merror:\x1b[0m");
    }
}
