//! Progress of long work, for whoever looks at a terminal; nothing is drawn anywhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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

fn drawn(length: Option<u64>, template: &str) -> ProgressBar {
    // The target hides itself where standard error is not a terminal.
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template(template).expect("the templates of this file are well formed");
    bar.with_style(style.progress_chars("━╸ "))
}
