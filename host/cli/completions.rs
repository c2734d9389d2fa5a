//! `sandhog completions`: a script that teaches a shell the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::cli::error::Outcome;
use crate::cli::output::Output;

/// Prints a completion script.
///
/// For example: `sandhog completions bash > ~/.local/share/bash-completion/completions/sandhog`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sandhog", &mut script);
    Ok(Output::new(false, false).text(&String::from_utf8_lossy(&script))?)
}
