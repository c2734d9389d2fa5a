//! Subcommands that parse what others have written (`snapshot`, `componentize`), in a process of their own with bounds of
//! memory and processor time. The hidden subcommand bounds its process, and then is the subcommand that it was given.

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
    /// Process id of whoever started us.
    parent: i32,
    /// Memory it may use.
    memory_bytes: u64,
    /// Processor time it may use.
    processor_s: u64,
    /// What this program was called with.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

/// What the process may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Memory it writes to.
    pub(crate) memory_bytes: u64,
    /// Processor time of all its threads.
    pub(crate) time: Duration,
    /// What to do if the component needs more.
    pub(crate) remedy: &'static str,
}

/// Bounds this process for the rest of its life.
pub(crate) fn enter(args: &Args) -> Outcome {
    die_with(args.parent)?;
    confine_with_guests(args.memory_bytes, args.processor_s).context("cannot bound the process")?;
    Ok(())
}

/// Runs the subcommand of this process again within bounds, and ends as that does. `file` is what it parses.
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
        // It has reported why.
        Some(code) => exit(code),
        None => Err(killed(ended, bounds, processor_s, file)),
    }
}

/// What a signal says about the file.
fn killed(ended: ExitStatus, bounds: Bounds, processor_s: u64, file: &Path) -> Failure {
    let (name, signal) = (file.display(), ended.signal().unwrap_or_default());
    let of = |one: Signal| signal == one.as_raw();
    if of(Signal::XCPU) {
        let text = format!("reading `{name}` needs more than {processor_s} s of processor time");
        return Failure::refused(text).with_hint(bounds.remedy);
    }
    let failure = Failure::refused(format!("reading `{name}` was ended by signal {signal}"));
    if of(Signal::ABORT) || of(Signal::SEGV) {
        let memory = text::size(bounds.memory_bytes);
        return failure.with_hint(format!("it may need more than {memory} of memory: {}", bounds.remedy));
    }
    failure
}
