//! What a program cost: wall time, processor time, peak memory, as the kernel counted them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use turnstile_testkit::servers::tail;
use wait4::Wait4;

/// One run of one program, start-up included.
#[derive(Debug, Clone)]
pub(super) struct Cost {
    pub(super) wall: Duration,
    /// User and system time of the process and of the children it waited for.
    pub(super) cpu: Duration,
    pub(super) peak_bytes: u64,
    /// What it wrote to stdout.
    pub(super) said: String,
}

impl Cost {
    /// Runs `command` to its end; its output goes to files beside `log`.
    ///
    /// # Errors
    /// When it fails; the message holds the end of its log.
    pub(super) fn of(command: &mut Command, log: &Path) -> Result<Self> {
        let (out, err) = (log.with_extension("out"), log.with_extension("err"));
        command.stdin(Stdio::null()).stdout(fs::File::create(&out)?).stderr(fs::File::create(&err)?);
        let program = command.get_program().display().to_string();
        let begin = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let used = child.wait4()?;
        let wall = begin.elapsed();
        ensure!(used.status.success(), "{program} failed ({}):\n{}", used.status, tail(&err, 20));
        let rusage = used.rusage;
        let said = String::from_utf8_lossy(&fs::read(&out)?).into_owned();
        Ok(Self { wall, cpu: rusage.utime + rusage.stime, peak_bytes: rusage.maxrss, said })
    }

    pub(super) fn per_second(&self, messages: u64) -> f64 {
        messages as f64 / self.wall.as_secs_f64()
    }

    pub(super) fn cpu_per_million(&self, messages: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / messages as f64
    }

    pub(super) fn peak_mb(&self) -> f64 {
        self.peak_bytes as f64 / 1e6
    }
}

/// The middle one; of an even number the higher of the two. `None` of none.
pub(super) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_computes_costs_processor_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut busy = Command::new("sh");
        busy.args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo $i"]);
        let cost = Cost::of(&mut busy, &dir.path().join("busy")).unwrap();
        assert_eq!(cost.said, "100000\n");
        assert!(cost.cpu > Duration::ZERO && cost.peak_bytes > 100_000, "{cost:?}");
    }

    #[test]
    fn a_program_that_fails_shows_what_it_said() {
        let dir = tempfile::tempdir().unwrap();
        let fault = Cost::of(Command::new("sh").args(["-c", "echo no topic >&2; exit 5"]), &dir.path().join("x"));
        assert!(fault.unwrap_err().to_string().contains("no topic"));
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
