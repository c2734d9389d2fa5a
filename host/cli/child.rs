//! Child processes that never outlive us: `sandhog child PARENT PROGRAM …` asks the kernel to be killed with its
//! parent and then becomes the program. What the children are for is in `private_redis` and `demo`.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::cli::error::{Failure, Outcome};

/// This program, whatever became of its file since it was started.
pub(crate) const OURSELVES: &str = "/proc/self/exe";
/// Exit code that says, as a shell does, that there is no such program.
pub(crate) const NOT_FOUND: u8 = 127;

/// The hidden subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Process id of whoever started us.
    parent: i32,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// A command that runs `program` as a child which dies with us and is not in our process group: a Ctrl-C at the
/// terminal is for us to handle.
///
/// The kernel ties the child to the *thread* that spawns it: spawn from one that lives as long as the process.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(OURSELVES);
    command.arg("child").arg(getpid().as_raw_nonzero().to_string()).arg("--").arg(program).process_group(0);
    command
}

/// Ties this process to the life of the one that started it.
pub(crate) fn die_with(parent: i32) -> Outcome {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot tie the child to its parent")?;
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        return Err(Failure::failed("the parent process is gone"));
    }
    Ok(())
}

/// Becomes the program; answers only when that failed.
pub(crate) fn run(args: &Args) -> Outcome {
    die_with(args.parent)?;
    let error = Command::new(&args.program[0]).args(&args.program[1..]).exec();
    let shown = args.program[0].to_string_lossy().into_owned();
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let failure = Failure::from(anyhow::Error::new(error).context(format!("cannot run `{shown}`")));
    Err(if missing { failure.with_code(NOT_FOUND) } else { failure })
}
