//! Ends a process group when the process that watches over it dies, however it dies.
//!
//! A value that is dropped ends its server itself. A test that is killed drops nothing, but its pipe to the guard
//! closes, and the guard ends the server.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    /// Watches the process group `group`: it is killed when this process ends without [`Guard::dismiss`].
    pub(super) fn over(group: u32) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", r#"read -r word || kill -s KILL -- -"$0""#])
            .arg(group.to_string())
            .stdin(Stdio::piped())
            // An inherited pipe kept open here would keep whoever reads our output waiting.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start `sh` to guard a server")?;
        Ok(Self { shell })
    }

    /// The group has ended and its id may be another's by now: leave it alone.
    pub(super) fn dismiss(mut self) {
        if let Some(mut stdin) = self.shell.stdin.take() {
            // A guard that has ended needs no message.
            let _ = stdin.write_all(b"dismissed\n");
        }
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_dies_with_the_pipe_to_its_guard() {
        let mut sleeper = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let mut guard = Guard::over(sleeper.id()).unwrap();
        drop(guard.shell.stdin.take());
        assert!(!sleeper.wait().unwrap().success());
        guard.shell.wait().unwrap();
    }

    #[test]
    fn a_dismissed_guard_leaves_the_group_alone() {
        let mut sleeper = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        Guard::over(sleeper.id()).unwrap().dismiss();
        assert!(sleeper.try_wait().unwrap().is_none());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
}
