//! Progress of long work, for whoever looks at a terminal; nothing is drawn anywhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use sandhog::config::problem::Problems;
use sandhog::plugin::load::{Loaded, load};
use sandhog::plugin::release::Digest;
use sandhog::plugin::scan::Source;
use sandhog::sandbox::Sandbox;

use crate::cli::text;

/// Time between two pictures of a spinner.
const SPIN_EVERY: Duration = Duration::from_millis(100);

/// A bar over `bytes` (none: of unknown length) that also shows a message.
pub(crate) fn over_bytes(bytes: Option<u64>) -> ProgressBar {
    let (length, template) = match bytes {
        Some(bytes) => (Some(bytes), "{bar:30} {percent:>3} %  {msg}  {binary_bytes_per_sec}  {eta} left"),
        None => (None, "{spinner} {msg}  {binary_bytes_per_sec}"),
    };
    drawn(length, template)
}

/// A bar over `steps` that also shows a message.
pub(crate) fn over_steps(steps: u64) -> ProgressBar {
    drawn(Some(steps), "{bar:30} {percent:>3} %  {msg}")
}

/// One line that changes.
pub(crate) fn live_line() -> ProgressBar {
    drawn(None, "{msg}")
}

/// A line that shows what is compiled and for how long, until it is dropped. Hidden if the code is in the cache.
pub(crate) fn compiling(source: &Source, sandbox: &Sandbox) -> ProgressBar {
    if sandbox.keeps(Digest::of(&source.component).as_str()) {
        return ProgressBar::hidden();
    }
    let bar = drawn(None, "{spinner} {msg}  {elapsed}").with_finish(ProgressFinish::AndClear);
    let size = text::size(source.component.len() as u64);
    bar.set_message(format!("compiling {} ({size})", source.name));
    bar.enable_steady_tick(SPIN_EVERY);
    bar
}

/// Loads a plugin, and shows that it is compiled.
pub(crate) fn load_showing(source: Source, sandbox: &Sandbox) -> Result<Loaded, Problems> {
    let _bar = compiling(&source, sandbox);
    load(source, sandbox)
}

fn drawn(length: Option<u64>, template: &str) -> ProgressBar {
    // The target hides itself where standard error is not a terminal.
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template(template).expect("the templates of this file are well formed");
    bar.with_style(style.progress_chars("━╸ "))
}
