//! One server process: its group, its log, its end.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::guard::Guard;

/// How often a server is asked whether it is ready, or has ended.
const POLL: Duration = Duration::from_millis(20);
/// How long an orderly stop may take before the group is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How many lines of a log are shown when a server does not come up.
const TAIL_LINES: usize = 40;

/// A server process in its own process group. Dropping it kills the group and waits.
#[derive(Debug)]
pub struct ServerProcess {
    name: String,
    log: PathBuf,
    child: Child,
    // Taken when the group has ended.
    guard: Option<Guard>,
}

impl ServerProcess {
    /// Starts `command` in a new process group; its output goes to `log` (appended).
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log);
        let out = out.with_context(|| format!("cannot open the log {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}: {}", command.get_program().display()))?;
        let guard = match Guard::over(child.id()) {
            Ok(guard) => Some(guard),
            Err(fault) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(fault);
            }
        };
        Ok(Self { name: name.into(), log: log.into(), child, guard })
    }

    /// Waits until `ready` returns true.
    ///
    /// # Errors
    /// When the process ends first, or `limit` has passed; the message holds the end of the log.
    pub fn wait_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended();
                bail!("{} ended before it was ready ({status})\n{}", self.name, self.log_tail());
            }
            if ready() {
                return Ok(());
            }
            if begin.elapsed() > limit {
                self.kill9()?;
                bail!("{} was not ready within {} s\n{}", self.name, limit.as_secs(), self.log_tail());
            }
            sleep(POLL);
        }
    }

    /// The id of the process, which is also the id of its group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file that its output goes to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether the process has not ended yet.
    ///
    /// # Errors
    /// When the system does not report it.
    pub fn is_running(&mut self) -> Result<bool> {
        if self.child.try_wait()?.is_some() {
            self.ended();
        }
        Ok(self.guard.is_some())
    }

    /// Kills the whole group (SIGKILL) and waits for it. Safe to repeat.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill9(&mut self) -> Result<()> {
        self.end(Signal::KILL)?;
        self.child.wait()?;
        self.ended();
        Ok(())
    }

    /// Asks the group to end (SIGTERM), waits, and kills it when it does not. Safe to repeat.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.stop_within(STOP_LIMIT)
    }

    /// The same, for a process that may take longer.
    ///
    /// # Errors
    /// As [`ServerProcess::stop`].
    pub fn stop_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.end(Signal::TERM)?;
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                self.ended();
                return Ok(status);
            }
            sleep(POLL);
        }
        self.end(Signal::KILL)?;
        let status = self.child.wait()?;
        self.ended();
        Ok(status)
    }

    /// The end of the log, for error messages.
    fn log_tail(&self) -> String {
        format!("the end of {}:\n{}", self.log.display(), tail(&self.log, TAIL_LINES))
    }

    fn end(&self, signal: Signal) -> Result<()> {
        // Without a guard the group has been waited for, and its id may be another's.
        if self.guard.is_none() {
            return Ok(());
        }
        let group = Pid::from_raw(self.child.id().cast_signed()).context("no process group")?;
        match kill_process_group(group, signal) {
            // The process has ended by itself and is yet to be waited for.
            Err(fault) if fault == rustix::io::Errno::SRCH => Ok(()),
            other => other.with_context(|| format!("cannot signal {} (group {})", self.name, self.child.id())),
        }
    }

    fn ended(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Nothing can be reported from here; the guard does it again when this fails.
        let _ = self.kill9();
    }
}

/// The last `lines` lines of a text file; why not, when it cannot be read.
pub fn tail(file: &Path, lines: usize) -> String {
    match std::fs::read(file) {
        Err(fault) => format!("({fault})"),
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (ServerProcess, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let process = ServerProcess::start("a shell", Command::new("sh").args(["-c", script]), &dir.path().join("log"));
        (process.unwrap(), dir)
    }

    #[test]
    fn a_server_that_ends_early_shows_the_end_of_its_log() {
        let (mut process, _dir) = shell("echo the port is taken; exit 3");
        let fault = process.wait_ready(Duration::from_secs(60), || false).unwrap_err().to_string();
        assert!(fault.contains("a shell ended before it was ready"), "{fault}");
        assert!(fault.contains("the port is taken"), "{fault}");
    }

    #[test]
    fn a_server_that_is_never_ready_is_given_up_and_killed() {
        let (mut process, _dir) = shell("echo still loading; exec sleep 1000");
        let fault = process.wait_ready(Duration::ZERO, || false).unwrap_err().to_string();
        assert!(fault.contains("was not ready within 0 s"), "{fault}");
        assert!(!process.is_running().unwrap());
    }

    #[test]
    fn a_stop_lets_the_process_end_in_order() {
        let (mut process, dir) = shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
        let log = dir.path().join("log");
        process.wait_ready(Duration::from_secs(10), || tail(&log, 1) == "ready").unwrap();
        assert!(process.stop().unwrap().success());
        assert_eq!(tail(&log, 1), "bye");
    }

    #[test]
    fn children_of_a_server_die_with_it() {
        let (mut process, dir) = shell("sleep 1000 & echo $!; wait");
        let log = dir.path().join("log");
        process.wait_ready(Duration::from_secs(10), || tail(&log, 1).parse::<u32>().is_ok()).unwrap();
        let child = format!("/proc/{}/stat", tail(&log, 1));
        drop(process);
        // An orphan waits for init to reap it: a zombie (Z) is as dead as one that is gone.
        let dead = || std::fs::read_to_string(&child).map_or(true, |stat| stat.contains(") Z "));
        let begin = Instant::now();
        while !dead() {
            assert!(begin.elapsed() < Duration::from_secs(10), "still running: {child}");
            sleep(POLL);
        }
    }

    #[test]
    fn the_tail_of_a_short_log_is_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        std::fs::write(&file, "a\nb\nc\n").unwrap();
        assert_eq!(tail(&file, 2), "b\nc");
        assert_eq!(tail(&file, 9), "a\nb\nc");
    }
}
