//! `sandhog sign`: vouches for a component, in a file beside it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sandhog::config::public_key::PublicKey;
use sandhog::config::settings::Settings;
use sandhog::plugin::release::Digest;
use sandhog::plugin::scan::signature_file;
use sandhog::plugin::signature::{PrivateKey, SIGNATURE_BYTES_MAX};
use sandhog::sandbox::load::COMPONENT_BYTES_MAX;
use serde_json::json;

use crate::cli::componentize::{read, write_whole};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape};

/// Signs a component: writes `FILE.sig` beside it.
///
/// Signatures of other keys that are in the file stay.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The component.
    component: PathBuf,
    /// The private key, as `sandhog keygen` wrote it.
    #[arg(long, value_name = "FILE", default_value = "sandhog.key")]
    key: PathBuf,
}

/// The key that signs the order of a deploy: the key of `--key`, or `sandhog.key` if the settings have trusted keys.
/// None if the settings here require no signature.
pub(crate) fn order_key(
    named: Option<&Path>,
    settings: &Settings,
    context: &Context,
) -> Outcome<Option<PrivateKey>> {
    let trusted = &settings.plugins.trusted_keys;
    if named.is_none() && trusted.is_empty() {
        return Ok(None);
    }
    let path = named.unwrap_or(Path::new("sandhog.key"));
    let key = read_key(path, context)?;
    if !trusted.is_empty() && !trusted.contains(&key.public()) {
        let (path, public) = (path.display(), key.public());
        return Err(Failure::refused(format!(
            "the key `{path}` ({public}) is not one of `plugins.trusted_keys`"
        ))
        .with_hint(
            "hosts accept only orders that one of these keys has signed; name that key with `--key FILE`",
        ));
    }
    Ok(Some(key))
}

/// The keys whose orders hosts accept: the trusted keys of the settings, and the key that signs.
pub(crate) fn counted_keys(settings: &Settings, key: &PrivateKey) -> Vec<PublicKey> {
    settings.plugins.trusted_keys.iter().copied().chain([key.public()]).collect()
}

/// Runs the command.
pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let key = read_key(&args.key, context)?;
    let component = read(&args.component, COMPONENT_BYTES_MAX)?;
    let version = Digest::of(&component);
    let output = signature_file(&args.component);
    let others =
        others(&output, &key).with_context(|| format!("cannot read `{}`", output.display())).refuse()?;
    let text = format!("{others}{}\n", key.sign(&version));
    if text.len() as u64 > SIGNATURE_BYTES_MAX {
        return Err(Failure::refused(format!("`{}` has too many signatures", output.display()))
            .with_hint("take those out whose keys nobody trusts any more"));
    }
    write_whole(&output, text.as_bytes()).with_context(|| format!("cannot write `{}`", output.display()))?;
    if context.out.is_json() {
        return Ok(context.out.document(&json!({
            "output": output.to_string_lossy(), "version": version, "public_key": key.public().to_string(),
        }))?);
    }
    context.note(&format!("wrote `{}`: {} is signed by {}", output.display(), version.short(), key.public()));
    Ok(())
}

/// Reads the private key in a file.
pub(crate) fn read_key(path: &Path, context: &Context) -> Outcome<PrivateKey> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read the key `{name}`")).refuse();
    let file = file.hint("make one with `sandhog keygen`, or name it with `--key FILE`")?;
    if file.metadata().is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        context.note(&format!("others can read `{name}`; run `chmod 600 {name}`"));
    }
    let text = bounded(file).with_context(|| format!("cannot read the key `{name}`")).refuse()?;
    PrivateKey::parse(&text)
        .ok_or_else(|| Failure::refused(format!("`{name}` holds no private key of `sandhog keygen`")))
}

/// The lines of a signature file that are not of this key.
fn others(path: &Path, key: &PrivateKey) -> io::Result<String> {
    let text = match File::open(path) {
        Ok(file) => bounded(file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let ours = format!("{} ", key.public());
    let others = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with(&ours));
    Ok(others.map(|line| format!("{line}\n")).collect())
}

fn bounded(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(SIGNATURE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
