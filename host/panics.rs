//! What a panic does. A panic is a fault of this program. The task that panicked has stopped working; if the host
//! went on renewing its lease, no other host could take over that task's jobs. So a panic ends the process of a host.
//! Its supervisor restarts it, and the new process takes the jobs back.
//!
//! The exception is work on input from others, such as loading a component: its caller reports the panic as an error
//! of that input (`contained`), because one bad file must not end a host again and again.
//!
//! Every task and thread of a host has a name (`named`, `thread`), which the line about its panic contains.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::process::exit;
use std::sync::mpsc::sync_channel;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Exit code of a process that a panic ended: it failed while running.
const FAILED: i32 = 1;
/// The task of the thread that writes the log. If it panics, the line about it cannot go through the log.
pub const LOG: &str = "log";
/// Longest wait until that line is written, because perhaps nothing reads it.
const WRITE_MAX: Duration = Duration::from_secs(1);

thread_local! {
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
    /// The name of the task that this thread runs.
    static TASK: Cell<Option<&'static str>> = const { Cell::new(None) };
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
            if TASK.get() == Some(LOG) {
                write_directly(&message);
                exit(FAILED);
            }
            let is_logged = tracing::enabled!(tracing::Level::ERROR);
            last((!is_logged).then_some(&message));
            exit(FAILED);
        }
    }));
}

/// A task of the host: `work` under a name.
pub async fn named<T>(task: &'static str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    under(task, || started(task));
    std::future::poll_fn(|context| under(task, || work.as_mut().poll(context))).await
}

/// Starts a thread of the host: `body` under a name.
pub fn thread<T: Send + 'static>(
    task: &'static str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let named = move || {
        under(task, || {
            started(task);
            body()
        })
    };
    thread::Builder::new().name(format!("sandhog-{task}")).spawn(named)
}

/// Runs work on this thread, under a name. A panic in it is returned as an error and does not end the process. State
/// that the work has changed must not be used after a panic.
pub fn contained<T>(task: &'static str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    contain(task, || {
        started(task);
        work()
    })
}

/// As `contained`, for a future.
pub async fn contained_while<T>(task: &'static str, work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    contain(task, || started(task))?;
    std::future::poll_fn(|context| match contain(task, || work.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

fn contain<T>(task: &'static str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let outer = IS_CONTAINED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(|| under(task, work)));
    IS_CONTAINED.set(outer);
    done.map_err(|payload| Panicked(message(&*payload).to_owned()))
}

/// Tasks can run inside others, for example inside a task of the control thread.
fn under<T>(task: &'static str, work: impl FnOnce() -> T) -> T {
    struct Outer(Option<&'static str>);
    impl Drop for Outer {
        fn drop(&mut self) {
            TASK.set(self.0);
        }
    }
    let _outer = Outer(TASK.replace(Some(task)));
    work()
}

/// Logged from inside the task; `tests/panics/roles.rs` makes each task panic here.
fn started(task: &'static str) {
    tracing::trace!(task, "started");
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
    let who = TASK.get().map(|task| format!("the task `{task}` ")).unwrap_or_default();
    let message = format!("{who}panicked at {at}: {what:?}; a fault of sandhog, please report it; {means}");
    tracing::error!(thread, trace, "{message}");
    message
}

fn write_directly(message: &str) {
    let line = format!("sandhog: {message}\n");
    let (done, is_done) = sync_channel(1);
    let write = move || {
        let _ = io::stderr().write_all(line.as_bytes());
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = is_done.recv_timeout(WRITE_MAX);
    }
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
        assert_eq!(contained("t", || 7), Ok(7));
        let panicked = contained("t", || -> u8 { panic!("index {} of 3", 4) }).unwrap_err();
        assert_eq!(panicked.to_string(), "a fault of sandhog, please report it: index 4 of 3");
        // After it, panics of this thread are handled as before.
        assert!(!IS_CONTAINED.get());
        contained("t", || {
            assert!(contained("inner", || panic!("inner")).is_err() && IS_CONTAINED.get());
            assert_eq!(TASK.get(), Some("t"));
        })
        .unwrap();
        assert_eq!(TASK.get(), None);
    }

    #[tokio::test]
    async fn a_task_has_its_name_while_it_is_polled_and_not_between() {
        let inner = async {
            assert_eq!(TASK.get(), Some("inner"));
            tokio::task::yield_now().await;
            TASK.get()
        };
        let mut outer = pin!(named("outer", async { (named("inner", inner).await, TASK.get()) }));
        assert!((&mut outer).now_or_never().is_none());
        assert_eq!(TASK.get(), None);
        assert_eq!(outer.await, (Some("inner"), Some("outer")));
        assert_eq!(thread("of-tests", || TASK.get()).unwrap().join().unwrap(), Some("of-tests"));
    }

    #[tokio::test]
    async fn work_that_waits_is_contained_while_it_is_polled_and_not_between() {
        let work = async {
            assert!(IS_CONTAINED.get());
            tokio::task::yield_now().await;
            assert!(!IS_CONTAINED.get(), "after a wait");
        };
        let mut work = pin!(contained_while("t", work));
        assert!((&mut work).now_or_never().is_none());
        assert!(!IS_CONTAINED.get());
        assert_eq!(work.await, Err(Panicked("after a wait".to_owned())));
    }
}
