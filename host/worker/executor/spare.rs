//! Detects tasks that hold their thread too long, and runs spare threads that serve other plugins meanwhile. A guest
//! yields only between two instructions, and one instruction can take a second: `memory.fill` over a gigabyte is one
//! call into the engine. Some steps of the engine and of the host also take long: starting an instance, clearing its
//! memory, lifting a long list.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::clock::used;
use super::shares::Place;
use super::{Shared, State};
use crate::panics;

/// How long a task holds its thread before the watching thread measures it.
const LONG: Duration = Duration::from_millis(5);
/// Processor time, from then on, after which a spare thread may replace the task's thread. A busy guest yields every
/// millisecond. Time without a processor does not count, because on a busy machine every thread waits for one.
const BUSY: Duration = Duration::from_millis(5);
/// The same for a task that uses no processor because it waits for the kernel.
const HELD: Duration = Duration::from_millis(250);
/// Time between two polls of the running tasks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Polls without a running task after which polling stops until a task runs again.
const IDLE_LOOKS: u32 = 40;
/// Most threads beyond `host.threads`.
pub(super) const SPARES_MAX: usize = 32;
/// How long a spare thread waits for a task before it ends.
pub(super) const SPARE_IDLE: Duration = Duration::from_secs(10);

/// A running task.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) turn: u64,
    pub(super) place: Place,
    pub(super) began: Instant,
    /// The kernel's id of its thread, if the kernel reports it.
    pub(super) thread: Option<u32>,
    /// The processor time of its thread at the first measurement.
    pub(super) seen: Option<Duration>,
    /// Whether its thread no longer counts.
    pub(super) is_late: bool,
}

/// Starts the thread that watches the running tasks. It ends with the executor, as do the spare threads.
pub(super) fn start(shared: Arc<Shared>, io: Handle) -> io::Result<JoinHandle<()>> {
    panics::thread("late", move || watch(&shared, &io))
}

fn watch(shared: &Arc<Shared>, io: &Handle) {
    let mut spares: Vec<JoinHandle<()>> = Vec::new();
    let mut idle_looks = 0;
    let mut state = shared.lock();
    while !state.is_ended {
        idle_looks = if state.running.is_empty() { idle_looks + 1 } else { 0 };
        state.is_watched = idle_looks < IDLE_LOOKS;
        if !state.is_watched {
            state = shared.wait(&shared.watched, state);
            idle_looks = 0;
            continue;
        }
        state = shared.wait_for(&shared.watched, state, LOOK_EVERY).0;
        let long = state.long();
        if !long.is_empty() {
            drop(state);
            let seen: Vec<_> = long.into_iter().map(|(turn, thread)| (turn, thread.and_then(used))).collect();
            state = shared.lock();
            seen.into_iter().for_each(|(turn, used)| state.look_at(turn, used));
        }
        if !state.lacks_threads(shared.threads) {
            continue;
        }
        if state.sleeping > 0 {
            shared.work.notify_one();
        } else if state.spares < SPARES_MAX {
            state.spares += 1;
            drop(state);
            spares.retain(|spare| !spare.is_finished());
            match start_spare(shared, io) {
                Ok(spare) => spares.push(spare),
                Err(error) => {
                    tracing::debug!(%error, "could not start a spare thread for one that a guest holds");
                    shared.lock().spares -= 1;
                }
            }
            state = shared.lock();
        }
    }
    drop(state);
    for spare in spares {
        // A panic of a guest stays in its task, so a panic here is a bug of the host.
        let _ = spare.join();
    }
}

fn start_spare(shared: &Arc<Shared>, io: &Handle) -> io::Result<JoinHandle<()>> {
    let (shared, io) = (shared.clone(), io.clone());
    panics::thread("guests", move || {
        let _entered = io.enter();
        shared.work(true);
    })
}

impl State {
    /// Tasks that have held their threads for long, and their threads.
    fn long(&self) -> Vec<(u64, Option<u32>)> {
        let long = self.running.iter().filter(|running| !running.is_late && running.began.elapsed() >= LONG);
        long.map(|running| (running.turn, running.thread)).collect()
    }

    /// Records whether such a task holds its thread too long, by the processor time of the thread if it is known.
    fn look_at(&mut self, turn: u64, used: Option<Duration>) {
        let Some(running) = self.running.iter_mut().find(|running| running.turn == turn) else { return };
        let held = running.began.elapsed();
        running.is_late = held >= HELD
            || match (used, running.seen) {
                (Some(used), Some(seen)) => used.saturating_sub(seen) >= BUSY,
                (Some(_), None) => false,
                (None, _) => held >= LONG + BUSY,
            };
        running.seen = running.seen.or(used);
        self.late += usize::from(running.is_late);
    }

