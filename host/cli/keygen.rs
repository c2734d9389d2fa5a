//! `sandhog keygen`: a key to sign components with.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sandhog::plugin::signature::PrivateKey;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape};

/// Makes a key to sign components with.
///
/// Prints its public half: hosts that have it in `plugins.trusted_keys` take only components that it, or another key
/// of that list, has signed, and from Redis only deploys that such a key has signed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write the private key; a file that is there is never replaced.
    #[arg(short, long, value_name = "FILE", default_value = "sandhog.key")]
    output: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let key = PrivateKey::generate().ok_or_else(|| Failure::failed("the system has no random numbers"))?;
    let name = args.output.display();
    match write_new(&args.output, &format!("{}\n", key.text())) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::refused(format!(
                "`{name}` is there already, and a lost key cannot be made again"
            ))
            .with_hint("name another file with `--output FILE`"));
        }
        written => written.with_context(|| format!("cannot write `{name}`")).refuse()?,
    }
    let public = key.public().to_string();
    if context.out.is_json() {
        let document = json!({ "public_key": public, "private_key_file": args.output.to_string_lossy() });
        return Ok(context.out.document(&document)?);
    }
    context.out.line(&public)?;
    context.note(&format!("wrote the private key to `{name}`: keep it secret, and keep a copy"));
    context.note(&format!(
        "hosts take what it signs, and nothing else, with\n[plugins]\ntrusted_keys = [\"{public}\"]"
    ));
    Ok(())
}

/// Writes a file that is not there yet and that nobody else may read.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
