//! The command line: one file per subcommand in `cli/`, and here the tree of them and who runs which. Only this
//! part prints.

mod acl;
mod argument;
mod bench;
mod cache;
mod changes;
mod check;
mod child;
mod compile;
mod completions;
mod componentize;
mod confined;
mod context;
mod demo;
mod deploy;
mod dev;
mod error;
mod hint;
mod hosts;
mod invoke;
mod jobs;
mod keygen;
mod keys;
mod known;
mod new;
mod output;
mod plugins;
mod private_redis;
mod progress;
mod push;
mod queues;
mod rollback;
mod rollout;
mod run;
mod schedule;
mod scripts;
mod serve;
mod sign;
mod snapshot;
mod table;
mod test;
mod text;

use std::ffi::OsString;
use std::iter;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use context::{Context, Global};
use error::{Outcome, Shape};
use sandhog::telemetry;

/// Runs untrusted job handlers as WebAssembly components on Redis queues.
#[derive(Debug, Parser)]
#[command(name = "sandhog", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Dev(dev::Args),
    Demo(demo::Args),
    New(new::Args),
    Check(check::Args),
    Acl(acl::Args),
    Invoke(Box<invoke::Args>),
    Test(test::Args),
    Deploy(deploy::Args),
    Rollback(rollback::Args),
    Push(push::Args),
    Queues(queues::Args),
    Jobs(jobs::Args),
    Keys(keys::Args),
    Schedule(Box<schedule::Args>),
    Scripts(scripts::Args),
    Plugins(plugins::Args),
    Hosts(hosts::Args),
    Componentize(componentize::Args),
    Snapshot(snapshot::Args),
    Keygen(keygen::Args),
    Sign(sign::Args),
    Bench(bench::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Child(child::Args),
    #[command(hide = true)]
    Compile(compile::Args),
    #[command(hide = true)]
    Confined(confined::Args),
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
    let code = dispatch(cli, false).map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS);
    telemetry::flush();
    code
}

/// `is_confined`: whether this process has bounds of memory and time.
fn dispatch(cli: Cli, is_confined: bool) -> Outcome {
    let context = Context::new(cli.global, is_confined);
    match cli.command {
        Command::Run(args) => wait_for(run::run(args, &context)),
        Command::Dev(args) => wait_for(dev::run(args, &context)),
        Command::Demo(args) => wait_for(demo::run(args, &context)),
        Command::New(args) => new::run(&args, &context),
        Command::Check(args) => check::run(&args, &context),
        Command::Acl(args) => acl::run(&args, &context),
        Command::Invoke(args) => wait_for(invoke::run(*args, &context)),
        Command::Test(args) => wait_for(test::run(args, &context)),
        Command::Deploy(args) => wait_for(deploy::run(args, &context)),
        Command::Rollback(args) => wait_for(rollback::run(args, &context)),
        Command::Push(args) => wait_for(push::run(args, &context)),
        Command::Queues(args) => wait_for(queues::run(args, &context)),
        Command::Jobs(args) => wait_for(jobs::run(args, &context)),
        Command::Keys(args) => wait_for(keys::run(args, &context)),
        Command::Schedule(args) => wait_for(schedule::run(*args, &context)),
        Command::Scripts(args) => scripts::run(&args, &context),
        Command::Plugins(args) => wait_for(plugins::run(args, &context)),
        Command::Hosts(args) => wait_for(hosts::run(args, &context)),
        Command::Componentize(args) => componentize::run(&args, &context),
        Command::Snapshot(args) => wait_for(snapshot::run(args, &context)),
        Command::Keygen(args) => keygen::run(&args, &context),
        Command::Sign(args) => sign::run(&args, &context),
        Command::Bench(args) => wait_for(bench::run(args, &context)),
        Command::Completions(args) => completions::run(&args),
        Command::Child(args) => child::run(&args),
        Command::Compile(args) => compile::run(&args),
        Command::Confined(args) => {
            confined::enter(&args)?;
            let words = iter::once(OsString::from("sandhog")).chain(args.arguments);
            dispatch(Cli::try_parse_from(words).map_err(|error| error::from_clap(&error))?, true)
        }
    }
}

/// Drives a command that only talks to Redis: one thread is enough.
fn wait_for(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .refuse()?
        .block_on(command)
}
