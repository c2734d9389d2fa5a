//! The command line: one file per subcommand in `cli/`, and here the tree of them and who runs which. Only this
//! part prints.

mod child;
mod completions;
mod componentize;
mod context;
mod error;
mod output;
mod private_redis;
mod progress;
mod table;
mod text;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use context::{Context, Global};
use error::Outcome;

/// Runs untrusted job handlers as WebAssembly components on Redis queues.
#[derive(Debug, Parser)]
#[command(name = "sandhog", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Componentize(componentize::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Child(child::Args),
}

/// Parses, dispatches, reports.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return ExitCode::from(error::REFUSED);
        }
        Err(error) if error.use_stderr() => return error::from_clap(&error).report(),
        Err(help) => {
            let printed = help.print().map_err(error::Failure::from);
            return printed.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS);
        }
    };
    dispatch(cli).map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

fn dispatch(cli: Cli) -> Outcome {
    let context = Context::new(cli.global);
    match cli.command {
        Command::Componentize(args) => componentize::run(&args, &context),
        Command::Completions(args) => completions::run(&args),
        Command::Child(args) => child::run(&args),
    }
}
