//! What the death of a partition's leader costs a reader: three brokers, a producer, and kills.

use anyhow::{Result, ensure};
use turnstile_testkit::var;

use crate::command::{cargo, shown};
use crate::fetch;

/// Runs the example of the Kafka room, which prints a line for each kill.
pub(super) fn run(kills: u32) -> Result<()> {
    let home = fetch::kafka_dir()?;
    let mut run = cargo();
    run.args(["run", "--release", "-p", "turnstile-kafka", "--example", "failover", "--"]).arg(kills.to_string());
    ensure!(shown(run.env(var::KAFKA_HOME, home))?, "records were lost or doubled, or the cluster did not come back");
    Ok(())
}
