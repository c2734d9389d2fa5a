//! One run: a store, one call, one outcome. Nothing of it is left when it ends, unless its instance is kept for the next
//! one (`instance`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use wasmtime::Store;

use super::binding::batch::sandhog::worker::handler::JobParam as BatchJob;
use super::binding::worker::exports::sandhog::worker::handler::Job;
use super::instance::{Exports, Instance};
use super::limits::RunLimiter;
use super::load::{Entry, Version};
use super::outcome::{Outcome, tidy};
use super::store::RunState;
use crate::capability::log::GuestLog;
use crate::capability::overlay::Pending;
use crate::capability::plan::Plan;
use crate::capability::status::Board;
use crate::capability::view::{ReadSet, Usage, View};
use crate::storage::link::Link;

/// Most settings a config reader can answer.
const SETTINGS_MAX: usize = 10_000;
/// Longest name of a setting in bytes.
const SETTING_NAME_BYTES_MAX: usize = 256;
/// All names and values together.
const SETTINGS_BYTES_MAX: usize = 1 << 20;

/// One job, as the guest sees it.
#[derive(Debug, Clone, Copy)]
pub struct JobCall<'a> {
    /// Kept through all attempts.
    pub id: &'a str,
    /// The queue it came from.
    pub queue: &'a str,
    /// The producer's bytes.
    pub payload: &'a [u8],
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The attempt whose failure is the last.
    pub max_attempts: u32,
    /// Redis time of the first claim.
    pub first_seen_ms: u64,
    /// What the producer attached.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What runs share: made once for a queue and a snapshot of settings.
#[derive(Debug, Clone)]
pub struct RunContext {
    /// The guests' way to Redis.
    pub link: Link,
    /// Settings of the config readers this plugin was granted; static ones from the manifest come under them.
    pub settings: Arc<BTreeMap<String, String>>,
    /// Wall clock of one run.
    pub timeout: Duration,
    /// When effects take place.
    pub plan: Plan,
    /// Where it is shown how far runs are; nowhere outside a host.
    pub board: Option<Arc<Board>>,
}

/// What became of a run, and what it used.
#[derive(Debug)]
pub struct RunReport {
    /// How it ended.
    pub outcome: Outcome,
    /// What is to be committed with the job's completion. None: the run did not end well, so nothing is, or
    /// its effects took place at once.
    pub pending: Option<Pending>,
    /// The job's result, if it completed and the run has set one.
    pub result: Option<Vec<u8>>,
    /// How long its instance took to start; nothing where one was kept.
    pub instantiate: Duration,
    /// Calls, effects, denials.
    pub usage: Usage,
    /// Most memory the guest had.
    pub memory_peak_bytes: u64,
    /// Bytes of log beyond the bound.
    pub log_dropped_bytes: u64,
}

/// What became of a call for many jobs.
#[derive(Debug)]
pub struct BatchReport {
    /// How the call ended, what it used, what is to be committed with the jobs that completed. `Done`: with an answer for
    /// each job.
    pub run: RunReport,
    /// What became of each job, in their order; none where the call did not end well.
    pub answers: Vec<Outcome>,
}

/// What a config reader answered.
#[derive(Debug, Clone)]
pub struct ConfigReport {
    /// The settings, or a short reason why there are none.
    pub settings: Result<BTreeMap<String, String>, String>,
    /// What it read; when any of it changes, the answer may.
    pub reads: ReadSet,
    /// How long its instance took to start.
    pub instantiate: Duration,
    /// Calls and denials.
    pub usage: Usage,
    /// Most memory the guest had.
    pub memory_peak_bytes: u64,
}

impl BatchReport {
    /// The report of the only job.
    pub fn of_one(mut self) -> RunReport {
        if let Some(answer) = self.answers.pop() {
            self.run.outcome = answer;
        }
        self.run
    }
}

impl Version {
    /// Runs one job in a sandbox of its own.
    pub async fn run_job(&self, job: JobCall<'_>, context: &RunContext) -> RunReport {
        self.run_job_in(&mut None, job, context).await
    }

