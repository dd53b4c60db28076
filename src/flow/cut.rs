//! The kinds of cut that a running flow takes.

use turnstile_engine::ClosePolicy;

/// Why a cut is taken, which decides what windows it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutKind {
    /// The commit interval is over, or a window can close, or memory is short: windows behind the watermark close.
    Interval,
    /// The whole stream is quiet: all open windows close, unless messages came since the clock was read.
    Quiet {
        /// When the clock was read, microseconds since the epoch.
        at_us: i64,
    },
    /// The run ends: workers get no command to continue.
    Last {
        /// All windows close, whether their time has come or not.
        drain: bool,
    },
}

impl CutKind {
    /// Which windows it closes.
    pub(crate) fn close(self) -> ClosePolicy {
        match self {
            Self::Quiet { .. } => ClosePolicy::Quiet,
            Self::Last { drain: true } => ClosePolicy::All,
            Self::Interval | Self::Last { drain: false } => ClosePolicy::Passed,
        }
    }

    /// Whether nothing is read after it.
    pub(crate) fn is_last(self) -> bool {
        matches!(self, Self::Last { .. })
    }

    /// When the wall clock closed windows.
    pub(crate) fn quiet_at_us(self) -> Option<i64> {
        match self {
            Self::Quiet { at_us } => Some(at_us),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_draining_cut_closes_windows_whose_time_has_not_come() {
        assert_eq!(CutKind::Interval.close(), ClosePolicy::Passed);
        assert_eq!(CutKind::Last { drain: false }.close(), ClosePolicy::Passed);
        assert_eq!(CutKind::Last { drain: true }.close(), ClosePolicy::All);
        let quiet = CutKind::Quiet { at_us: 7 };
        assert_eq!((quiet.close(), quiet.quiet_at_us(), quiet.is_last()), (ClosePolicy::Quiet, Some(7), false));
    }
}