    /// Whether one more task may run.
    pub(super) fn has_room(&self, threads: usize) -> bool {
        self.running.len() - self.late < threads
    }

    /// Whether a task could run now if there were a thread for it.
    fn lacks_threads(&self, threads: usize) -> bool {
        self.late > 0 && self.has_room(threads) && self.shares.has_next(threads)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc::{Sender, channel};

    use async_task::Task;

    use super::super::{Executor, Share};
    use std::thread;

    use super::*;

    /// Tasks that hold their threads until they are released.
    struct Hogs {
        tasks: Vec<Task<()>>,
        running: Arc<AtomicUsize>,
        holds: Vec<Sender<()>>,
    }

    impl Hogs {
        fn new(share: &Arc<Share>, count: usize) -> Self {
            let (mut tasks, mut holds, running) = (Vec::new(), Vec::new(), Arc::new(AtomicUsize::new(0)));
            for _ in 0..count {
                let ((hold, held), running) = (channel::<()>(), running.clone());
                holds.push(hold);
                tasks.push(share.spawn(async move {
                    running.fetch_add(1, SeqCst);
                    // For the thread, this is like one instruction.
                    let _ = held.recv();
                    running.fetch_sub(1, SeqCst);
                }));
            }
            Self { tasks, running, holds }
        }

        fn running(&self) -> usize {
            self.running.load(SeqCst)
        }

        fn until_running(&self, count: usize) {
            while self.running() < count {
                thread::yield_now();
            }
        }

        fn let_go(self) {
            drop(self.holds);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            self.tasks.into_iter().for_each(|task| runtime.block_on(task));
        }
    }

    /// Runs a short task, and waits for it.
    fn run(share: &Arc<Share>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(share.spawn(async { 7 })), 7);
    }

    #[test]
    fn tasks_that_hold_every_thread_hold_up_no_other_plugin() {
        let executor = Executor::start(2).unwrap();
        let (hog, good) = (executor.handle().share("hog", 1), executor.handle().share("good", 1));
        let hogs = Hogs::new(&hog, 64);
        hogs.until_running(2);
        for _ in 0..100 {
            run(&good);
        }
        assert_eq!(hogs.running(), 2, "a plugin has no more threads than there are");
        hogs.let_go();
        run(&hog);
    }

    #[test]
    fn a_task_that_computes_without_a_pause_holds_up_no_other_plugin() {
        let executor = Executor::start(1).unwrap();
        let (hog, good) = (executor.handle().share("hog", 1), executor.handle().share("good", 1));
        let (is_over, is_running) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (until, running) = (is_over.clone(), is_running.clone());
        let task = hog.spawn(async move {
            running.store(true, SeqCst);
            while !until.load(SeqCst) {
                std::hint::spin_loop();
            }
        });
        while !is_running.load(SeqCst) {
            thread::yield_now();
        }
        run(&good);
        is_over.store(true, SeqCst);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(task);
    }

    #[test]
    fn many_plugins_that_hold_threads_hold_up_no_other() {
        let executor = Executor::start(2).unwrap();
        let hogs = (0..4).map(|n| Hogs::new(&executor.handle().share(&format!("hog {n}"), 1), 3));
        let hogs: Vec<Hogs> = hogs.collect();
        hogs.iter().for_each(|hogs| hogs.until_running(1));
        run(&executor.handle().share("good", 1));
        let spares = executor.handle().shared.lock().spares;
        assert!((1..=SPARES_MAX).contains(&spares), "{spares}");
        hogs.into_iter().for_each(Hogs::let_go);
        run(&executor.handle().share("good", 1));
    }

    #[test]
    fn a_thread_that_comes_back_counts_again() {
        const ROUNDS: usize = 10;
        let executor = Executor::start(1).unwrap();
        let (hog, good) = (executor.handle().share("hog", 1), executor.handle().share("good", 1));
        for _ in 0..ROUNDS {
            let hogs = Hogs::new(&hog, 1);
            hogs.until_running(1);
            run(&good);
            hogs.let_go();
        }
        let handle = executor.handle();
        let is_settled = || {
            let state = handle.shared.lock();
            state.late == 0 && state.running.is_empty()
        };
        while !is_settled() {
            thread::yield_now();
        }
        let spares = handle.shared.lock().spares;
        // One is enough; on a busy machine the other runs can be late.
        assert!(spares <= ROUNDS / 2, "a waiting spare thread is used first: {spares}");
    }
}