    /// Runs one job in the instance that was kept, or a fresh one, and keeps it for the next job if it may have one.
    pub async fn run_job_in(
        &self,
        kept: &mut Option<Instance>,
        job: JobCall<'_>,
        context: &RunContext,
    ) -> RunReport {
        let Entry::Worker(worker) = &self.entry else {
            return RunReport::host_fault("it takes no single jobs");
        };
        let _running = self.core.ticker.enter();
        let (begun, mut instantiate) = (Instant::now(), Duration::ZERO);
        let mut instance = self.ready(kept, context, job.id);
        let Instance { store, exports, .. } = &mut instance;
        if self.tells {
            store.data_mut().view.let_tell(job.id, context.board.clone());
        }
        let param = Job {
            id: job.id,
            queue: job.queue,
            payload: job.payload,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            first_seen_ms: job.first_seen_ms,
            headers: job.headers,
        };
        // Around everything, because a timeout inside may never be polled. Dropping the store stops the guest.
        let ended = timeout(context.timeout, async {
            if exports.is_none() {
                *exports = Some(Exports::Worker(worker.instantiate_async(&mut *store).await?));
                instantiate = begun.elapsed();
            }
            let Some(Exports::Worker(exports)) = exports else { unreachable!("an instance of a worker") };
            exports.sandhog_worker_handler().call_handle(&mut *store, param).await
        })
        .await;
        let outcome = match ended {
            Ok(Ok(answer)) => Outcome::answered(answer),
            Ok(Err(error)) => self.broke(&error, store),
            Err(_) => Outcome::TimedOut,
        };
        let pending = if outcome == Outcome::Done { store.data_mut().view.finish() } else { None };
        let result = if outcome == Outcome::Done { store.data_mut().view.take_result() } else { None };
        let well = matches!(outcome, Outcome::Done | Outcome::Discarded(_));
        RunReport { result, instantiate, ..self.close(instance, (outcome, pending), well, kept) }
    }

    /// Runs many jobs, at least one, in one call and a sandbox of its own.
    pub async fn run_batch(&self, jobs: &[JobCall<'_>], context: &RunContext) -> BatchReport {
        self.run_batch_in(&mut None, jobs, context).await
    }

    /// Runs many jobs, at least one, in one call, as `run_job_in` does one.
    pub async fn run_batch_in(
        &self,
        kept: &mut Option<Instance>,
        jobs: &[JobCall<'_>],
        context: &RunContext,
    ) -> BatchReport {
        let (Entry::Batch(worker), Some(first)) = (&self.entry, jobs.first()) else {
            return BatchReport { run: RunReport::host_fault("it takes no batches"), answers: Vec::new() };
        };
        let _running = self.core.ticker.enter();
        let named = match jobs.len() {
            1 => first.id.to_owned(),
            more => format!("{}+{}", first.id, more - 1),
        };
        let (begun, mut instantiate) = (Instant::now(), Duration::ZERO);
        let mut instance = self.ready(kept, context, &named);
        let Instance { store, exports, .. } = &mut instance;
        let params: Vec<BatchJob<'_>> = jobs.iter().map(batch_job).collect();
        let ended = timeout(context.timeout, async {
            if exports.is_none() {
                *exports = Some(Exports::Batch(worker.instantiate_async(&mut *store).await?));
                instantiate = begun.elapsed();
            }
            let Some(Exports::Batch(exports)) = exports else {
                unreachable!("an instance of a batch worker")
            };
            exports.sandhog_worker_batch_handler().call_handle_batch(&mut *store, &params).await
        })
        .await;
        let mut answers = Vec::new();
        let outcome = match ended {
            Ok(Ok(answered)) if answered.len() == jobs.len() => {
                answers.extend(answered.into_iter().map(Outcome::answered_of_batch));
                Outcome::Done
            }
            Ok(Ok(answered)) => {
                let (given, wanted) = (answered.len(), jobs.len());
                let reason = format!("the guest gave {given} answers for {wanted} jobs");
                Outcome::Trapped { reason, backtrace: String::new() }
            }
            Ok(Err(error)) => self.broke(&error, store),
            Err(_) => Outcome::TimedOut,
        };
        let pending = answers.contains(&Outcome::Done).then(|| store.data_mut().view.finish()).flatten();
        let ended_well = |answer: &Outcome| matches!(answer, Outcome::Done | Outcome::Discarded(_));
        let well = outcome == Outcome::Done && answers.iter().all(ended_well);
        let run = RunReport { instantiate, ..self.close(instance, (outcome, pending), well, kept) };
        BatchReport { run, answers }
    }

    /// Asks a config reader for its settings.
    pub async fn read_config(&self, context: &RunContext) -> ConfigReport {
        let Entry::Reader(reader) = &self.entry else {
            return ConfigReport {
                settings: Err("a worker has no settings".to_owned()),
                reads: ReadSet::default(),
                instantiate: Duration::ZERO,
                usage: Usage::default(),
                memory_peak_bytes: 0,
            };
        };
        let _running = self.core.ticker.enter();
        let (begun, mut instantiate) = (Instant::now(), Duration::ZERO);
        let mut store = self.store(Some((context.link.clone(), &context.plan)), &context.settings, "config");
        let ended = timeout(context.timeout, async {
            let instance = reader.instantiate_async(&mut store).await?;
            instantiate = begun.elapsed();
            instance.sandhog_worker_config_source().call_read(&mut store).await
        })
        .await;
        let settings = match ended {
            Ok(Ok(Ok(settings))) => check_settings(settings),
            Ok(Ok(Err(reason))) => Err(tidy(&reason)),
            Ok(Err(error)) => Err(self.broke(&error, &store).reason().into_owned()),
            Err(_) => Err(Outcome::TimedOut.reason().into_owned()),
        };
        let reads = store.data_mut().view.take_reads();
        let (usage, memory_peak_bytes) = (store.data().view.usage(), store.data().limiter.memory_bytes());
        let log = store.data().view.log().cloned();
        drop(store);
        log.map(|log| log.finish());
        ConfigReport { settings, reads, instantiate, usage, memory_peak_bytes }
    }

    /// The end of a run: its figures, and what becomes of its instance.
    fn close(
        &self,
        instance: Instance,
        (outcome, pending): (Outcome, Option<Pending>),
        well: bool,
        kept: &mut Option<Instance>,
    ) -> RunReport {
        let state = instance.store.data();
        let (usage, memory_peak_bytes) = (state.view.usage(), state.limiter.memory_bytes());
        let log = state.view.log().cloned();
        // Unfinished lines are logged when an instance goes, and when it rests.
        self.keep(instance, well, kept);
        let log_dropped_bytes = log.map_or(0, |log| log.finish());
        let (result, instantiate) = (None, Duration::ZERO);
        RunReport { outcome, pending, result, instantiate, usage, memory_peak_bytes, log_dropped_bytes }
    }

    /// A store for one run. Without a reach nothing outside can be reached.
    pub(super) fn store(
        &self,
        reach: Option<(Link, &Plan)>,
        settings: &Arc<BTreeMap<String, String>>,
        job: &str,
    ) -> Store<RunState> {
        let view = self.view(reach, settings, job);
        let memory_bytes_max = self.scope.limits.memory_bytes;
        let limiter = RunLimiter::new(memory_bytes_max);
        let mut store = Store::new(&self.core.engine, RunState { view, limiter, wasi: None });
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let call_bytes_max = self.scope.limits.call_bytes_max();
        store.set_hostcall_fuel(usize::try_from(call_bytes_max).unwrap_or(usize::MAX));
        store
    }

    /// What a run can reach.
    pub(super) fn view(
        &self,
        reach: Option<(Link, &Plan)>,
        settings: &Arc<BTreeMap<String, String>>,
        job: &str,
    ) -> View {
        let log = self.logs.then(|| GuestLog::new(&self.scope, job));
        let (link, plan) = reach.map_or((None, &Plan::Immediate), |(link, plan)| (Some(link), plan));
        View::new(self.scope.clone(), link, settings.clone(), log, plan)
    }

    /// What an error of the engine in a run means.
    pub(super) fn broke(&self, error: &wasmtime::Error, store: &Store<RunState>) -> Outcome {
        Outcome::broke(error, &store.data().limiter, self.scope.limits.call_bytes_max())
    }
}

impl RunReport {
    fn host_fault(cause: &str) -> Self {
        Self::of(Outcome::HostFault(cause.to_owned()))
    }

    /// Of a run without a guest.
    pub(crate) fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            pending: None,
            result: None,
            instantiate: Duration::ZERO,
            usage: Usage::default(),
            memory_peak_bytes: 0,
            log_dropped_bytes: 0,
        }
    }
}

