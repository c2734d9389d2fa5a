//! `invoke --watch`: runs again whenever a file that decides about the run has changed and come to rest. What is broken
//! meanwhile is told like anything else, and one goes on waiting.

use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use sandhog::plugin::watch::FolderWatch;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

use super::report::{self, Told};
use super::stage::Stage;
use crate::cli::error::{Outcome, Shape};
use crate::cli::serve::Signals;
use crate::cli::text;

/// How often the files are looked at: those that are shared with a virtual machine may have no events.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest list of names that is shown.
const NAMES_CHARS: usize = 200;

/// Runs until a signal comes, or nobody reads any more.
pub(super) async fn run(stage: &mut Stage<'_>) -> Outcome {
    let mut signals = Signals::take()?;
    tokio::select! {
        ended = turns(stage) => ended,
        () = signals.any() => Ok(()),
        () = unread() => Ok(()),
    }
}

async fn turns(stage: &mut Stage<'_>) -> Outcome {
    let files = stage.files();
    let (context, watched) = (stage.context, names(&files));
    let mut watch = FolderWatch::of_files(files, LOOK_EVERY).context("cannot watch files").refuse()?;
    let mut is_first = true;
    loop {
        match stage.ready().await {
            Ok(ready) => {
                stage.connect().await?;
                let run = stage.run(&ready).await;
                show(run.and_then(|run| report::tell(&run, context, Told::Each)))?;
            }
            Err(failure) => show(Err(failure))?,
        }
        if std::mem::take(&mut is_first) {
            context.note(&format!("waiting for changes of {watched}; Ctrl-C ends it"));
        }
        let changed = names(&watch.changed().await);
        if !context.out.is_json() {
            context.out.line(&format!("\n\x1b[1m--- changed: {changed}\x1b[0m"))?;
        }
    }
}

/// Tells of a failure and goes on, unless it is that nobody reads.
fn show(outcome: Outcome) -> Outcome {
    match outcome {
        Err(failure) if !failure.is_broken_pipe() => {
            failure.report();
            Ok(())
        }
        other => other,
    }
}

fn names(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    text::visible(names.join(", ").as_bytes(), NAMES_CHARS)
}

/// Returns when whoever read standard output has gone; never where that cannot be seen, as with a file.
async fn unread() {
    let seen = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
    let Ok(seen) = seen else { return std::future::pending().await };
    if seen.ready(Interest::ERROR).await.is_err() {
        std::future::pending().await
    }
}
