//! Runs subcommands that parse foreign components (`snapshot`, `componentize`) in a separate process with bounds of
//! memory and processor time. The hidden subcommand bounds its process, then runs the subcommand in its arguments.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, exit};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Signal, getpid};
use sandhog::sandbox::compile::child::confine_with_guests;

use crate::cli::child::{OURSELVES, die_with};
use crate::cli::error::{Failure, Outcome};
use crate::cli::text;

/// The hidden subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Process id of the parent process.
    parent: i32,
    /// Memory that the process may use, in bytes.
    memory_bytes: u64,
    /// Processor time that the process may use, in seconds.
    processor_s: u64,
    /// The arguments that this program was called with.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

/// The bounds of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Memory that the process writes to.
    pub(crate) memory_bytes: u64,
    /// Processor time of all its threads.
    pub(crate) time: Duration,
    /// What to do if the component needs more.
    pub(crate) remedy: &'static str,
}

/// Bounds this process until it ends.
pub(crate) fn enter(args: &Args) -> Outcome {
    die_with(args.parent)?;
    confine_with_guests(args.memory_bytes, args.processor_s).context("cannot bound the process")?;
    Ok(())
}

/// Runs the subcommand of this process again in a bounded child process, and exits with the child's exit code. The
/// child parses `file`.
pub(crate) fn again(bounds: Bounds, file: &Path) -> Outcome {
    let processor_s = bounds.time.as_secs().max(1);
    let ended = Command::new(OURSELVES)
        .arg("confined")
        .arg(getpid().as_raw_nonzero().to_string())
        .arg(bounds.memory_bytes.to_string())
        .arg(processor_s.to_string())
        .arg("--")
        .args(std::env::args_os().skip(1))
        .status()
        .context("cannot start the process that reads the component")?;
    match ended.code() {
        Some(0) => Ok(()),
        // The child has reported the reason.
        Some(code) => exit(code),
        None => Err(killed(ended, bounds, processor_s, file)),
    }
}

/// The failure to report if a signal ended the child.
fn killed(ended: ExitStatus, bounds: Bounds, processor_s: u64, file: &Path) -> Failure {
    let (name, signal) = (file.display(), ended.signal().unwrap_or_default());
    let of = |one: Signal| signal == one.as_raw();
    if of(Signal::XCPU) {
        let text = format!("reading `{name}` needs more than {processor_s} s of processor time");
        return Failure::refused(text).with_hint(bounds.remedy);
    }
    let failure = Failure::refused(format!("signal {signal} ended the process that reads `{name}`"));
    if of(Signal::ABORT) || of(Signal::SEGV) {
        let memory = text::size(bounds.memory_bytes);
        return failure.with_hint(format!("it may need more than {memory} of memory: {}", bounds.remedy));
    }
    failure
}
