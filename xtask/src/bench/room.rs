//! A room's own measurement: its example `<room>_rates`, which takes a number of messages and prints.

use anyhow::{Result, ensure};

use crate::command::{cargo, shown};
use crate::place;

/// Runs `crates/<room>/examples/<room>_rates.rs` in a release build.
///
/// # Errors
/// When the room has none, or it fails.
pub(super) fn rates(room: &str, messages: u64) -> Result<()> {
    let example = place::root().join("crates").join(room).join(format!("examples/{room}_rates.rs"));
    ensure!(example.exists(), "there is no {}", example.display());
    let mut run = cargo();
    run.args(["run", "--release", "-p", &format!("turnstile-{room}"), "--example", &format!("{room}_rates"), "--"]);
    ensure!(shown(run.arg(messages.to_string()))?, "the rates of {room} were not measured");
    Ok(())
}
