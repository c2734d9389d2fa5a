//! `sandhog compile`: what a host starts to compile a component, with bounds that it gives itself before it reads
//! anything. Component on standard input, code on standard output; or the reason, and an exit code that says so.

use std::io::{Read as _, Write as _};

use anyhow::Context as _;
use sandhog::sandbox::Profile;
use sandhog::sandbox::compile::child;

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
}

fn profile(word: &str) -> Result<Profile, String> {
    Profile::from_word(word).ok_or_else(|| "it is `compute` or `short`".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    die_with(args.parent)?;
    child::confine(args.memory_bytes, args.processor_s).context("cannot bound the compiler")?;
    let mut component = Vec::new();
    std::io::stdin().read_to_end(&mut component).context("cannot read the component")?;
    let mut out = std::io::stdout().lock();
    match child::compile(&component, args.profile) {
        Ok(code) => out.write_all(&code).context("cannot write the code")?,
        Err((code, reason)) => {
            out.write_all(reason.as_bytes()).context("cannot write the reason")?;
            out.flush().context("cannot write the reason")?;
            return Err(Failure::failed(reason).with_code(code.0));
        }
    }
    Ok(out.flush().context("cannot write the code")?)
}
