//! `sandhog compile`: what a host starts to compile a component, with bounds that it gives itself before it reads
//! anything. Component on standard input, code on standard output; or the reason, and an exit code that says so.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use anyhow::Context as _;
use sandhog::sandbox::Profile;
use sandhog::sandbox::compile::{Functions, child};

use crate::cli::child::die_with;
use crate::cli::error::{Failure, Outcome};

/// The hidden subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Process id of whoever started us.
    parent: i32,
    /// Memory it may use.
    memory_bytes: u64,
    /// Processor time it may use.
    processor_s: u64,
    /// Profile of the engine it is for.
    #[arg(value_parser = profile)]
    profile: Profile,
    /// Length of the component. What follows it on standard input, a file in memory, are functions that were compiled
    /// before; in the end, the file holds the functions for the next time instead.
    component_bytes: Option<usize>,
}

fn profile(word: &str) -> Result<Profile, String> {
    Profile::from_word(word).ok_or_else(|| "it is `compute`, `short` or `baseline`".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    die_with(args.parent)?;
    child::confine(args.memory_bytes, args.processor_s).context("cannot bound the compiler")?;
    let mut component = Vec::new();
    std::io::stdin().read_to_end(&mut component).context("cannot read the component")?;
    let pack = args.component_bytes.map(|length| component.split_off(length.min(component.len())));
    let functions = pack.map(|pack| Arc::new(Functions::of_pack(pack)));
    let mut out = std::io::stdout().lock();
    match child::compile(&component, args.profile, functions.clone()) {
        Ok(code) => {
            out.write_all(&code).context("cannot write the code")?;
            leave(functions).context("cannot write the functions")?;
        }
        Err((code, reason)) => {
            out.write_all(reason.as_bytes()).context("cannot write the reason")?;
            out.flush().context("cannot write the reason")?;
            return Err(Failure::failed(reason).with_code(code.0));
        }
    }
    Ok(out.flush().context("cannot write the code")?)
}

/// Leaves the functions in the file that is standard input. An empty file says that the pack need not be kept.
fn leave(functions: Option<Arc<Functions>>) -> std::io::Result<()> {
    let Some(functions) = functions.and_then(Arc::into_inner) else { return Ok(()) };
    let mut file = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&functions.into_pack().unwrap_or_default())
}
