//! Commands run for their effect: shown, or kept in a log whose end is shown when they fail.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use turnstile_testkit::servers::tail;

/// How many lines of a failed command's log are shown.
const TAIL_LINES: usize = 40;

/// Runs a command whose output goes to the terminal; whether it succeeded.
pub(crate) fn shown(command: &mut Command) -> Result<bool> {
    println!("xtask: {}", line(command));
    let status = command.stdin(Stdio::null()).status();
    Ok(status.with_context(|| format!("cannot start {}", command.get_program().display()))?.success())
}

/// Runs a command whose output is appended to `log`.
///
/// # Errors
/// When it cannot be started or fails; the message holds the end of the log.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let out = File::options().create(true).append(true).open(log);
    let out = out.with_context(|| format!("cannot open {}", log.display()))?;
    let status = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).status();
    let status = status.with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(
        status.success(),
        "`{}` failed ({status}); the end of {}:\n{}",
        line(command),
        log.display(),
        tail(log, TAIL_LINES)
    );
    Ok(())
}

/// Whether a program is there and answers `arguments` with success.
pub(crate) fn answers(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::place::root());
    // Set for xtask alone by the cargo that runs it; another package's build must not see them change.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_shown_with_the_end_of_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let fault = logged(Command::new("sh").args(["-c", "echo no space left; exit 3"]), &dir.path().join("log"));
        let fault = fault.unwrap_err().to_string();
        assert!(fault.contains("no space left") && fault.contains("exit status: 3"), "{fault}");
    }

    #[test]
    fn a_program_that_is_missing_does_not_answer() {
        assert!(!answers("turnstile-no-such-program", &["--version"]));
        assert!(answers("sh", &["-c", "exit 0"]));
    }
}
