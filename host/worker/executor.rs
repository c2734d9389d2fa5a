//! Where guests run: a few threads that plugins share. Whichever plugin has used least of the processors goes next, and
//! a busy guest gives way every millisecond (`sandbox`'s epochs), so that a plugin's share does not depend on what the
//! others do, nor on how many runs they have; its queues share what it gets. Nothing is kept idle: what nobody else wants,
//! a plugin may have.
//! If a task still holds its thread for long, a spare thread serves the other plugins meanwhile (`spare`).
//!
//! Tokio's own scheduler takes turns among tasks instead, where 64 busy guests take 64 turns to each of a good one.

mod clock;
mod shares;
mod spare;
mod turns;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_task::{Runnable, Task};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::panics;
use shares::{Place, Shares};
use spare::{Running, SPARE_IDLE};

/// Longest wait at the end for work that blocks.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// The threads. They end, and are joined, when this is dropped; what still runs there is dropped with them.
#[derive(Debug)]
pub struct Executor {
    handle: ExecutorHandle,
    threads: Vec<JoinHandle<()>>,
    /// Detects tasks that hold a thread too long.
    watch: Option<JoinHandle<()>>,
    /// Looks after timers and sockets of what runs on the threads, which are too busy for that.
    io: Option<Runtime>,
}

/// For whoever has something to run.
#[derive(Debug, Clone)]
pub struct ExecutorHandle {
    shared: Arc<Shared>,
    io: Handle,
}

/// The share of the threads that one queue of a plugin has.
#[derive(Debug)]
pub struct Share {
    place: Place,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Most tasks at the same time, without those that hold their threads too long.
    threads: usize,
    state: Mutex<State>,
    /// Given when there is something to do for one more thread.
    work: Condvar,
    /// Notified when there is a task to watch.
    watched: Condvar,
}

#[derive(Debug, Default)]
struct State {
    shares: Shares<Runnable>,
    running: Vec<Running>,
    /// Running tasks that hold their threads too long.
    late: usize,
    turns: u64,
    sleeping: usize,
    /// Spare threads.
    spares: usize,
    /// Whether the watching thread polls the running tasks.
    is_watched: bool,
    is_ended: bool,
}

impl Executor {
    /// Starts so many threads for guests, and one that looks after their timers and sockets.
    pub fn start(threads: usize) -> io::Result<Self> {
        let io =
            Builder::new_multi_thread().worker_threads(1).thread_name("sandhog-io").enable_all().build()?;
        let threads = threads.max(1);
        let (state, work, watched) = (Mutex::default(), Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { threads, state, work, watched });
        let handle = ExecutorHandle { shared, io: io.handle().clone() };
        let mut executor = Self { handle, threads: Vec::new(), watch: None, io: Some(io) };
        for _ in 0..threads {
            let ExecutorHandle { shared, io } = executor.handle();
            let thread = panics::thread("guests", move || {
                let _entered = io.enter();
                shared.work(false);
            })?;
            executor.threads.push(thread);
        }
        let ExecutorHandle { shared, io } = executor.handle();
        executor.watch = Some(spare::start(shared, io)?);
        Ok(executor)
    }

    /// For whoever has something to run.
    pub fn handle(&self) -> ExecutorHandle {
        self.handle.clone()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        let mut state = shared.lock();
        state.is_ended = true;
        let left = state.shares.drain();
        drop(state);
        shared.work.notify_all();
        shared.watched.notify_all();
        // Outside the lock: what is dropped here may wake what comes next.
        drop(left);
        for thread in self.threads.drain(..).chain(self.watch.take()) {
            // A guest's panic is kept in its task, so this one is nobody's.
            let _ = thread.join();
        }
        if let Some(io) = self.io.take() {
            io.shutdown_timeout(FAREWELL_MAX);
        }
    }
}

impl ExecutorHandle {
    /// Runs what blocks, on a thread of its own.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.io.spawn_blocking(work)
    }

    /// A share for a queue of this plugin.
    pub fn share(&self, plugin: &str, weight: u32) -> Arc<Share> {
        let place = self.shared.lock().shares.join(plugin, weight);
        Arc::new(Share { place, shared: self.shared.clone() })
    }
}

impl Share {
    /// Runs `future` on the threads, at this share's expense. Dropping the task stops it at its next pause.
    pub fn spawn<F>(self: &Arc<Self>, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let share = self.clone();
        let schedule = move |runnable| share.schedule(runnable);
        let build = async_task::Builder::new().propagate_panic(true);
        let (runnable, task) = build.spawn(move |()| future, schedule);
        runnable.schedule();
        task
    }

    /// Threads that it shares.
    pub fn threads(&self) -> usize {
        self.shared.threads
    }

    /// Puts on the share's account what others did for it: Redis, the threads that talk to it.
    pub fn charge(&self, took: Duration) {
        self.shared.lock().shares.charge(self.place, took);
    }

