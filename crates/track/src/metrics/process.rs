//! The process itself, as the kernel describes it.
//!
//! Source: proc_pid_stat(5), proc_pid_status(5), proc_pid_fd(5). On systems without /proc the values are absent.

use std::fs;

/// Ticks a second in `/proc/self/stat`: `sysconf(_SC_CLK_TCK)`, which is 100 on every architecture that Linux runs Rust on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ProcessUse {
    /// Processor time in user and kernel mode, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// Resident memory, in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub(super) open_files: Option<u64>,
}

/// What this process uses now.
pub(super) fn read() -> ProcessUse {
    ProcessUse {
        cpu_seconds: fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds),
        resident_bytes: resident_bytes(),
        // The descriptor with which the folder is read is one of them.
        open_files: fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1)),
    }
}

/// Fields 14 and 15. The second field, the program's name in parentheses, may hold spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// Resident memory of this process, in bytes; `None` on systems without /proc.
pub fn resident_bytes() -> Option<u64> {
    fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_in)
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a (b) c) R 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 100";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nothing"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_in("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_in("VmRSS:\tmuch\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_open_files() {
        let now = read();
        assert!(now.resident_bytes > Some(100_000), "{now:?}");
        assert!(now.open_files > Some(2), "{now:?}");
        assert!(now.cpu_seconds.is_some(), "{now:?}");
    }
}