fn batch_job<'a>(job: &JobCall<'a>) -> BatchJob<'a> {
    BatchJob {
        id: job.id,
        queue: job.queue,
        payload: job.payload,
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        first_seen_ms: job.first_seen_ms,
        headers: job.headers,
    }
}

/// Passes settings within the bounds of the contract.
fn check_settings(settings: Vec<(String, String)>) -> Result<BTreeMap<String, String>, String> {
    if settings.len() > SETTINGS_MAX {
        return Err(format!("{} settings; at most {SETTINGS_MAX} are allowed", settings.len()));
    }
    let bytes: usize = settings.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > SETTINGS_BYTES_MAX {
        return Err(format!("{bytes} bytes of settings; at most {SETTINGS_BYTES_MAX} are allowed"));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in settings {
        if name.is_empty() || name.len() > SETTING_NAME_BYTES_MAX {
            let found = name.len();
            return Err(format!(
                "a setting's name has {found} bytes; 1 to {SETTING_NAME_BYTES_MAX} are allowed"
            ));
        }
        if let Some(_earlier) = checked.insert(name.clone(), value) {
            return Err(format!("two settings are named `{}`", tidy(&name)));
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_bounds_are_refused_whole() {
        let one = |name: String, value: String| check_settings(vec![(name, value)]);
        let pair = |name: &str| (name.to_owned(), String::new());
        let many = (0..=SETTINGS_MAX).map(|n| pair(&n.to_string())).collect();
        for (settings, expected) in [
            (check_settings(many), "10001 settings; at most 10000 are allowed"),
            (
                one("a".to_owned(), "x".repeat(1 << 20)),
                "1048577 bytes of settings; at most 1048576 are allowed",
            ),
            (one(String::new(), String::new()), "a setting's name has 0 bytes; 1 to 256 are allowed"),
            (one("x".repeat(257), String::new()), "a setting's name has 257 bytes; 1 to 256 are allowed"),
            (check_settings(vec![pair("b"), pair("a"), pair("b")]), "two settings are named `b`"),
        ] {
            assert_eq!(settings.unwrap_err(), expected);
        }
        assert_eq!(one("a".to_owned(), "1".to_owned()).unwrap().len(), 1);
    }
}
