//! What a panic does. A panic is a fault of this program. The task that panicked has stopped working; if the host
//! went on renewing its lease, no other host could take over that task's jobs. So a panic ends the process of a host.
//! Its supervisor restarts it, and the new process takes the jobs back.
//!
//! The exception is work on input from others, such as loading a component: its caller reports the panic as an error
//! of that input (`contained`), because one bad file must not end a host again and again.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::process::exit;
use std::task::Poll;
use std::thread;

/// Exit code of a process that a panic ended: it failed while running.
const FAILED: i32 = 1;

thread_local! {
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// A panic in contained work; the log has its location and backtrace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fault of sandhog, please report it: {0}")]
pub struct Panicked(String);

/// Installs a panic hook: from now on every panic in any thread is logged as an error, and ends the process unless it
/// is contained. `last` is called before the process ends, with the message if the log level excludes errors.
pub fn end_process(last: fn(Option<&str>)) {
    std::panic::set_hook(Box::new(move |panic| {
        let is_contained = IS_CONTAINED.get();
        let message = log(panic, is_contained);
        if !is_contained {
            let is_logged = tracing::enabled!(tracing::Level::ERROR);
            last((!is_logged).then_some(&message));
            exit(FAILED);
        }
    }));
}

/// Runs work on this thread. A panic in it is returned as an error and does not end the process. State that the work
/// has changed must not be used after a panic.
pub fn contained<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let outer = IS_CONTAINED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_CONTAINED.set(outer);
    done.map_err(|payload| Panicked(message(&*payload).to_owned()))
}

/// As `contained`, for a future.
pub async fn contained_while<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match contained(|| work.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

fn log(panic: &PanicHookInfo<'_>, is_contained: bool) -> String {
    let what = message(panic.payload());
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or("?");
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    let means = match is_contained {
        true => "only this piece of work failed",
        false => "the process ends, and the next start reclaims its jobs",
    };
    let message = format!("panicked at {at}: {what:?}; a fault of sandhog, please report it; {means}");
    tracing::error!(thread, trace, "{message}");
    message
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_contained_panic_is_an_error_with_its_message() {
        assert_eq!(contained(|| 7), Ok(7));
        let panicked = contained(|| -> u8 { panic!("index {} of 3", 4) }).unwrap_err();
        assert_eq!(panicked.to_string(), "a fault of sandhog, please report it: index 4 of 3");
        // After it, panics of this thread are handled as before.
        assert!(!IS_CONTAINED.get());
        contained(|| assert!(contained(|| panic!("inner")).is_err() && IS_CONTAINED.get())).unwrap();
    }

    #[tokio::test]
    async fn work_that_waits_is_contained_while_it_is_polled_and_not_between() {
        let work = async {
            assert!(IS_CONTAINED.get());
            tokio::task::yield_now().await;
            assert!(!IS_CONTAINED.get(), "after a wait");
        };
        let mut work = pin!(contained_while(work));
        assert!((&mut work).now_or_never().is_none());
        assert!(!IS_CONTAINED.get());
        assert_eq!(work.await, Err(Panicked("after a wait".to_owned())));
    }
}
