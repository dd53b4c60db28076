//! `turnstile completions`: shell completion.

use clap::Args as ClapArgs;
use clap_complete::Shell;

use crate::exit::Exit;

/// Print a completion script for a shell.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Example:
  turnstile completions bash > ~/.local/share/bash-completion/completions/turnstile")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: CompletionsArgs, mut command: clap::Command) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "turnstile", &mut script);
    out!("{}", String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}
