//! Named steps at which a crash test ends the process.
//!
//! With the feature `failpoints`, `TURNSTILE_CRASH_AT=step` or `step:nth` aborts the process when it
//! reaches that step for the nth time (the first when not given), as a kill would: nothing is
//! flushed, no destructor runs. Without the feature [`reach`] is empty.

/// Every step, in the order in which a start and a commit pass them.
pub const STEPS: &[&str] = &[
    "open-before-claim",
    "open-after-claim",
    "open-after-publish",
    "commit-before-stage",
    "commit-in-stage",
    "commit-after-stage",
    "commit-after-slot",
    "commit-after-list",
    "commit-in-publish",
    "commit-after-publish",
    "commit-in-garbage",
    "commit-after-history",
    "commit-after-garbage",
];

/// The steps of maintenance, in the order in which it passes them.
pub const MAINTENANCE_STEPS: &[&str] = &[
    "maintain-before-delete",
    "maintain-after-delete",
    "maintain-after-retire",
    "maintain-before-object",
    "maintain-after-object",
    "maintain-after-compact",
];

/// Passes the step, or aborts the process there when the environment asks for it.
#[cfg(feature = "failpoints")]
pub(crate) fn reach(step: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ASKED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);

    debug_assert!(STEPS.contains(&step) || MAINTENANCE_STEPS.contains(&step), "{step} is not in STEPS");
    let asked = ASKED.get_or_init(|| {
        let text = std::env::var("TURNSTILE_CRASH_AT").ok()?;
        match text.split_once(':') {
            Some((step, nth)) => Some((step.to_owned(), nth.parse().expect("TURNSTILE_CRASH_AT is step:nth"))),
            None => Some((text, 1)),
        }
    });
    if let Some((wanted, nth)) = asked
        && wanted == step
        && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        std::process::abort();
    }
}

/// Passes the step.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn reach(_step: &'static str) {}