    /// Gives it another weight.
    pub fn weigh(&self, weight: u32) {
        self.shared.lock().shares.weigh(self.place, weight);
    }

    fn schedule(&self, runnable: Runnable) {
        let mut state = self.shared.lock();
        if state.is_ended {
            drop(state);
            drop(runnable);
            return;
        }
        state.shares.add(self.place, runnable);
        let has_room = state.has_room(self.shared.threads);
        let sleeping = state.sleeping;
        drop(state);
        match (has_room, sleeping) {
            (true, 1..) => self.shared.work.notify_one(),
            // Tasks hold threads, so perhaps a spare thread is needed.
            (true, 0) => self.shared.watched.notify_one(),
            // The next thread that is done takes further tasks.
            (false, _) => {}
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shared.lock().shares.leave(self.place);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, what: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        what.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for at most `most`. Returns true if this time has passed.
    fn wait_for<'a>(
        &self,
        what: &Condvar,
        state: MutexGuard<'a, State>,
        most: Duration,
    ) -> (MutexGuard<'a, State>, bool) {
        let (state, waited) = what.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner);
        (state, waited.timed_out())
    }

    /// Body of a thread. A spare thread ends when it has had no task for a while.
    fn work(&self, is_spare: bool) {
        let thread = clock::own_thread();
        let mut state = self.lock();
        while !state.is_ended {
            let Some((turn, runnable)) = state.begin(self.threads, thread) else {
                state.sleeping += 1;
                let is_over;
                (state, is_over) = match is_spare {
                    true => self.wait_for(&self.work, state, SPARE_IDLE),
                    false => (self.wait(&self.work, state), false),
                };
                state.sleeping -= 1;
                // A task that arrived in the last moment may depend on this thread.
                if is_over && !(state.has_room(self.threads) && state.shares.has_next(self.threads)) {
                    break;
                }
                continue;
            };
            let is_watched = std::mem::replace(&mut state.is_watched, true);
            drop(state);
            if !is_watched {
                self.watched.notify_one();
            }
            runnable.run();
            state = self.lock();
            state.end(turn);
        }
        state.spares -= usize::from(is_spare);
    }
}

impl State {
    /// The next task for a thread, if one may run.
    fn begin(&mut self, threads: usize, thread: Option<u32>) -> Option<(u64, Runnable)> {
        if !self.has_room(threads) {
            return None;
        }
        let (place, runnable) = self.shares.next(threads)?;
        self.turns += 1;
        let (turn, began) = (self.turns, Instant::now());
        self.running.push(Running { turn, place, began, thread, seen: None, is_late: false });
        Some((turn, runnable))
    }

    /// A task has released its thread.
    fn end(&mut self, turn: u64) {
        let Some(at) = self.running.iter().position(|running| running.turn == turn) else { return };
        let Running { place, began, is_late, .. } = self.running.swap_remove(at);
        self.late -= usize::from(is_late);
        self.shares.end(place, began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use futures_util::FutureExt as _;

    use super::*;

    /// Keeps the thread for `slice`, gives way, and so on, counting.
    async fn busy(slice: Duration, turns: Arc<AtomicU64>) {
        loop {
            let began = Instant::now();
            while began.elapsed() < slice {
                std::hint::spin_loop();
            }
            turns.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_few_short_runs_get_as_much_as_many_long_ones() {
        let executor = Executor::start(1).unwrap();
        let (many, few) = (executor.handle().share("many", 1), executor.handle().share("few", 1));
        let (of_many, of_few) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (long, short) = (Duration::from_millis(1), Duration::from_micros(100));
        let mut tasks: Vec<_> = (0..32).map(|_| many.spawn(busy(long, of_many.clone()))).collect();
        tasks.push(few.spawn(busy(short, of_few.clone())));
        while of_many.load(Relaxed) < 200 {
            std::thread::yield_now();
        }
        drop(tasks);
        // Ten short turns for each long one, about; with a turn for each task it would be one for 32.
        assert!(of_few.load(Relaxed) > of_many.load(Relaxed), "{of_few:?} of {of_many:?}");
    }

    #[test]
    fn tasks_end_with_their_value_or_are_dropped() {
        let executor = Executor::start(2).unwrap();
        let io = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let share = executor.handle().share("p", 1);
        let slept = share.spawn(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            7
        });
        assert_eq!(io.block_on(slept), 7);
        let (held, mut dropped) = tokio::sync::oneshot::channel::<()>();
        drop(share.spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        }));
        assert!(io.block_on(&mut dropped).is_err(), "what was stopped is dropped");
        let panics = AssertUnwindSafe(share.spawn(async { panic!("a guest's task") }));
        assert!(io.block_on(panics.catch_unwind()).is_err());
        assert_eq!(io.block_on(share.spawn(async { 8 })), 8, "the thread goes on");
    }
}
