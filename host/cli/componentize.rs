//! `sandhog componentize`: what a guest's compiler wrote becomes a component. The work is done in
//! `plugin::componentize`.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use sandhog::plugin::componentize::{ComponentizeError, World, componentize};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::cli::confined::{self, Bounds};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::{output, text};

/// Size of the largest core module. Names and debug information can make a module larger than its component.
const CORE_BYTES_MAX: usize = 256 << 20;
/// Bounds of the conversion: far more than any module needs that a host accepts.
const BOUNDS: Bounds = Bounds {
    memory_bytes: 4 << 30,
    time: Duration::from_secs(120),
    remedy: "modules of guest languages need a fraction of that: build it without debug information",
};

const EXAMPLES: &str = "\
Examples:
  sandhog componentize target/wasm32-unknown-unknown/release/thumbs.wasm -o plugins/thumbs.wasm
  sandhog componentize core.wasm --world queue-worker -o plugins/thumbs.wasm";

/// Makes a component of a core module with embedded WIT, which is what most compilers write.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The core module.
    core: PathBuf,
    /// What the module is for, if it has no embedded WIT: Go's compiler writes none.
    #[arg(long, value_enum)]
    world: Option<Worlds>,
    /// Where to write the component; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// The worlds of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Worlds {
    /// Jobs, one a call.
    QueueWorker,
    /// Jobs, many a call.
    BatchWorker,
    /// Settings.
    ConfigReader,
}

impl From<Worlds> for World {
    fn from(world: Worlds) -> Self {
        match world {
            Worlds::QueueWorker => Self::QueueWorker,
            Worlds::BatchWorker => Self::BatchWorker,
            Worlds::ConfigReader => Self::ConfigReader,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let name = args.core.display();
    if !context.is_confined {
        return confined::again(BOUNDS, &args.core);
    }
    let core = read(&args.core, CORE_BYTES_MAX)?;
    let component = componentize(&core, args.world.map(World::from)).map_err(|error| {
        let failure = Failure::refused(format!("cannot make a component of `{name}`: {error}"));
        match error {
            ComponentizeError::NoWit => {
                failure.with_hint("say what it is for, for example `--world queue-worker`, or build it with bindings that embed it")
            }
            ComponentizeError::Component => failure.with_hint("it needs no further step: load it as it is"),
            _ => failure,
        }
    })?;
    hand_over(&component, &args.output, context)
}

/// The bytes of a component or module. A file that is too large is not read to its end.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Outcome<Vec<u8>> {
    let most = bytes_max as u64;
    let whole = || -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
        anyhow::ensure!(bytes.len() <= bytes_max, "it is larger than {}", text::size(most));
        Ok(bytes)
    };
    whole().with_context(|| format!("cannot read `{}`", path.display())).refuse()
}

/// Writes a component to a file, and says so; `-` is standard output.
pub(crate) fn hand_over(component: &[u8], output: &Path, context: &Context) -> Outcome {
    if output == Path::new("-") {
        if std::io::stdout().is_terminal() {
            return Err(Failure::refused("will not write a component to a terminal"));
        }
        return Ok(output::bytes(component)?);
    }
    write_whole(output, component).with_context(|| format!("cannot write `{}`", output.display()))?;
    if context.out.is_json() {
        let document = json!({ "output": output.to_string_lossy(), "bytes": component.len() });
        return Ok(context.out.document(&document)?);
    }
    context.note(&format!("wrote `{}`, {}", output.display(), text::size(component.len() as u64)));
    Ok(())
}

/// Writes beside the file and renames: a host that watches the folder never sees half a component.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    // A temporary file is private; a component is read by whoever runs the host.
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}
