//! `sandhog new`: a project of a worker in the language of its author, which builds and passes its tests as it is.

mod template;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use sandhog::plugin::name::PluginName;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::text;
use template::File;

const EXAMPLES: &str = "\
Examples:
  sandhog new thumb-maker --lang rust
  sandhog new site --lang python --kind config-reader
  sandhog new totals --lang go --kind batch --json";

/// Makes a project for a plugin, in the language you like.
///
/// It has code, a manifest, the contract (WIT), tests, and a Makefile that does its own set-up; it builds and passes its
/// tests as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What the plugin, and the folder made for it, is called: `a`-`z`, `0`-`9`, `_` and `-`.
    name: String,
    /// What it is written in.
    #[arg(long, value_name = "LANGUAGE")]
    lang: Language,
    /// What it does: handle jobs, make settings of keys, or handle many jobs a call.
    #[arg(long, value_name = "KIND", default_value = "worker")]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    Python,
    Js,
    Ts,
    C,
    Go,
}

impl Language {
    /// The name of its folder of templates, and as people write it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Rust => ("rust", "Rust"),
            Self::Python => ("python", "Python"),
            Self::Js => ("js", "JavaScript"),
            Self::Ts => ("ts", "TypeScript"),
            Self::C => ("c", "C"),
            Self::Go => ("go", "Go"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Worker,
    ConfigReader,
    Batch,
}

impl Kind {
    /// The name of its folder of templates, and as people say it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Worker => ("worker", "worker"),
            Self::ConfigReader => ("config-reader", "config reader"),
            Self::Batch => ("batch", "batch worker"),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let name = checked(&args.name)?;
    let ((lang, language), (kind, what)) = (args.lang.names(), args.kind.names());
    let folder = PathBuf::from(name.as_str());
    refuse_unless_empty(&folder)?;
    let files = template::files(lang, kind, &name);
    for (path, file) in &files {
        write(&folder.join(path), file)
            .with_context(|| format!("`{name}` is not complete; delete it and try again"))?;
    }
    let next = [format!("cd {name} && make test"), "sandhog dev --plugins build".to_owned()];
    if context.out.is_json() {
        let files: Vec<_> = files.keys().map(|path| path.to_string_lossy()).collect();
        let plugin = name.as_str();
        let made = json!({ "name": plugin, "language": lang, "kind": kind, "files": files, "next": next });
        return Ok(context.out.document(&made)?);
    }
    let count = text::counted(files.len() as u64, "file", "files");
    context
        .out
        .line(&format!("made `{name}/`, a {what} in {language}: {count}; its README.md is one screen"))?;
    context.out.line(&format!("build and test it:  {}", next[0]))?;
    Ok(context.out.line(&format!("then run it there:  {}", next[1]))?)
}

/// The name, if a plugin can have it and every language can use it.
fn checked(name: &str) -> Outcome<PluginName> {
    let shown = text::visible(name.as_bytes(), 80);
    let name =
        PluginName::new(name).with_context(|| format!("`{shown}` is no name for a plugin")).refuse()?;
    if !name.as_str().starts_with(|first: char| first.is_ascii_lowercase()) {
        return Err(Failure::refused(format!(
            "`{shown}` is no name for a project: it begins with no letter"
        ))
        .with_hint("packages and modules are named after it; begin with one of `a`-`z`"));
    }
    Ok(name)
}

/// Nothing that is there is touched.
fn refuse_unless_empty(folder: &Path) -> Outcome {
    let name = folder.display();
    let is_empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => false,
        Err(error) => return Err(error).with_context(|| format!("cannot look into `{name}`")).refuse(),
    };
    if is_empty {
        return Ok(());
    }
    Err(Failure::refused(format!("`{name}` is there already, and not an empty folder"))
        .with_hint("choose another name, or move it away; nothing was written"))
}

fn write(path: &Path, file: &File) -> anyhow::Result<()> {
    let written = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, &file.bytes)?;
        if file.is_run {
            let mode = fs::metadata(path)?.permissions().mode();
            // Whoever may read it may run it.
            fs::set_permissions(path, fs::Permissions::from_mode(mode | (mode >> 2 & 0o111)))?;
        }
        io::Result::Ok(())
    };
    written().with_context(|| format!("cannot write `{}`", path.display()))
}
